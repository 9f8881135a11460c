"""The page of what runs in production: where each alias points, and what replayed logs say, look by look."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness import monitoring
from harness.errors import HarnessError
from harness.leaderboard import charts
from harness.leaderboard.text import plain
from harness.store import Store
from harness.ui import places
from harness.ui.shared import badge

SHOWN = ("created", "requests", "errors", "valid", "quality", "p50_s", "p95_s", "drift", "degraded", "alarms", "due")
MOVES = ("number", "action", "back_to", "experiment", "candidate", "decision", "by", "created", "why", "override")
TITLES = {"p50_s": "p50 s", "p95_s": "p95 s", "degraded": "lost quality", "due": "retrain", "created": "looked at"}
SHARES = ("errors", "valid", "quality")


def show(store: Store) -> None:
    """What each alias points to with its history, then one deployment's logs at a time."""
    st.title("Production", anchor=False)
    try:
        pointers, last = frames.pointers(store), monitoring.deployments(store)
        if pointers.empty and last.empty:
            st.info("Nothing is in production from this store: nothing was promoted, and no logs were replayed yet.")
            st.code("harness promote ID\nharness monitor --logs FILE --against ID", language="bash")
            return
        for _, pointer in pointers.iterrows():
            _pointer(store, pointer)
        st.subheader("What logs say", anchor=False)
        if last.empty:
            st.markdown("No logs were replayed yet.")
            st.code("harness monitor --logs FILE --against ID", language="bash")
            return
        name = st.selectbox("Deployment", list(last["deployment"]), key="deployment", bind="query-params")
        _deployment(store, name)
    except HarnessError as fault:
        st.error(f"What is in production cannot be read: {plain(str(fault))}")


def _pointer(store: Store, now: pd.Series) -> None:
    """One alias: whom it points to, why, by whom and since when; its history."""
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(now['alias'])}**", width="content")
            badge(now["decision"] or "unfinished")
            if not now["fault"]:
                label = f"{plain(now['experiment'])}, {plain(now['candidate'])}"
                places.link("experiment", label, experiment=now["experiment"])
        if now["fault"]:
            st.error(f"{plain(now['alias'])} {plain(now['fault'])}. Nobody can vouch for what it deploys.")
        if isinstance(now["override"], str):
            st.warning(f"Deployed against its verdict: {plain(now['override'])}", icon=":material/warning:")
        weights = f", weights {now['adapter']}" if isinstance(now["adapter"], str) else ", no trained weights"
        st.markdown(plain(f"{now['model']}{weights}; asked with {now['prompt']}."))
        done = "promoted" if now["action"] == "promote" else f"gone back to (move {now['back_to']:.0f})"
        why = f": {now['why']}" if now["why"] else ""
        st.caption(plain(f"Move {now['number']}, {done} by {now['by']}, {_when(now['created'])}{why}"))
        past = frames.moves(store, now["alias"])
        if len(past) > 1:
            with st.expander(f"History, {len(past)} moves"):
                _history(past, str(now["alias"]))


def _history(past: pd.DataFrame, alias: str) -> None:
    told, shown = frames.MOVE_COLUMNS, [name for name in MOVES if not past[name].isna().all()]
    config = {name: st.column_config.Column(name, help=told[name]) for name in shown}
    past = past.assign(created=past["created"].map(_when), back_to=past["back_to"].astype("Int64"))
    key = f"moves {alias}"
    st.dataframe(past, column_order=shown, column_config=config, hide_index=True, placeholder="–", key=key)


def _when(created: str) -> str:
    """A time to the minute."""
    return f"{created[:16].replace('T', ' ')} UTC"


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
    titles = {name: name for name in SHOWN} | TITLES
    config: dict[str, Any] = {name: column.Column(titles[name], help=told[name]) for name in SHOWN}
    config |= {name: column.NumberColumn(name, help=told[name], format="percent") for name in SHARES}
    numbers = ("p50_s", "p95_s", "drift", "degraded")
    config |= {name: column.NumberColumn(titles[name], help=told[name], format="%.2f") for name in numbers}
    st.dataframe(
        looks.assign(created=looks["created"].map(_when)),
        column_order=list(SHOWN),
        column_config=config,
        hide_index=True,
        placeholder="–",
        key="looks",
    )
