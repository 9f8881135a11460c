"""What `harness ui` starts: Streamlit, with the first page loaded and the store being read before anybody comes.

`python -m harness.ui run app.py --server.port 8501` takes what `streamlit` takes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib

from streamlit.web import cli

from harness.errors import HarnessError
from harness.store import Store
from harness.ui import places
from harness.ui.shared import index_of


def main() -> None:
    """Load, begin to read, then serve: a visitor of a server that is ready waits for neither."""
    importlib.import_module(places.PLACES[places.HOME].module)
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after every run of a page, and what was loaded will never be any
    with contextlib.suppress(HarnessError):  # whoever comes is told
        index_of(str(Store().root)).follow(seconds=0)
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
