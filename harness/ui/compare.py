"""The page that puts two runs side by side: what was won and lost, sample by sample, word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from harness.errors import HarnessError
from harness.leaderboard import comparing
from harness.leaderboard.text import FLIPS, plain, score_text
from harness.store import ExperimentStore, Store
from harness.ui import diff, markup
from harness.ui.shared import chosen_experiment, known_experiments
from harness.ui.style import drawn

SHOWS = ("flipped", "won", "lost", "tied", "unscored", "all")
Sides = tuple[ExperimentStore, str, ExperimentStore, str]
"""The candidate's experiment and run, the reference's experiment and run."""


def show(store: Store) -> None:
    """Two runs, chosen above; then their samples one at a time."""
    st.title("Compare", anchor=False)
    wanted = chosen_experiment(store)
    if wanted is None:
        return
    try:
        sides = _sides(store, wanted)
        if sides is not None:
            _samples(store, sides)
    except HarnessError as fault:
        st.error(f"These runs cannot be compared: {plain(str(fault))}")


def _sides(store: Store, wanted: str) -> Sides | None:
    """The suite, the candidate, and the reference, which may be of another experiment."""
    experiment = store.at(wanted)
    runs = _runs(str(experiment.path), store.stamp(wanted))
    if runs.empty:
        st.info("This experiment has no finished run on test items.")
        return None
    first, second, third, fourth = st.columns([2, 2, 3, 2], vertical_alignment="bottom")
    suite = first.selectbox("Suite", list(dict.fromkeys(runs["suite"])), key="suite", bind="query-params")
    mine = runs[runs["suite"] == suite]
    names = list(mine["candidate"])
    candidate = second.selectbox("Candidate", names, index=_judged(names), key="candidate", bind="query-params")
    others = [wanted, *(one for one in known_experiments(store, "against") if one != wanted)]
    against = third.selectbox("Reference's experiment", others, key="against", bind="query-params")
    other = store.at(against)
    theirs = _runs(str(other.path), store.stamp(against))
    theirs = theirs[theirs["suite"] == suite]
    left = [name for name in theirs["candidate"] if (against, name) != (wanted, candidate)]
    if not left:
        st.info(f"There is no other run on {plain(suite)} to put beside it.")
        return None
    bar = left.index("best_prompt") if "best_prompt" in left else 0
    reference = fourth.selectbox("Reference", left, index=bar, key="reference", bind="query-params")
    run, beside = (
        str(frame.loc[frame["candidate"] == name, "run"].iloc[0])
        for frame, name in ((mine, candidate), (theirs, reference))
    )
    return experiment, run, other, beside


def _judged(names: list[str]) -> int:
    """The first tuned candidate, else the last one."""
    return next((at for at, name in enumerate(names) if name.startswith("tuned")), len(names) - 1)


def _samples(store: Store, sides: Sides) -> None:
    experiment, run, other, beside = sides
    first, second, third = st.columns([2, 3, 4], vertical_alignment="bottom")
    runs = _runs(str(experiment.path), store.stamp(experiment.id))
    metrics = [comparing.PRIMARY, *runs.loc[runs["run"] == run, "metrics"].iloc[0]]
    metric = first.selectbox(
        "Metric", metrics, key="metric", bind="query-params", help="`primary`: each task's own first metric."
    )
    paths = (str(experiment.path), run, str(other.path), beside)
    stamps = (store.stamp(experiment.id), store.stamp(other.id))
    frame = _pairs(*paths, metric, stamps)
    if frame.empty:
        st.info("These two runs were not asked the same items.")
        return
    values = sorted({one for listed in frame["slices"].unique() for one in listed.split(", ") if one})
    cut = second.selectbox("Slice", ["all items", *values], key="slice", bind="query-params", disabled=not values)
    text = third.text_input("Search in question, answers and gold", key="text", bind="query-params", type="search")
    if values and cut != "all items":
        frame = frame[[cut in listed.split(", ") for listed in frame["slices"]]]
    kept = _shown(frame)
    if text:
        kept = comparing.holding(*sides, kept, text)
    if kept.empty:
        st.info("No sample fits.")
        return
    at = _position(len(kept), str(hash((paths, metric, cut, text, len(kept)))))
    row = kept.iloc[[at]]
    one = {str(k): v for frame in (row, comparing.texts(*sides, row)) for k, v in frame.iloc[0].items()}
    _sample(one, sides)
    _list(kept, at)


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The samples that flipped as wanted."""
    counts = frame["flip"].value_counts()
    amount = {name: int(counts.get(name, 0)) for name in FLIPS}
    amount |= {"flipped": amount["won"] + amount["lost"], "all": len(frame)}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        wanted = st.segmented_control(
            "Show",
            SHOWS,
            default="flipped",
            required=True,
            key="show",
            bind="query-params",
            help="Seen from the candidate: won is where its score is higher than the reference's.",
        )
        st.caption(" · ".join(f"{name} {amount[name]:,}" for name in SHOWS))
    return frame if wanted == "all" else frame[frame["flip"].isin(["won", "lost"] if wanted == "flipped" else [wanted])]


