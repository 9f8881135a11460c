"""The Streamlit leaderboard: `harness ui`, or `streamlit run app.py`.

Each page has an address of its own and its state in it, so every view is a permanent link; `/?experiment=ID` leads
on to that experiment. The pages are listed in `harness.ui.places`, what they draw lies beside it.
"""

from __future__ import annotations

import streamlit as st

from harness.ui import door, places
from harness.ui.style import ICON, margins


def main() -> None:
    """Every page, so that links and the browser's history work."""
    st.set_page_config(page_title="Harness leaderboard", page_icon=ICON, layout="wide")
    listed = [one for one in places.PLACES.values() if one.listed]
    position = "top" if len(listed) > 1 else "hidden"
    current = st.navigation([places.page(name) for name in places.PLACES], position=position)
    margins()
    if not door.may_enter():
        return
    if current.url_path == "" and places.asked("experiment"):
        places.go("experiment", **st.query_params.to_dict())
    current.run()


main()
