"""The gates of an experiment: plots, words and numbers, slices, broken items, finalists."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.leaderboard import charts
from harness.leaderboard.text import GLYPHS, plain
from harness.ui import tables
from harness.ui.shared import BADGES, cell, paged, two_columns
from harness.ui.style import drawn
from harness.ui.tables import Told

PER_PAGE = 3


def show(read: dict[str, Any]) -> None:
    """The forest plots, every gate in words and numbers, its slices, what broke; one finalist at a time."""
    finalists = read["finalists"]
    st.subheader("Gates")
    name = None
    if len(finalists) > 1:
        judged = read["gates"]["candidate"].iloc[0]
        name = st.segmented_control("Finalist", finalists["candidate"], default=judged, required=True, key="finalist")
    mine = {key: _of(read[key], name) for key in ("gates", "slices", "broken")}
    _plots(mine["gates"])
    _table(mine["gates"])
    _slices(mine["slices"])
    _broken(mine["broken"])
    if len(finalists) > 1:
        _finalists(finalists)
    _standing(read["standing"])


def _of(frame: pd.DataFrame, finalist: str | None) -> pd.DataFrame:
    return frame if finalist is None else frame[frame["candidate"] == finalist]


def _plots(gates: pd.DataFrame) -> None:
    """One forest plot per unit: seconds and points share no axis."""
    groups = list(charts.drawable(gates).groupby("unit", sort=False))
    for place, (unit, group) in enumerate(groups):
        what = f"Difference in {unit}, deciding interval and margin of every gate"
        st.altair_chart(charts.forest(group, with_legend=place == 0), alt=what, key=f"forest-{unit}")
    if groups:
        st.caption(
            "Drawn are the ends that decided. A gate passes when all of its interval lies on the better side of "
            "its yellow margin, and fails when all of it lies on the worse."
        )


def _table(gates: pd.DataFrame) -> None:
    """Every gate in words and numbers, then why those that did not pass did not."""
    told = frames.GATE_COLUMNS
    columns = {
        "outcome": Told("outcome", told["outcome"], 7.6),
        "place": Told("on", told["place"], 9.0, below="kind"),
        "demand": Told("demands", told["demand"]),
        "found": Told("found", f"{told['found']} {told['levels']}", below="levels"),
        "threshold": Told("margin", told["threshold"], 6.6),
        "n": Told("n", told["n"], 3.6, ","),
        "won": Told("won", told["won"], 3.4, ","),
        "lost": Told("lost", told["lost"], 3.4, ","),
        "unscored": Told("unscored", told["unscored"], 5.0, ","),
        "method": Told("method", told["method"], 7.4),
    }
    kinds = gates["blocking"].map({True: "", False: "advisory"})
    drawn(tables.table(gates.assign(kind=kinds), columns, "Every gate in words and numbers"))
    for outcome, title in (("fail", "What failed"), ("inconclusive", "What would settle what is undecided")):
        _reasons(gates[gates["outcome"] == outcome], title)


def _reasons(gates: pd.DataFrame, title: str) -> None:
    """Why gates did not pass, each in its own words."""
    if gates.empty:
        return
    st.markdown(f"**{title}**")
    for _, gate in gates.iterrows():
        st.markdown(f"{GLYPHS[gate['outcome']][0]} **{plain(gate['gate'])}**: {plain(gate['reason'])}")


def outcomes(frame: pd.DataFrame) -> Any:
    """A frame whose outcomes are told by sign, word and colour."""

    def color(outcome: Any) -> str:
        return f"color: {charts.COLORS[outcome.split()[-1]]}"

    return frame.assign(outcome=frame["outcome"].map(GLYPHS)).style.map(color, subset=["outcome"])


def _slices(slices: pd.DataFrame) -> None:
    for gate, group in slices.groupby("gate", sort=False):
        st.markdown(f"**{plain(str(gate))}**, worst first")
        order, key = ["outcome", "slice", "found", "n"], f"slices-{gate}"
        st.dataframe(outcomes(group), column_order=order, hide_index=True, placeholder="–", key=key, width="content")


def _broken(broken: pd.DataFrame) -> None:
    """Items that had to stay right and are wrong: whatever was answered stays inert."""
    for gate, items in broken.groupby("gate", sort=False):
        st.markdown(f"**{plain(str(gate))}**: {len(items)} broken")
        for _, item in paged(items, PER_PAGE, f"broken-{gate}").iterrows():
            with st.container(border=True, gap="xsmall"):
                st.text(f"■ {item['id']}")
                question, gold, answer = st.columns([4, 2, 4])
                cell(question, "Question", item["question"])
                cell(gold, "Gold", item["target"])
                cell(answer, "Answer", item["answer"] if isinstance(item["answer"], str) else "(no answer)")


def _finalists(finalists: pd.DataFrame) -> None:
    st.markdown("**Finalists**, best on dev first")
    shown = finalists.assign(decision=finalists["decision"].map({name: badge[0] for name, badge in BADGES.items()}))
    level = st.column_config.NumberColumn("may err with", format="percent", help="Chance of a wrong pass at this look.")
    st.dataframe(shown, hide_index=True, column_config={"level": level}, key="finalists")


def _standing(standing: pd.DataFrame) -> None:
    if not standing.empty:
        st.markdown("**What the verdict stands on**")
        two_columns(standing)
