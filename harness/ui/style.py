"""The look beyond Streamlit's theme: icon, margins, and the stylesheet of the tables that the app writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import streamlit as st

# An interval right of its margin; inline, so that no icon is fetched from the network.
ICON: Final = (
    '<svg viewBox="0 0 16 16"><path d="M1 8h14" stroke="#2a78b5" stroke-width="2"/>'
    '<circle cx="10" cy="8" r="4" fill="#2a78b5"/><path d="M4 2v12" stroke="#c9a227" stroke-width="2"/></svg>'
)
MARGINS: Final = "<style>.stMainBlockContainer { padding: 3.8rem 2.75rem 4rem; }</style>"
SHEET: Final = f"<style>{Path(__file__).with_name('style.css').read_text(encoding='utf-8')}</style>"


def margins() -> None:
    """Set the page's margins; drawn first, it also has the browser fetch what shows HTML before a table needs it."""
    st.html(MARGINS)


def drawn(html: str, place: Any = st) -> None:
    """Show HTML of `markup` or `diff` at a place. It brings its stylesheet along.

    Streamlit's client fetches what shows HTML when it first meets some, and may paint an element that came later up to
    half a second before the one that waited for it. A stylesheet of its own would come after the tables.
    """
    place.html(SHEET + html)
