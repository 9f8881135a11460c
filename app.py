"""The Streamlit leaderboard: `harness ui`, or `streamlit run app.py`.

Two pages, each with an address of its own; `/?experiment=ID` is a permanent link. What they
draw lies in `harness.ui`.
"""

from __future__ import annotations

import streamlit as st

from harness.store import Store
from harness.ui import board, experiment

# An interval right of its margin; inline, so that no icon is fetched from the network.
ICON = (
    '<svg viewBox="0 0 16 16"><path d="M1 8h14" stroke="#2a78b5" stroke-width="2"/>'
    '<circle cx="10" cy="8" r="4" fill="#2a78b5"/><path d="M4 2v12" stroke="#c9a227" stroke-width="2"/></svg>'
)


def home() -> None:
    """The leaderboard; `/?experiment=ID` leads on to that experiment."""
    if "experiment" in st.query_params:
        st.switch_page(EXPERIMENT, query_params=st.query_params.to_dict())
    board.show(Store(), EXPERIMENT)


def one_experiment() -> None:
    """One experiment, named in the address."""
    experiment.show(Store(), st.query_params.get("experiment", ""), HOME)


HOME = st.Page(home, title="Leaderboard", default=True)
EXPERIMENT = st.Page(one_experiment, title="Experiment", url_path="experiment")


def main() -> None:
    """Both pages, so that links and the browser's history work."""
    st.set_page_config(page_title="Harness leaderboard", page_icon=ICON, layout="wide")
    st.navigation([HOME, EXPERIMENT], position="hidden").run()


main()
