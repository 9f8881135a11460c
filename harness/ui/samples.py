"""The samples of an experiment: two candidates side by side, sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from harness import leaderboard as frames
from harness.leaderboard.text import FLIPS, plain, score_text
from harness.store import ExperimentStore
from harness.ui.shared import cell, paged

PER_PAGE = 5


def show(experiment: ExperimentStore, read: dict[str, Any], stamp: str) -> None:
    """Two candidates side by side, sample by sample."""
    rows, judged = read["contestant_rows"], read["summary"]["judged"]
    names = list(rows.loc[rows["asked"].notna(), "candidate"])
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
    frame = _in_slice(_side_by_side(str(experiment.path), stamp, suite, candidate, reference))
    kept = _filtered(frame, text)
    if kept.empty:
        st.info("No sample fits.")
    prompts = read["prompts"] if suite == "task" else {}
    for _, sample in paged(kept, PER_PAGE, "sample-page").iterrows():
        one_sample(sample, {"candidate": candidate, "reference": reference}, prompts)


def _in_slice(frame: pd.DataFrame) -> pd.DataFrame:
    """The samples of one slice, where the items have any."""
    values = sorted({one for listed in frame["slices"] for one in listed.split(", ") if one})
    if not values:
        return frame
    wanted = st.pills("Slice", values, key="slice")
    return frame[[wanted in listed.split(", ") for listed in frame["slices"]]] if wanted else frame


def _filtered(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """The samples that flipped as wanted and hold the text that is searched for."""
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
    return kept


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
            for what in ("reasoning", "retrieved"):
                if isinstance(sample[f"{side}_{what}"], str):
                    cell(place, what, sample[f"{side}_{what}"])
        if prompts:
            with st.expander("Exact prompt turns, before the chat template"):
                for place, name in zip(st.columns(2), names.values(), strict=True):
                    place.caption(plain(name))
                    place.code(f"{prompts[name]}\n\n[user]\n{sample['question']}", language=None, wrap_lines=True)


@st.cache_data(show_spinner=False, max_entries=32)  # type: ignore[untyped-decorator]
def _side_by_side(path: str, stamp: str, suite: str, candidate: str, reference: str) -> pd.DataFrame:
    """The samples of two candidates; `stamp` changes with any manifest."""
    return frames.samples(ExperimentStore(Path(path)), suite, candidate, reference)
