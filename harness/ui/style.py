"""The look beyond Streamlit's theme: the icon, and the stylesheet `style.css` of the tables that the app writes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import streamlit as st

# An interval right of its margin; inline, so that no icon is fetched from the network.
ICON: Final = (
    '<svg viewBox="0 0 16 16"><path d="M1 8h14" stroke="#2a78b5" stroke-width="2"/>'
    '<circle cx="10" cy="8" r="4" fill="#2a78b5"/><path d="M4 2v12" stroke="#c9a227" stroke-width="2"/></svg>'
)

SHEET: Final = Path(__file__).with_name("style.css")


def style() -> None:
    """Put the stylesheet on the page."""
    st.html(SHEET)
