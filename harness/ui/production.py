"""The page of what runs in production: what replayed logs say of each deployment, look by look."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from harness import monitoring
from harness.errors import HarnessError
from harness.leaderboard import charts
from harness.leaderboard.text import plain
from harness.store import Store
from harness.ui import places

SHOWN = ("created", "requests", "errors", "valid", "quality", "p50_s", "p95_s", "drift", "degraded", "alarms", "due")
SHARES = ("errors", "valid", "quality")


def show(store: Store) -> None:
    """One deployment at a time: its last look, evidence over all looks, volume, tests of the last look."""
    st.title("Production", anchor=False)
    try:
        last = monitoring.deployments(store)
        if last.empty:
            st.info("Nothing is in production from this store that was looked at: no logs were replayed yet.")
            st.code("harness monitor --logs FILE --against ID", language="bash")
            return
        name = st.selectbox("Deployment", list(last["deployment"]), key="deployment", bind="query-params")
        _deployment(store, name)
    except HarnessError as fault:
        st.error(f"What was seen of production cannot be read: {plain(str(fault))}")


def _deployment(store: Store, name: str) -> None:
    looks = monitoring.looks(store, name)
    now = looks.iloc[-1]
    with st.container(horizontal=True, vertical_alignment="center"):
        if now["alarms"]:
            st.badge(f"Alarm: {now['alarms']}", color="orange", icon=":material/warning:")
        else:
            st.badge("No alarm", color="blue", icon=":material/check_circle:")
        if now["due"]:
            st.badge(f"Retraining is due: {now['due']}", color="violet", icon=":material/update:")
        places.link("experiment", "What it is held against", experiment=now["against"])
    if now["causes"]:
        st.markdown(f"Carried by {plain(now['causes'])}.")
    st.subheader("Evidence of a change", anchor=False)
    st.altair_chart(charts.watched(looks), alt="Evidence of drift and of lost quality at each look; alarm at 1")
    st.caption("At 1 the alarm is raised. However often one looks, the chance of a false one stays what it is.")
    st.subheader("Requests by day", anchor=False)
    st.altair_chart(charts.volume(monitoring.volume(store, name)), alt="Requests by day")
    st.subheader("Looks", anchor=False)
    _table(looks.iloc[::-1])
    tests = monitoring.drift_tests(store, name)
    if not tests.empty:
        with st.expander(f"Tests of look {now['number']}"):
            mine = tests[tests["number"] == now["number"]]
            st.dataframe(mine, hide_index=True, placeholder="–", key="tests")


def _table(looks: pd.DataFrame) -> None:
    column, told = st.column_config, monitoring.LOOK_COLUMNS
    config: dict[str, Any] = {name: column.Column(name, help=told[name]) for name in SHOWN}
    config |= {name: column.NumberColumn(name, help=told[name], format="percent") for name in SHARES}
    numbers = ("p50_s", "p95_s", "drift", "degraded")
    config |= {name: column.NumberColumn(name, help=told[name], format="%.2f") for name in numbers}
    st.dataframe(
        looks,
        column_order=list(SHOWN),
        column_config=config,
        hide_index=True,
        placeholder="–",
        key="looks",
    )
