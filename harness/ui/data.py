"""The page of an experiment's data: what the audit found, the splits, label balance, lengths against the limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from harness.errors import HarnessError
from harness.leaderboard import charts, examining
from harness.leaderboard.text import plain
from harness.store import ExperimentStore, Store
from harness.ui import diff, markup
from harness.ui.shared import chosen_experiment, paged, two_columns
from harness.ui.style import drawn

PER_PAGE = 8
SIGNS = {"error": "■ error", "warning": "◆ warning", "info": "● info"}


def show(store: Store) -> None:
    """The data of one experiment."""
    st.title("Data", anchor=False)
    wanted = chosen_experiment(store)
    if wanted is None:
        return
    try:
        read = _examined(str(store.at(wanted).path), store.stamp(wanted))
    except HarnessError as fault:
        st.error(f"The data of this experiment cannot be read: {plain(str(fault))}")
        return
    if read["splits"].empty:
        st.info("The data of this experiment have not been looked at yet.")
        return
    _splits(read)
    _findings(read["findings"])
    _labels(read)
    _lengths(read)


def _splits(read: dict[str, Any]) -> None:
    st.subheader("Splits", anchor=False)
    column = st.column_config
    config = {
        "rows": column.NumberColumn("rows", format="localized", help="Rows in use."),
        "fingerprint": column.TextColumn("content", help="Digest of the content, independent of row order."),
    }
    st.dataframe(read["splits"], hide_index=True, column_config=config, key="splits", width="content")
    two_columns(read["facts"])


def _findings(findings: pd.DataFrame) -> None:
    """Every finding, with the row that it is about where its file is still there and unchanged."""
    st.subheader("What the audit found", anchor=False)
    if findings.empty:
        st.markdown("The audit found nothing.")
        return
    kinds = findings.groupby(["severity", "rule"], sort=False).size().rename("findings").reset_index()
    first, second = st.columns([2, 3], vertical_alignment="bottom")
    rules = ["all", *dict.fromkeys(kinds["rule"])]
    rule = first.selectbox("Rule", rules, key="rule", bind="query-params")
    text = second.text_input("Search in messages and rows", key="text", bind="query-params", type="search")
    kept = findings if rule == "all" else findings[findings["rule"] == rule]
    if text:
        hit = [kept[c].fillna("").str.contains(text, case=False, regex=False) for c in ("message", "row")]
        kept = kept[hit[0] | hit[1]]
    st.caption(plain(", ".join(f"{n} {rule}" for rule, n in zip(kinds["rule"], kinds["findings"], strict=True))))
    if kept.empty:
        st.info("No finding fits.")
    for _, one in paged(kept, PER_PAGE, "page").iterrows():
        with st.container(border=True, gap="xsmall"):
            where = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
            st.text(f"{SIGNS[one['severity']]}   {one['rule']}   {where}")
            st.text(one["message"])
            if isinstance(one["row"], str):
                drawn(diff.block("The row", markup.text(one["row"])))


def _labels(read: dict[str, Any]) -> None:
    st.subheader("Answers by split", anchor=False)
    if read["labels"].empty:
        st.caption(read["no_labels"])
        return
    st.altair_chart(charts.balance(read["labels"]), alt="Share of each answer in each split")


def _lengths(read: dict[str, Any]) -> None:
    st.subheader("Lengths against the limit", anchor=False)
    if read["lengths"].empty:
        st.caption("Nothing was trained, so no row was measured.")
        return
    if not read["bins"].empty:
        st.altair_chart(charts.lengths(read["bins"], read["limit"]), alt="Number of training rows by their tokens")
    two_columns(read["lengths"])


@st.cache_data(show_spinner=False, max_entries=16)  # type: ignore[untyped-decorator]
def _examined(path: str, stamp: str) -> dict[str, Any]:
    return examining.examined(ExperimentStore(Path(path)))
