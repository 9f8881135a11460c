"""The leaderboard page: all experiments, each with its candidates; search, filter, order and columns in the address."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.errors import HarnessError
from harness.leaderboard import Index
from harness.leaderboard.text import plain
from harness.store import Store
from harness.ui import markup, places
from harness.ui.shared import BADGES, badge, index_of, paged, reading
from harness.ui.style import drawn

PER_PAGE: Final = 8
AT_ONCE, AGAIN = 0.7, 0.15
"""Seconds of reading before a page is drawn with what is there, when a visit begins and later; the rest is read
meanwhile."""

ORDERS: Final[dict[str, tuple[str, bool]]] = {
    "Newest first": ("", False),
    "Largest gain": ("gain", False),
    "Smallest gain": ("gain", True),
    "Highest score": ("score", False),
    "Verdict": ("decision", True),
    "Name": ("name", True),
    "Shortest training": ("training_s", True),
    "Fewest tokens": ("tokens", True),
}
"""What it is called, also in the address: column of the experiments, ascending. Missing values always come last."""
RESTS: Final = 20
"""During a visit the store is looked at for a twentieth of the time at most; a visit begins with a look."""
EAGER: Final = 5000
"""Rows that the browser is sent at once; of a longer table it is sent what is in view."""
CARDS, TABLE = "Experiments", "Candidates"
"""The two views."""


def show(store: Store) -> None:
    """Every experiment, newest first, each with its candidates; the raw base on top."""
    index = index_of(str(store.root))
    visited = "visited" in st.session_state
    try:
        index.follow(AGAIN if visited else AT_ONCE, rest=RESTS if visited else 0)
        fault = ""
    except HarnessError as error:
        fault = plain(str(error))
    st.session_state["visited"] = True
    busy, (known, _) = index.busy(), index.progress()
    experiments = index.experiments()
    st.title("Leaderboard", anchor=False)
    st.caption("Did fine-tuning beat prompting? By how much, how sure, what did it break, what did it cost?")
    with st.container():  # always there, so that nothing below it is made anew when the reading ends
        if busy:
            reading(index, 2 * max(known, PER_PAGE / 2))
    if fault:
        st.error(fault)
    if experiments.empty and not busy and not fault:
        empty_store(store)
    elif not experiments.empty:
        shown, view = controls(experiments)
        if shown.empty:
            st.info("No experiment fits the filter.")
        elif view == CARDS:
            cards(store, index, shown)
        else:
            table(index, shown)
    damaged_folders(index.damaged())


def controls(experiments: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Search, verdict, order and view; returns the experiments wanted, in order, and the view."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        hint = "Name, hypothesis or model"
        wanted = st.text_input("Search", key="q", bind="query-params", placeholder=hint, width=230, type="search")
        chosen = st.pills(
            "Verdict",
            list(BADGES),
            selection_mode="multi",
            key="verdict",
            bind="query-params",
            format_func=lambda decision: BADGES[decision][0],
        )
        order = st.selectbox("Order", list(ORDERS), key="order", bind="query-params", width=190)
        view = st.segmented_control(
            "View", [CARDS, TABLE], default=CARDS, required=True, key="view", bind="query-params"
        )
    kept = filtered(experiments, wanted or "", chosen or list(BADGES))
    column, ascending = ORDERS[order]
    if column:
        kept = kept.sort_values(column, ascending=ascending, kind="stable", na_position="last")
    return kept, view


def filtered(experiments: pd.DataFrame, wanted: str, decisions: list[str]) -> pd.DataFrame:
    """The experiments with one of the decisions whose id, hypothesis or model holds every word that is searched for."""
    keep = experiments["decision"].isin(decisions)
    text = experiments["experiment"] + " " + experiments["hypothesis"] + " " + experiments["model"]
    for word in wanted.split():
        keep &= text.str.contains(word, case=False, regex=False)
    return experiments[keep]


def cards(store: Store, index: Index, shown: pd.DataFrame) -> None:
    """One page of experiments, a card each."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"{len(shown):,} experiment{'' if len(shown) == 1 else 's'}", width="stretch")
        wanted = columns_wanted()
        download(index, shown)
    body = st.container()
    page = paged(shown, PER_PAGE, "page")
    rows = index.rows(list(page["experiment"]))
    filled = markup.filled(rows, wanted)
    aliases = frames.aliases(store)
    with body:
        for _, experiment in page.iterrows():
            id_ = experiment["experiment"]
            card(experiment, rows[rows["experiment"] == id_], filled, aliases.get(id_, []))
    st.caption(
        "In brackets the interval. The yellow line is the best prompt, the bar to beat. Shaded is the candidate that "
        "the verdict speaks of. – was not measured. Rest the pointer on a heading, an outcome or a score for more."
    )