def _position(count: int, of: str) -> int:
    """Which sample is looked at; another choice of samples begins anew."""
    if st.session_state.get("compared") != of:
        if "compared" in st.session_state or "at" not in st.session_state:
            st.session_state["at"] = 0
        st.session_state["compared"] = of
    at = min(int(st.session_state["at"]), count - 1)

    def move(by: int) -> None:
        st.session_state["at"] = min(max(at + by, 0), count - 1)

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Previous", key="previous", shortcut="Left", on_click=move, args=(-1,),
            disabled=at == 0,
        )  # fmt: skip
        st.button(
            "Next", key="next", shortcut="Right", on_click=move, args=(1,),
            disabled=at == count - 1,
        )  # fmt: skip
        st.caption(f"Sample {at + 1:,} of {count:,}")
    return at


def _sample(one: dict[str, Any], sides: Sides) -> None:
    """A question, its gold answer, and what both candidates said to it."""
    experiment, run, other, beside = sides
    names = {"candidate": run.split("--")[0], "reference": beside.split("--")[0]}
    with st.container(border=True, gap="small"):
        st.text(
            f"{FLIPS[one['flip']]}   {one['task']} / {one['id']}" + (f"   {one['slices']}" if one["slices"] else "")
        )
        question, gold = st.columns([3, 1])
        drawn(diff.block("Question", markup.text(one["question"])), question)
        drawn(diff.block("Gold", markup.text(one["target"])), gold)
        said = {side: one[f"{side}_answer"] for side in names}
        scored = pd.Series(one)
        for place, (side, other_side, kind) in zip(
            st.columns(2), (("candidate", "reference", "ours"), ("reference", "candidate", "theirs")), strict=True
        ):
            label = f"{names[side]}: {one['metric']} {score_text(scored, side)}"
            answer = said[side]
            body = "(no answer)" if answer is None else diff.marked(answer, said[other_side] or "", kind)
            drawn(diff.block(label, body), place)
            for what in ("reasoning", "retrieved"):
                if told := one[f"{side}_{what}"]:
                    drawn(diff.block(what, markup.text(told if isinstance(told, str) else ", ".join(told))), place)
        st.caption("Marked is what only one of the two answers says.")
        with st.expander("Every score, and the exact prompt", key="prompt", on_change="rerun") as opened:
            if opened.open:
                _details(one, {"candidate": (experiment, run), "reference": (other, beside)}, names)


def _details(one: dict[str, Any], runs: dict[str, tuple[ExperimentStore, str]], names: dict[str, str]) -> None:
    for place, (side, (folder, run_id)) in zip(st.columns(2), runs.items(), strict=True):
        scores = dict(one[f"{side}_scores"])
        told = ", ".join(f"{name} {'unscored' if value is None else f'{value:.3f}'}" for name, value in scores.items())
        seconds = one[f"{side}_latency_s"]
        took = "" if seconds is None else f"; {seconds:.2f} s"
        place.caption(plain(f"{names[side]}: {told}{took}"))
        run = folder.run(run_id)
        turns = comparing.turns(run, one["question"], one[f"{side}_retrieved"])
        if turns is None:
            place.caption("It was asked as the suite has it, without a prompt around it.")
            continue
        exact = comparing.rendered(run, turns)
        if exact is not None:
            drawn(diff.block("The prompt as the model got it", markup.text(exact)), place)
            continue
        written = "\n\n".join(f"[{role}]\n{content}" for role, content in turns)
        drawn(diff.block("Turns that were sent", markup.text(written)), place)
        template = run.candidate.model.chat_template_digest if run else None
        where = f"the chat template {template[:12]}, which is not here" if template else "no chat template"
        place.caption(f"They were put into {where}.")


def _list(kept: pd.DataFrame, at: int) -> None:
    """All samples that fit; a click on one shows it."""
    shown = kept.assign(flip=kept["flip"].map(FLIPS)).reset_index(drop=True)
    column = st.column_config
    config: dict[str, Any] = {name: column.Column(name, help=told) for name, told in comparing.PAIR_COLUMNS.items()}
    config |= {f"{side}_score": column.NumberColumn(side, format="%.2f") for side in comparing.SIDES}

    def jump() -> None:
        rows = st.session_state["list"]["selection"]["rows"]
        if rows:
            st.session_state["at"] = rows[0]

    with st.expander(f"All {len(kept):,} that fit"):
        order = ["flip", "task", "id", "candidate_score", "reference_score", "slices"]
        st.dataframe(
            shown, column_order=order, column_config=config, hide_index=True, key="list", on_select=jump,
            selection_mode="single-row", placeholder="–", height=300,
        )  # fmt: skip


@st.cache_data(show_spinner=False, max_entries=64)  # type: ignore[untyped-decorator]
def _runs(path: str, stamp: str) -> pd.DataFrame:
    return comparing.test_runs(ExperimentStore(Path(path)))


@st.cache_data(show_spinner=False, max_entries=16)  # type: ignore[untyped-decorator]
def _pairs(path: str, run: str, other: str, beside: str, metric: str, stamps: tuple[str, str]) -> pd.DataFrame:
    """The light half of two runs; `stamps` change with any manifest of either experiment."""
    return comparing.pairs(ExperimentStore(Path(path)), run, ExperimentStore(Path(other)), beside, metric)
