"""What more than one page draws: badges, the contestants' table, page numbers, inert text."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from harness.leaderboard import Index
from harness.leaderboard.text import plain
from harness.store import Store
from harness.ui import markup, places
from harness.ui.style import drawn

BADGES: dict[str, tuple[str, Any, str]] = {
    "promote": ("Promote", "blue", ":material/check_circle:"),
    "reject": ("Reject", "orange", ":material/cancel:"),
    "inconclusive": ("Inconclusive", "gray", ":material/help:"),
    "prompt_suffices": ("Prompt suffices", "violet", ":material/chat:"),
    "unfinished": ("Unfinished", "gray", ":material/hourglass_empty:"),
}


def paged(frame: pd.DataFrame, size: int, key: str) -> pd.DataFrame:
    """One page of a frame, with page numbers when there is more than one; the number is in the address."""
    pages = -(-len(frame) // size)
    page = min(st.pagination(pages, key=key, bind="query-params"), pages) if pages > 1 else 1
    return frame.iloc[(page - 1) * size : page * size]


def badge(decision: str) -> None:
    """A verdict as a badge: words, colour and icon say the same."""
    label, color, icon = BADGES[decision]
    st.badge(label, color=color, icon=icon)


def cell(place: Any, label: str, text: str) -> None:
    """A label and, below it, text of a model or of the data, inert."""
    place.caption(plain(label))
    place.code(text, language=None, wrap_lines=True)


def contestants_table(rows: pd.DataFrame, columns: Sequence[str] = markup.SHOWN, judged: str | None = None) -> None:
    """The candidates of one experiment with scores, differences, gates and costs. columns: keys of `markup.COLUMNS`.

    judged: whom the verdict speaks of.
    """
    drawn(markup.candidates(rows, markup.filled(rows, columns), judged))


@functools.cache
def index_of(root: str) -> Index:
    """The remembered frames of a store, shared by all sessions of this server."""
    return Index(Store(Path(root)))


@st.fragment(run_every=1.0)  # type: ignore[untyped-decorator]
def reading(index: Index, enough: float) -> None:
    """Tell how far the reading is; the page is drawn anew when so many experiments are known, and when all are."""
    known, owed = index.progress()
    if owed:
        st.progress(known / (known + owed), f"Reading the store: {known:,} of {known + owed:,} experiments")
    if not index.busy() or known >= enough:
        st.rerun()


def known_experiments(store: Store, key: str) -> list[str]:
    """All that are known, the newest first. While the store is being read also the one that the address or the reader
    chose by `key`, known or not."""
    index = index_of(str(store.root))
    busy = index.busy()  # asked first: when it ends in between, all are known
    ids = list(index.experiments()["experiment"])
    # An address does not name the first of a choice, which is another one as soon as more are known.
    held = places.asked(key) or str(st.session_state.get(key, ""))
    return [held, *ids] if busy and held and held not in ids and store.holds(held) else ids


def chosen_experiment(store: Store) -> str | None:
    """The experiment that the address names, else the newest, in a choice of all; None where there is none."""
    index = index_of(str(store.root))
    index.follow(1.0, rest=20)
    busy, known = index.busy(), index.progress()[0]
    ids, asked = known_experiments(store, "experiment"), places.asked("experiment")
    if asked and asked not in ids:
        st.error(f"There is no experiment {plain(asked)} in {plain(str(store.root))} that can be read.")
        return None
    if not ids and busy:
        reading(index, known + 1)
        return None
    if not ids:
        st.info(f"No experiment yet in {plain(str(store.root))}.")
        return None
    chosen: str = st.selectbox("Experiment", ids, key="experiment", bind="query-params")
    return chosen


def two_columns(lines: pd.DataFrame) -> None:
    """Lines of `what` and `value` without headings."""
    drawn(markup.lines(lines))
