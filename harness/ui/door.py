"""Who may come in: nobody is asked unless the server's `secrets.toml` says so, by Streamlit's own means.

    password = "..."      one password for the team
    [auth]                OpenID Connect, as https://docs.streamlit.io describes for `st.login`

A secrets file that cannot be read lets nobody in.
"""

from __future__ import annotations

import hmac
from pathlib import Path

import streamlit as st


def may_enter() -> bool:
    """Whether this session may see the pages; draws the way in where it may not yet."""
    if not st.secrets.load_if_toml_exists():
        unread = [file for file in st.get_option("secrets.files") if Path(file).exists()]
        if unread:
            st.error("The server's secrets cannot be read, so nobody can be let in. Its log says why.")
        return not unread
    if "auth" in st.secrets and not getattr(st.user, "is_logged_in", False):
        st.title("Harness leaderboard", anchor=False)
        st.button("Sign in", on_click=st.login, type="primary")
        return False
    return _knows_password(str(st.secrets["password"])) if "password" in st.secrets else True


def _knows_password(wanted: str) -> bool:
    """Asked once a session, compared in constant time, and never kept."""
    if st.session_state.get("entered"):
        return True
    st.title("Harness leaderboard", anchor=False)
    with st.form("door", border=False, width=360):
        given = st.text_input("Password", type="password")
        sent = st.form_submit_button("Open", type="primary")
    if not sent:
        return False
    if hmac.compare_digest(given.encode(), wanted.encode()):
        st.session_state["entered"] = True
        st.rerun()
    st.error("That is not the password.")
    return False
