"""The Streamlit leaderboard: `harness ui`, or `streamlit run app.py`.

Pixels only: every number comes from a frame of `harness.leaderboard`, nothing is
computed and nothing is written. Model text is shown with `st.code` and never as
markdown, so that whatever a model says stays inert. `/?experiment=ID` is a permanent link.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.errors import HarnessError
from harness.leaderboard import charts
from harness.leaderboard.text import FLIPS, GLYPHS, bracket, methods_line, plain, score_text, spans
from harness.store import ExperimentStore, Store

BADGES: dict[str, tuple[str, Any, str]] = {
    "promote": ("Promote", "blue", ":material/check_circle:"),
    "reject": ("Reject", "orange", ":material/cancel:"),
    "inconclusive": ("Inconclusive", "gray", ":material/help:"),
    "prompt_suffices": ("Prompt suffices", "violet", ":material/chat:"),
    "unfinished": ("Unfinished", "gray", ":material/hourglass_empty:"),
}
# An interval right of its margin; inline, so that no icon is fetched from the network.
ICON = (
    '<svg viewBox="0 0 16 16"><path d="M1 8h14" stroke="#2a78b5" stroke-width="2"/>'
    '<circle cx="10" cy="8" r="4" fill="#2a78b5"/><path d="M4 2v12" stroke="#c9a227" stroke-width="2"/></svg>'
)
PER_PAGE, SAMPLES_PER_PAGE = 8, 5


@st.cache_data(show_spinner=False, max_entries=4)  # type: ignore[untyped-decorator]  # its types are not followed
def overview(root: str, stamp: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Experiments, candidates and damaged folders; `stamp` changes with any manifest."""
    store = Store(Path(root))
    return frames.experiments(store), frames.rows(store), frames.damaged(store)


@st.cache_data(show_spinner=False, max_entries=16)  # type: ignore[untyped-decorator]
def detail(path: str, stamp: str) -> dict[str, Any]:
    """Every frame of one experiment but its samples; `stamp` changes with any manifest."""
    experiment = ExperimentStore(Path(path))
    readers = [frames.summary, frames.contestant_rows, frames.gates, frames.learning_curve, frames.prompt_arms]
    return {read.__name__: read(experiment) for read in [*readers, frames.prompts, frames.findings, frames.facts]}


@st.cache_data(show_spinner=False, max_entries=32)  # type: ignore[untyped-decorator]
def side_by_side(path: str, stamp: str, suite: str, candidate: str, reference: str) -> pd.DataFrame:
    """The samples of two candidates; `stamp` changes with any manifest."""
    return frames.samples(ExperimentStore(Path(path)), suite, candidate, reference)


# ----------------------------------------------------------------------- leaderboard


def leaderboard_page(store: Store) -> None:
    """All experiments, newest first, each with its contestants; the raw base on top."""
    st.title("Leaderboard")
    st.caption("Did fine-tuning beat the best prompt, by how much, how sure are we, and what did it break?")
    experiments, rows, damaged = overview(str(store.root), frames.stamp(store))
    if experiments.empty:
        empty_store(store)
    else:
        shown = filtered(experiments)
        cards, table = st.tabs(["By experiment", "All candidates"])
        with cards:
            for _, experiment in paged(shown, PER_PAGE, "page").iterrows():
                card(experiment, rows[rows["experiment"] == experiment["experiment"]])
        with table:
            every = rows[rows["experiment"].isin(shown["experiment"])]
            st.dataframe(every, hide_index=True, column_config=full_columns(every), placeholder="–", key="every")
            st.download_button("Download CSV", every.to_csv(index=False), "leaderboard.csv", "text/csv")
    damaged_folders(damaged)


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