def columns_wanted() -> list[str]:
    """The columns that the reader wants in the cards' tables."""
    with st.popover("Columns", icon=":material/view_column:"):
        chosen: list[str] = st.multiselect(
            "Columns of the tables",
            list(markup.COLUMNS),
            default=markup.SHOWN,
            key="columns",
            bind="query-params",
            help="A column that is empty on the whole page is left out.",
        )
    return chosen


def card(experiment: pd.Series, rows: pd.DataFrame, columns: list[str], aliases: list[str]) -> None:
    """One experiment: name, verdict, where it is deployed, the five answers, its candidates.

    columns: see `markup.candidates`.
    """
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            places.link("experiment", f"**{plain(experiment['name'])}**", experiment=experiment["experiment"])
            badge(experiment["decision"])
            for alias in aliases:
                st.badge(plain(alias), color="green", icon=":material/rocket_launch:")
            st.caption(_about(experiment), width="stretch", text_alignment="right")
        if experiment["decision"] in ("unfinished", "prompt_suffices"):
            st.markdown(plain(experiment["headline"]))
        else:
            drawn(markup.five(experiment.to_dict()))
        if not rows.empty:
            drawn(markup.candidates(rows, columns, experiment["judged"]))


def _about(experiment: pd.Series) -> str:
    """Model, day and warnings, for the corner of a card."""
    warnings = len(experiment["warnings"])
    created = experiment["created"]  # missing where no provenance was written yet
    told = [f"{warnings} warning{'s' if warnings > 1 else ''}" if warnings else "", experiment["model"]]
    return plain(" · ".join(part for part in (*told, "" if pd.isna(created) else created[:10]) if part))


def table(index: Index, shown: pd.DataFrame) -> None:
    """Every candidate of the experiments shown, in one table that can be sorted and searched in place."""
    every = index.rows(list(shown["experiment"]))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        count = f"{len(every):,} candidates of {len(shown):,} experiments"
        st.caption(f"{count}. Click a heading to sort; rest the pointer on it for what it means.", width="stretch")
        download(index, shown)
    st.dataframe(
        every,
        hide_index=True,
        column_config=full_columns(every),
        placeholder="–",
        key="every",
        height=640,
        lazy=len(every) > EAGER,
        alt="Every candidate of the experiments shown, a row each",
    )


def download(index: Index, shown: pd.DataFrame) -> None:
    """Every column of every candidate of the experiments shown; made when it is asked for."""
    ids = list(shown["experiment"])
    st.download_button(
        "Download CSV",
        lambda: index.rows(ids).to_csv(index=False),
        "leaderboard.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        help="Every column of every candidate that fits the filter.",
    )


def empty_store(store: Store) -> None:
    """How to make the first experiment."""
    st.info(f"No experiment yet in {plain(str(store.root))}. Make the first one, then reload this page:")
    st.code("harness run suites/tickets/experiment.yaml", language="bash")
    st.markdown("For your own data, start from an example that runs as it stands:")
    st.code("harness init my-experiment\nharness run my-experiment/experiment.yaml", language="bash")


def full_columns(rows: pd.DataFrame) -> dict[str, Any]:
    """Hover help for every column of the full table, and three decimals for every fraction."""
    config: dict[str, Any] = {}
    for name in rows.columns:
        told = frames.COLUMNS.get(name) or frames.SUITE_COLUMNS.get(name.rpartition(" ")[2])
        kind, first = rows[name].dtype.kind, name in ("name", "candidate")
        exact = st.column_config.NumberColumn(name, help=told, format="%.3f")
        config[name] = exact if kind == "f" else st.column_config.Column(name, help=told, pinned=first)
    return config | dict.fromkeys(("experiment", "order"))


def damaged_folders(damaged: pd.DataFrame) -> None:
    """Folders that could not be read, each with its reason."""
    if damaged.empty:
        return
    count = f"{len(damaged):,} folder{'s' if len(damaged) > 1 else ''} of the store cannot be read"
    with st.expander(count, icon=":material/warning:"):
        for _, fault in damaged.head(50).iterrows():
            st.text(f"{fault['folder']}: {fault['reason']}")
        if len(damaged) > 50:
            st.text(f"and {len(damaged) - 50:,} more")
