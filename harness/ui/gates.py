"""The gates of an experiment: plots, words and numbers, slices, broken items, finalists."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.leaderboard import charts
from harness.leaderboard.text import GLYPHS, plain
from harness.ui.shared import BADGES, cell, paged, two_columns

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
    order = ["outcome", "place", "demand", "found", "levels", "threshold", "n", "won", "lost", "unscored", "method"]
    column, told = st.column_config, frames.GATE_COLUMNS
    config: dict[str, Any] = {name: column.Column(name, help=told[name]) for name in order}
    config["outcome"] = column.TextColumn("outcome", help=told["outcome"], width=100)
    config["place"] = column.TextColumn("on", help=told["place"], width=105)
    config["demand"] = column.TextColumn("demands", help=told["demand"], width=270)
    config["found"] = column.TextColumn("found", help=told["found"], width=205)
    config["levels"] = column.TextColumn("how sure", help=told["levels"], width=95)
    config["threshold"] = column.TextColumn("margin", help=told["threshold"], width=90)
    for name in ("n", "won", "lost"):
        config[name] = column.NumberColumn(name, help=told[name], width=50)
    config["unscored"] = column.NumberColumn("unscored", help=told["unscored"], width=75)
    kinds = gates["blocking"].map({True: "", False: " (advisory)"})
    shown = outcomes(gates.assign(demand=gates["demand"] + kinds))
    st.dataframe(shown, column_order=order, column_config=config, hide_index=True, placeholder="–", key="gates")
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