def paged(frame: pd.DataFrame, size: int, key: str) -> pd.DataFrame:
    """One page of a frame, with page numbers when there is more than one."""
    pages = -(-len(frame) // size)
    page = st.pagination(pages, key=key) if pages > 1 else 1
    return frame.iloc[(page - 1) * size : page * size]


def card(experiment: pd.Series, rows: pd.DataFrame) -> None:
    """One experiment: its name, its verdict in a sentence, its contestants."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            link(experiment["experiment"], f"**{plain(experiment['name'])}**")
            badge(experiment["decision"])
        st.markdown(plain(experiment["headline"]))
        if not rows.empty:
            contestants_table(rows, f"card-{experiment['experiment']}")


def link(experiment_id: str, label: str) -> None:
    """A link to an experiment's page."""
    st.page_link(
        EXPERIMENT,
        label=label,
        icon=":material/arrow_forward:",
        icon_position="right",
        query_params={"experiment": experiment_id},
    )


def badge(decision: str) -> None:
    """A verdict as a badge: words, colour and icon say the same."""
    label, color, icon = BADGES[decision]
    st.badge(label, color=color, icon=icon)


def contestants_table(rows: pd.DataFrame, key: str) -> None:
    """The contestants of one experiment with scores, differences, regressions and costs."""
    bar = rows.loc[rows["candidate"] == "best_prompt", "score"]
    to_beat = float(bar.iloc[0]) if len(bar) and pd.notna(bar.iloc[0]) else None
    shown = rows[["candidate", "method"]].copy()
    shown["drawn"] = [charts.interval_image(row, to_beat) for _, row in rows.iterrows()]
    shown["score"] = spans(rows, "score", "score_low", "score_high")
    shown["n"] = rows["score_n"]
    shown["delta"] = spans(rows, "delta", "delta_low", "delta_high", "+")
    config = contestant_columns()
    for column in [c for c in rows.columns if c.endswith(" score") and rows[c].notna().any()]:
        suite = column.removesuffix(" score")
        shown[column] = spans(rows, column, f"{suite} low", f"{suite} high")
        shown[f"{suite} gate"] = rows[f"{suite} gate"].map(GLYPHS)
        counts = ", ".join(sorted({str(n) for n in rows[f"{suite} n"].dropna()}))
        told = f"{frames.SUITE_COLUMNS['score']} Items: {counts}."
        config[column] = st.column_config.TextColumn(suite, help=told, width=140)
        config[f"{suite} gate"] = st.column_config.TextColumn("gate", help=frames.SUITE_COLUMNS["gate"], width=92)
    for column in ("tokens_in", "latency_p50_s", "training_s"):
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
        "drawn": column.ImageColumn("0 to 1", help="Score with its interval; the tick is the best prompt.", width=150),
        "score": column.TextColumn("score", help=told["score"], width=140),
        "n": column.NumberColumn("n", help=told["score_n"], width=45),
        "delta": column.TextColumn("Δ to best prompt", help=told["delta"], width=160),
        "tokens_in": column.NumberColumn("tok in", help=told["tokens_in"], format="%.0f", width=52),
        "latency_p50_s": column.NumberColumn("p50 s", help=told["latency_p50_s"], format="%.2f", width=48),
        "training_s": column.NumberColumn("train s", help=told["training_s"], format="%.0f", width=55),
    }


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


# ------------------------------------------------------------------------ experiment


def experiment_page(store: Store, wanted: str) -> None:
    """One experiment: the verdict first, then its evidence."""
    st.page_link(HOME, label="Leaderboard", icon=":material/arrow_back:")
    if wanted not in store.ids():
        st.error(f"There is no experiment {plain(wanted)} in {plain(str(store.root))}.")
        return
    experiment = ExperimentStore(store.root / wanted)
    try:
        stamp = frames.stamp(store)
        read = detail(str(experiment.path), stamp)
        verdict(read["summary"])
        evidence(experiment, read, stamp)
    except HarnessError as fault:
        st.error(f"This experiment cannot be read: {plain(str(fault))}")


