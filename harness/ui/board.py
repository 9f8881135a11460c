"""The leaderboard page: all experiments, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.leaderboard.text import plain
from harness.store import Store
from harness.ui.shared import BADGES, badge, contestants_table, paged

PER_PAGE = 10


def show(store: Store, experiment_page: Any) -> None:
    """All experiments, newest first, each with its contestants; the raw base on top. Cards lead to experiment_page."""
    st.title("Leaderboard")
    st.caption("Did fine-tuning beat the best prompt, by how much, how sure are we, and what did it break?")
    experiments, rows, damaged = _overview(str(store.root), frames.stamp(store))
    if experiments.empty:
        empty_store(store)
    else:
        shown = filtered(experiments)
        cards, table = st.tabs(["By experiment", "All candidates"])
        with cards:
            for _, experiment in paged(shown, PER_PAGE, "page").iterrows():
                card(experiment, rows[rows["experiment"] == experiment["experiment"]], experiment_page)
        with table:
            every = rows[rows["experiment"].isin(shown["experiment"])]
            st.dataframe(every, hide_index=True, column_config=full_columns(every), placeholder="–", key="every")
            st.download_button("Download CSV", every.to_csv(index=False), "leaderboard.csv", "text/csv")
    damaged_folders(damaged)


@st.cache_data(show_spinner=False, max_entries=4)  # type: ignore[untyped-decorator]  # its types are not followed
def _overview(root: str, stamp: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Experiments, candidates and damaged folders; `stamp` changes with any manifest."""
    store = Store(Path(root))
    return frames.experiments(store), frames.rows(store), frames.damaged(store)


def empty_store(store: Store) -> None:
    """How to make the first experiment."""
    st.info(f"No experiment yet in {plain(str(store.root))}. Make the first one, then reload this page:")
    st.code("harness run suites/tickets/experiment.yaml", language="bash")
    st.markdown("For your own data, start from an example that runs as it stands:")
    st.code("harness init my-experiment\nharness run my-experiment/experiment.yaml", language="bash")


def filtered(experiments: pd.DataFrame) -> pd.DataFrame:
    """The experiments that fit the search and the verdicts chosen; both live in the URL."""
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    wanted = left.text_input("Search", key="q", bind="query-params", placeholder="Name or hypothesis")
    present = [decision for decision in BADGES if (experiments["decision"] == decision).any()]
    chosen = right.pills(
        "Verdict",
        present,
        selection_mode="multi",
        key="verdict",
        bind="query-params",
        format_func=lambda d: BADGES[d][0],
    )
    text = experiments["experiment"] + " " + experiments["hypothesis"]
    keep = text.str.contains(wanted, case=False, regex=False) if wanted else pd.Series(True, index=experiments.index)
    found = experiments[keep & experiments["decision"].isin(chosen or present)]
    if found.empty:
        st.info("No experiment fits the filter.")
    return found


def card(experiment: pd.Series, rows: pd.DataFrame, experiment_page: Any) -> None:
    """One experiment: its name, its verdict in a sentence, its contestants."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                experiment_page,
                label=f"**{plain(experiment['name'])}**",
                icon=":material/arrow_forward:",
                icon_position="right",
                query_params={"experiment": experiment["experiment"]},
            )
            badge(experiment["decision"])
        st.markdown(plain(experiment["headline"]))
        if not rows.empty:
            contestants_table(rows, f"card-{experiment['experiment']}")


def full_columns(rows: pd.DataFrame) -> dict[str, Any]:
    """Hover help for every column of the full table, and three decimals for every fraction."""
    config: dict[str, Any] = {}
    for name in rows.columns:
        told = frames.COLUMNS.get(name) or frames.SUITE_COLUMNS.get(name.rpartition(" ")[2])
        kind = rows[name].dtype.kind
        exact = st.column_config.NumberColumn(name, help=told, format="%.3f")
        config[name] = exact if kind == "f" else st.column_config.Column(name, help=told)
    return config


def damaged_folders(damaged: pd.DataFrame) -> None:
    """Folders that could not be read, each with its reason."""
    if damaged.empty:
        return
    with st.expander(f"{len(damaged)} folders of the store cannot be read", icon=":material/warning:"):
        for _, fault in damaged.iterrows():
            st.text(f"{fault['folder']}: {fault['reason']}")
