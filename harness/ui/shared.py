"""What more than one page draws: badges, the contestants' table, page numbers, inert text."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.leaderboard import charts
from harness.leaderboard.text import GLYPHS, methods_line, plain, spans

BADGES: dict[str, tuple[str, Any, str]] = {
    "promote": ("Promote", "blue", ":material/check_circle:"),
    "reject": ("Reject", "orange", ":material/cancel:"),
    "inconclusive": ("Inconclusive", "gray", ":material/help:"),
    "prompt_suffices": ("Prompt suffices", "violet", ":material/chat:"),
    "unfinished": ("Unfinished", "gray", ":material/hourglass_empty:"),
}


def paged(frame: pd.DataFrame, size: int, key: str) -> pd.DataFrame:
    """One page of a frame, with page numbers when there is more than one."""
    pages = -(-len(frame) // size)
    page = st.pagination(pages, key=key) if pages > 1 else 1
    return frame.iloc[(page - 1) * size : page * size]


def badge(decision: str) -> None:
    """A verdict as a badge: words, colour and icon say the same."""
    label, color, icon = BADGES[decision]
    st.badge(label, color=color, icon=icon)


def cell(place: Any, label: str, text: str) -> None:
    """A label and, below it, text of a model or of the data, inert."""
    place.caption(plain(label))
    place.code(text, language=None, wrap_lines=True)


def contestants_table(rows: pd.DataFrame, key: str) -> None:
    """The contestants of one experiment with scores, differences, regressions and costs."""
    bar = rows.loc[rows["candidate"] == "best_prompt", "score"]
    to_beat = float(bar.iloc[0]) if len(bar) and pd.notna(bar.iloc[0]) else None
    shown = rows[["candidate", "method", "asked"]].copy()
    shown["drawn"] = [charts.interval_image(row, to_beat) for _, row in rows.iterrows()]
    shown["score"] = spans(rows, "score", "score_low", "score_high")
    shown["n"] = rows["score_n"]
    shown["gain"] = rows["gain"]
    config = contestant_columns()
    for column in [c for c in rows.columns if c.endswith(" score") and rows[c].notna().any()]:
        suite = column.removesuffix(" score")
        shown[column] = spans(rows, column, f"{suite} low", f"{suite} high")
        shown[f"{suite} gate"] = rows[f"{suite} gate"].map(GLYPHS)
        counts = ", ".join(sorted({str(n) for n in rows[f"{suite} n"].dropna()}))
        told = f"{frames.SUITE_COLUMNS['score']} Items: {counts}."
        config[column] = st.column_config.TextColumn(suite, help=told, width=140)
        config[f"{suite} gate"] = st.column_config.TextColumn("gate", help=frames.SUITE_COLUMNS["gate"], width=92)
    for column in ("looks", "tokens_in", "tokens_out", "latency_p50_s", "training_s"):
        shown[column] = rows[column]
    st.dataframe(shown, hide_index=True, column_config=config, placeholder="–", row_height=34, key=key)
    st.caption(
        plain(f"{methods_line(rows)} The yellow tick in each drawn interval is the best prompt: the bar to beat.")
    )


def contestant_columns() -> dict[str, Any]:
    """Labels, precision and hover help."""
    column, told = st.column_config, frames.COLUMNS
    return {
        "candidate": column.TextColumn("candidate", help=told["candidate"], width=92, pinned=True),
        "method": column.TextColumn("method", help=told["method"], width=98),
        "asked": column.TextColumn("asked with", help=told["asked"], width=130),
        "drawn": column.ImageColumn("0 to 1", help="Score with its interval; the tick is the best prompt.", width=150),
        "score": column.TextColumn("score", help=told["score"], width=140),
        "n": column.NumberColumn("n", help=told["score_n"], width=45),
        "gain": column.TextColumn("Δ to best prompt", help=told["gain"], width=172),
        "looks": column.TextColumn("look", help=told["looks"], width=56),
        "tokens_in": column.NumberColumn("tok in", help=told["tokens_in"], format="%.0f", width=52),
        "tokens_out": column.NumberColumn("out", help=told["tokens_out"], format="%.0f", width=46),
        "latency_p50_s": column.NumberColumn("p50 s", help=told["latency_p50_s"], format="%.2f", width=48),
        "training_s": column.NumberColumn("train s", help=told["training_s"], format="%.0f", width=55),
    }


def two_columns(lines: pd.DataFrame, key: str) -> None:
    """Lines of `what` and `value` without headings."""
    widths = {"what": st.column_config.Column("", width=180), "value": st.column_config.Column("", width=900)}
    st.dataframe(lines, hide_index=True, key=key, column_config=widths)