def verdict(summary: dict[str, Any]) -> None:
    """The verdict in one sentence, the four answers, and what to know before acting on it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(summary["name"]), width="content")
        badge(summary["decision"])
    st.markdown(f"#### {plain(summary['headline'])}", anchors=False)
    if summary["reason"]:
        st.markdown(plain(summary["reason"]))
    four = st.columns([3, 3, 4, 4])
    four[0].metric(
        "Beat the best prompt?",
        summary["beat"],
        border=True,
        height="stretch",
        help="Yes when the whole interval lies above 0.",
    )
    four[1].metric(
        "By how much", summary["margin"], border=True, height="stretch", help=frames.SUMMARY_COLUMNS["margin"]
    )
    rests_on: dict[str, Any] = {"delta": summary["basis"], "delta_color": "off", "delta_arrow": "off"}
    four[2].metric("How sure", summary["certainty"], border=True, help=frames.SUMMARY_COLUMNS["certainty"], **rests_on)
    four[3].metric(
        "What it broke", summary["broke"], border=True, height="stretch", help=frames.SUMMARY_COLUMNS["broke"]
    )
    for warning in summary["warnings"]:
        st.warning(plain(warning), icon=":material/warning:")
    if summary["missing"]:
        st.info(f"Not there yet: {plain(', '.join(summary['missing']))}. The same command resumes it.")


def evidence(experiment: ExperimentStore, read: dict[str, Any], stamp: str) -> None:
    """Everything that the verdict rests on."""
    gates, rows, facts = read["gates"], read["contestant_rows"], read["facts"]
    if not gates.empty:
        st.subheader("Gates")
        gates_section(gates)
    if not rows.empty:
        st.subheader("Contestants")
        st.altair_chart(charts.scores(rows), alt="Task score of each contestant with its interval")
        contestants_table(rows, "contestants")
    names = ["Samples", "Prompt race", "Training", "Data", "Provenance"]
    tabs = st.tabs(names, key="tab", bind="query-params", on_change="rerun")
    with tabs[0]:
        samples_section(experiment, read, stamp)
    with tabs[1]:
        prompt_section(read["prompt_arms"], facts)
    with tabs[2]:
        curve = read["learning_curve"]
        if curve.empty:
            st.info("Nothing was trained.")
        else:
            st.altair_chart(charts.curve(curve), alt="Training loss by optimizer step")
        facts_table(facts, "training")
    with tabs[3]:
        findings = read["findings"]
        facts_table(facts, "data")
        if findings.empty:
            st.markdown("The audit found nothing.")
        else:
            st.dataframe(findings, hide_index=True, key="findings")
    with tabs[4]:
        st.markdown("Run it again:")
        st.code(f"harness run {experiment.path}/spec.yaml", language="bash")
        facts_table(facts, "provenance")


def gates_section(gates: pd.DataFrame) -> None:
    """The forest plot, then every gate with its numbers and its reason."""
    if gates["delta"].notna().any():
        st.altair_chart(charts.forest(gates), alt="Difference, interval and margin of every gate")
        st.caption(
            "A gate passes when its whole interval lies right of its yellow margin, and fails when it lies left."
        )
    shown = gates.assign(
        outcome=gates["outcome"].map(GLYPHS),
        interval=pd.Series([bracket(*ends, sign="+") for ends in zip(gates["low"], gates["high"], strict=True)]),
        kind=gates["blocking"].map({True: "blocking", False: "advisory"}),
    )
    order = [
        "gate",
        "outcome",
        "delta",
        "interval",
        "min_delta",
        "n",
        "method",
        "won",
        "lost",
        "unscored",
        "kind",
        "reason",
    ]
    column, told = st.column_config, frames.GATE_COLUMNS
    config: dict[str, Any] = {name: column.Column(name, help=told[name]) for name in order if name in told}
    config["delta"] = column.NumberColumn("difference", format="%+.3f", help=told["delta"])
    config["min_delta"] = column.NumberColumn("margin", format="%+.3f", help=told["min_delta"])
    config["interval"] = column.TextColumn("interval", help="Interval of the paired difference.")
    config["kind"] = column.TextColumn("kind", help=told["blocking"])
    st.dataframe(shown, column_order=order, column_config=config, hide_index=True, placeholder="–", key="gates")


def samples_section(experiment: ExperimentStore, read: dict[str, Any], stamp: str) -> None:
    """Two candidates side by side, sample by sample."""
    rows, judged = read["contestant_rows"], read["summary"]["judged"]
    names = [name for name in rows["candidate"] if name != "majority"]
    if len(names) < 2:
        st.info("There are no two candidates to put side by side.")
        return
    suites = ["task", *(c.removesuffix(" score") for c in rows.columns if c.endswith(" score"))]
    first, second, third, fourth = st.columns([1, 1, 1, 2], vertical_alignment="bottom")
    suite = first.selectbox("Suite", suites, key="suite", bind="query-params")
    candidate = second.selectbox("Candidate", names, index=names.index(judged), key="candidate", bind="query-params")
    others = [name for name in names if name != candidate]
    bar = others.index("best_prompt") if "best_prompt" in others else 0
    reference = third.selectbox("Reference", others, index=bar, key="reference", bind="query-params")
    text = fourth.text_input("Search in question, answers and gold", key="text", bind="query-params")
    frame = side_by_side(str(experiment.path), stamp, suite, candidate, reference)
    counts = frame["flip"].value_counts()
    options = ["flipped", "won", "lost", "tied", "unscored", "all"]
    amount = {name: int(counts.get(name, 0)) for name in FLIPS}
    amount |= {"flipped": amount["won"] + amount["lost"], "all": len(frame)}
    wanted = st.segmented_control(
        "Show", options, default="flipped", required=True, key="show", format_func=lambda o: f"{o} ({amount[o]})"
    )
    kept = frame if wanted == "all" else frame[frame["flip"].isin(["won", "lost"] if wanted == "flipped" else [wanted])]
    if text:
        columns = ["id", "question", "target", "candidate_answer", "reference_answer"]
        hits = [kept[c].astype(str).str.contains(text, case=False, regex=False) for c in columns]
        kept = kept[pd.concat(hits, axis=1).any(axis=1)]
    if kept.empty:
        st.info("No sample fits.")
    prompts = read["prompts"] if suite == "task" else {}
    for _, sample in paged(kept, SAMPLES_PER_PAGE, "sample-page").iterrows():
        one_sample(sample, {"candidate": candidate, "reference": reference}, prompts)


def one_sample(sample: pd.Series, names: dict[str, str], prompts: dict[str, str]) -> None:
    """A question, its gold answer, and what both candidates said to it."""
    with st.container(border=True, gap="xsmall"):
        st.text(f"{FLIPS[sample['flip']]}   {sample['task']} / {sample['id']}")
        question, gold, *sides = st.columns([4, 2, 3, 3])
        cell(question, "Question", sample["question"])
        cell(gold, "Gold", sample["target"])
        for place, (side, name) in zip(sides, names.items(), strict=True):
            answer = sample[f"{side}_answer"]
            cell(place, f"{name}: {score_text(sample, side)}", answer if isinstance(answer, str) else "(no answer)")
        if prompts:
            with st.expander("Exact prompt turns, before the chat template"):
                for place, name in zip(st.columns(2), names.values(), strict=True):
                    place.caption(plain(name))
                    place.code(f"{prompts[name]}\n\n[user]\n{sample['question']}", language=None, wrap_lines=True)


def cell(place: Any, label: str, text: str) -> None:
    """A label and, below it, text of a model or of the data, inert."""
    place.caption(plain(label))
    place.code(text, language=None, wrap_lines=True)


def prompt_section(arms: pd.DataFrame, facts: pd.DataFrame) -> None:
    """The prompt race, best first, and each prompt's full text."""
    if arms.empty:
        st.info("There was no prompt search yet.")
        return
    facts_table(facts, "prompt")
    column = st.column_config
    config = {
        "arm": column.TextColumn("prompt", help="Name of the variant."),
        "mean": column.NumberColumn(
            "mean on dev", format="%.3f", help="Mean of the scored dev items (chosen on them)."
        ),
        "n": column.NumberColumn("n", help="Dev items scored."),
        "rung": column.NumberColumn("rung", help="Last rung reached."),
        "fate": column.TextColumn("fate", help="Winner, or why and when it fell."),
        "examples": column.NumberColumn("examples", help="Worked examples in the prompt, from train."),
    }
    order = ["arm", "mean", "n", "rung", "examples", "fate"]
    st.dataframe(arms, column_order=order, column_config=config, hide_index=True, placeholder="–", key="arms")
    for position, arm in arms.iterrows():
        with st.expander(plain(str(arm["arm"])), expanded=position == 0):
            st.code(arm["text"], language=None, wrap_lines=True)


def facts_table(facts: pd.DataFrame, group: str) -> None:
    """The facts of one group, as a two-column table."""
    mine = facts.loc[facts["group"] == group, ["what", "value"]]
    widths = {"what": st.column_config.Column("", width=180), "value": st.column_config.Column("", width=900)}
    if not mine.empty:
        st.dataframe(mine, hide_index=True, key=f"facts-{group}", column_config=widths)


def home() -> None:
    """The leaderboard; `/?experiment=ID` leads on to that experiment."""
    if "experiment" in st.query_params:
        st.switch_page(EXPERIMENT, query_params=st.query_params.to_dict())
    leaderboard_page(Store())


def experiment() -> None:
    """One experiment, named in the address."""
    experiment_page(Store(), st.query_params.get("experiment", ""))


HOME = st.Page(home, title="Leaderboard", default=True)
EXPERIMENT = st.Page(experiment, title="Experiment", url_path="experiment")


def main() -> None:
    """Two pages, each with an address of its own, so that links and the browser's history work."""
    st.set_page_config(page_title="Harness leaderboard", page_icon=ICON, layout="wide")
    st.navigation([HOME, EXPERIMENT], position="hidden").run()


main()
