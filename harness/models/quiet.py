"""Quiet loading: transformers' progress bars and log lines kept off the terminal."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers and what it loads show no progress bars, no log lines below errors and no warnings.

    All settings are put back at the end.
    """
    from transformers.utils import logging as theirs

    level, bars, disabled = theirs.get_verbosity(), theirs.is_progress_bar_enabled(), logging.root.manager.disable
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    logging.disable(max(disabled, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
