"""The page of what is in production: the pointer, its history, and what replayed logs say of drift and quality."""

from __future__ import annotations

import streamlit as st

from harness.store import Store


def show(store: Store) -> None:
    """What is in production."""
    st.title("Production", anchor=False)
    st.info("Nothing is in production from this store.")
