"""The page of one experiment: the verdict first, then its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.errors import HarnessError
from harness.leaderboard import charts
from harness.leaderboard.text import plain
from harness.store import ExperimentStore, Store
from harness.ui import diff, gates, markup, places, tables
from harness.ui.shared import badge, cell, contestants_table, paged, two_columns
from harness.ui.style import drawn
from harness.ui.tables import Told

TABS: Final = ("Prompt search", "Training", "Money", "Data", "Provenance")
"""Parts of the evidence; `&tab=Money` in an address opens one. Which is open is not bound to the address: one that is
clicked while the page is drawn anew would jump back."""
SHOWN = 20
"""Prompts of a search on a page, the best first."""


def show(store: Store) -> None:
    """One experiment, named in the address: the verdict first, then its evidence."""
    wanted = places.asked("experiment")
    stamp = store.stamp(wanted) if store.holds(wanted) else ""
    if not stamp:
        st.error(f"There is no experiment {plain(wanted)} in {plain(str(store.root))}.")
        return
    experiment = store.at(wanted)
    try:
        read = _detail(str(experiment.path), stamp)
        verdict(read["summary"])
        evidence(experiment, read)
    except HarnessError as fault:
        st.error(f"This experiment cannot be read: {plain(str(fault))}")


def verdict(summary: dict[str, Any]) -> None:
    """The verdict in one sentence, the five answers, and what to know before acting on it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(summary["name"]), width="content")
        badge(summary["decision"])
    st.markdown(f"#### {plain(summary['headline'])}", anchors=False)
    if summary["reason"]:
        st.markdown(plain(summary["reason"]))
    with st.container(border=True):
        drawn(markup.five(summary))
    for warning in summary["warnings"]:
        st.warning(plain(warning), icon=":material/warning:")
    if summary["missing"]:
        st.info(f"Not there yet: {plain(', '.join(summary['missing']))}. The same command resumes it.")


def further(experiment: ExperimentStore) -> None:
    """The ways on: its samples side by side, a vote on them, its data."""
    with st.container(horizontal=True, gap="medium"):
        places.link("compare", "Compare its answers", experiment=experiment.id)
        places.link("review", "Vote on its answers", experiment=experiment.id)
        places.link("data", "Look at its data", experiment=experiment.id)


def evidence(experiment: ExperimentStore, read: dict[str, Any]) -> None:
    """Everything that the verdict rests on."""
    rows, facts = read["contestant_rows"], read["facts"]
    if not read["gates"].empty:
        gates.show(read)
    if not rows.empty:
        st.subheader("Contestants")
        st.altair_chart(charts.scores(rows), alt="Task score of each contestant with its interval")
        contestants_table(rows, judged=read["summary"]["judged"])
        asked(read["prompt_details"])
    further(experiment)
    opened = places.asked("tab")
    tabs = st.tabs(TABS, key="tab", default=opened if opened in TABS else None)
    with tabs[0]:
        prompt_section(read["prompt_arms"], read["prompt_trace"], facts)
    with tabs[1]:
        training_section(read, facts)
    with tabs[2]:
        money_section(rows, read)
    with tabs[3]:
        data_section(read["findings"], facts)
    with tabs[4]:
        st.markdown("Run it again:")
        gate = read["summary"]["kind"] == "gate"
        command = f"harness gate --again {experiment.id}" if gate else f"harness run {experiment.path}/spec.yaml"
        st.code(command, language="bash")
        facts_table(facts, "provenance")


def training_section(read: dict[str, Any], facts: pd.DataFrame) -> None:
    """The learning curves of every seed with the step whose weights came out, and what was learned from."""
    if not read["learning_dev"]["score"].dropna().empty:
        st.altair_chart(charts.dev(read["learning_dev"]), alt="Score on dev by optimizer step; the chosen one marked")
    if not read["learning_curve"].empty:
        st.altair_chart(charts.curve(read["learning_curve"]), alt="Training loss by optimizer step")
    elif not read["supervised"]:
        st.info("Nothing was trained.")
    if not read["learning_dev"]["loss"].dropna().empty:
        of_dev = charts.dev(read["learning_dev"], "loss")
        st.altair_chart(of_dev, alt="Loss on dev by optimizer step; the chosen one marked")
    facts_table(facts, "training")
    if not read["trials"].empty:
        sweep_section(read["trials"])
    if read["supervised"]:
        with st.expander("Rows as the trainer saw them; what is learned stands between [[ and ]]"):
            for number, row in enumerate(read["supervised"], start=1):
                drawn(diff.block(f"Row {number}", markup.text(row)))


def sweep_section(trials: pd.DataFrame) -> None:
    """Every trial of the sweep, and what each forgot for what it gained, where that was measured."""
    st.markdown("**Sweep**, by dev alone; the best of it was trained with every seed")
    told = frames.TRIAL_COLUMNS
    columns = {
        "number": Told("trial", told["number"], 4.0, ","),
        "fields": Told("what it tried", told["fields"]),
        "score": Told("score on dev", told["score"], 6.6, ".3f"),
        "steps": Told("steps", told["steps"], 4.4, ","),
        "ended": Told("how it ended", told["ended"]),
        "text_lost": Told("text lost, nats per byte", told["text_lost"]),
        "kl": Told("KL to base, nats per token", told["kl"]),
    }
    known = {name: one for name, one in columns.items() if not trials[name].isna().all()}
    drawn(tables.table(trials, known, "Trials of the sweep"))
    measured = trials.dropna(subset=["kl_value", "score"])
    if len(measured) > 1:
        st.altair_chart(charts.trade_off(measured), alt="Score on dev over KL to the base model, a mark a trial")


MONEY = ("candidate", "tokens_in", "tokens_out", "latency_p50_s", "cost_per_1000", "training_s", "training_cost")


def money_section(rows: pd.DataFrame, read: dict[str, Any]) -> None:
    """What was spent so far, what each contestant costs, and from which volume on the tuned one is cheaper."""
    st.markdown(plain(read["summary"]["cost"]))
    if not read["money_stages"].empty:
        st.dataframe(read["money_stages"], hide_index=True, key="money-stages", width="content")
    if not read["money_monthly"].empty:
        st.markdown("**Cost of a month by requests a month**")
        st.altair_chart(
            charts.monthly(read["money_monthly"]),
            alt="Cost of a month over requests a month, tuned candidate and best prompt; the break-even marked",
        )
    if not read["money_terms"].empty:
        st.dataframe(read["money_rows"], hide_index=True, key="money-told", width="stretch")
        two_columns(read["money_terms"])
        return
    column, forms = st.column_config, {"tokens_in": "%.0f", "tokens_out": "%.0f", "training_s": "%.0f"}
    config: dict[str, Any] = {
        name: column.NumberColumn(name.replace("_", " "), format=forms.get(name, "%.3f"), help=frames.COLUMNS[name])
        for name in MONEY[1:]
    }
    st.dataframe(
        rows, column_order=list(MONEY), column_config=config, hide_index=True, placeholder="–", key="money",
        width="content",
    )  # fmt: skip
    if rows["cost_per_1000"].isna().all():
        st.caption(
            "The experiment names no prices: `budget: {machine: ..., provider: ...}` takes dated ones from the list, "
            "`gpu_hour_price`, `input_price` and `output_price` state your own; run it again to have them told."
        )


def data_section(findings: pd.DataFrame, facts: pd.DataFrame) -> None:
    """The splits, and what the audit found in them."""
    facts_table(facts, "data")
    if findings.empty:
        st.markdown("The audit found nothing.")
    else:
        st.dataframe(findings, hide_index=True, key="findings")


def asked(details: pd.DataFrame) -> None:
    """How each contestant was asked: instruction, demonstrations, what is looked up, reasoning, constraint."""
    with st.expander("How each was asked"):
        name = st.selectbox("Contestant", details["candidate"].unique(), key="asked")
        for _, part in details[details["candidate"] == name].iterrows():
            cell(st, part["what"], part["value"])


def prompt_section(arms: pd.DataFrame, trace: pd.DataFrame, facts: pd.DataFrame) -> None:
    """The prompt search: the best so far over the budget, every arm, best first, and each prompt's full text."""
    if arms.empty:
        st.info("There was no prompt search.")
        return
    facts_table(facts, "prompt")
    if len(trace) > 1:
        st.altair_chart(charts.trace(trace), alt="Best mean on dev so far by budget spent")
    columns = {
        "arm": Told("prompt", "Name of the variant.", 9.0),
        "origin": Told("origin", "Where it came from: a rule, you, a model, a crossing.", 8.4),
        "what": Told("what it is", "Demonstrations, what is looked up, reasoning, constraint."),
        "mean": Told("mean on dev", "Mean of the scored dev items (chosen on them).", 6.4, ".3f"),
        "n": Told("n", "Dev items scored.", 3.4, ","),
        "tokens": Told("tokens / call", "Prompt and answer tokens per call.", 6.2, ",.0f"),
        "round": Told("round", "Last round in which it was asked.", 4.2, ","),
        "fate": Told("fate", "Winner, or why and when it fell."),
    }
    listed = paged(arms, SHOWN, "prompts")
    drawn(tables.table(listed, columns, "Prompts of the search, the best first"))
    for position, arm in listed.iterrows():
        with st.expander(plain(str(arm["arm"])), expanded=position == 0):
            st.code(arm["text"], language=None, wrap_lines=True)


def facts_table(facts: pd.DataFrame, group: str) -> None:
    """The facts of one group, as a two-column table."""
    mine = facts.loc[facts["group"] == group, ["what", "value"]]
    if not mine.empty:
        two_columns(mine)


@st.cache_data(show_spinner=False, max_entries=16)  # type: ignore[untyped-decorator]
def _detail(path: str, stamp: str) -> dict[str, Any]:
    """Every frame of one experiment but its samples; `stamp` changes with any manifest."""
    experiment = ExperimentStore(Path(path))
    judged = [frames.gates, frames.slices, frames.broken, frames.finalists, frames.standing]
    made = [frames.contestant_rows, frames.learning_curve, frames.learning_dev, frames.findings, frames.supervised]
    made += [frames.trials]
    made += [frames.prompt_arms, frames.prompt_trace, frames.prompt_details]
    made += [frames.money_rows, frames.money_stages, frames.money_terms, frames.money_monthly]
    read = {one.__name__: one(experiment) for one in (*judged, *made, frames.facts)}
    return read | {"summary": frames.summary(experiment)}
