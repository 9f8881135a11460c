"""The page on which people vote on pairs of answers without knowing whose they are, and see what the votes come to."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pandas as pd
import streamlit as st

from harness import reviewing
from harness.compare import LEAST_VOTES
from harness.errors import HarnessError
from harness.evidence import basis, span
from harness.leaderboard import comparing
from harness.leaderboard.text import plain
from harness.records import Interval, VoteRecord
from harness.records.voted import Choice
from harness.reviewing import Blind, Review
from harness.store import ExperimentStore, Store, counted
from harness.ui import diff, markup
from harness.ui.shared import chosen_experiment
from harness.ui.style import drawn

BUTTONS: dict[Choice, tuple[str, str]] = {
    "a": ("A is better", "A"),
    "b": ("B is better", "B"),
    "tie": ("Tie", "T"),
    "both_bad": ("Both bad", "X"),
}
"""What can be said: label, key."""
OUTCOMES = {"won": "candidate preferred", "lost": "reference preferred", "tied": "tie", "both_bad": "both bad"}


def show(store: Store) -> None:
    """Who votes on what, then one pair after the other; the result on demand."""
    st.title("Review", anchor=False)
    wanted = chosen_experiment(store)
    if wanted is None:
        return
    folder = store.at(wanted)
    try:
        pair = _pair(folder, store.stamp(wanted))
        if pair is None:
            return
        pairs = _pairs(str(folder.path), *pair, store.stamp(wanted))
        _vote(folder, pair, pairs)
        _result(folder, pair)
    except HarnessError as fault:
        st.error(f"This cannot be reviewed: {plain(str(fault))}")


def _pair(folder: ExperimentStore, stamp: str) -> tuple[str, str] | None:
    """Run ids of candidate and reference; every one of them is some run on the task."""
    runs = _runs(str(folder.path), stamp)
    names = list(runs["candidate"])
    if len(names) < 2:
        st.info("This experiment has no two runs on the task to vote on.")
        return None
    first, second, third = st.columns([2, 2, 2], vertical_alignment="bottom")
    tuned = next((at for at, name in enumerate(names) if name.startswith("tuned")), len(names) - 1)
    candidate = first.selectbox("Candidate", names, index=tuned, key="candidate", bind="query-params")
    others = [name for name in names if name != candidate]
    bar = others.index("best_prompt") if "best_prompt" in others else 0
    reference = second.selectbox("Reference", others, index=bar, key="reference", bind="query-params")
    third.text_input(
        "Your name", key="reviewer", bind="query-params", max_chars=80,
        help="Your votes are kept under it. The same name comes back to the same pairs, sides and votes.",
    )  # fmt: skip
    ids = dict(zip(names, runs["run"], strict=True))
    return ids[candidate], ids[reference]


def _vote(folder: ExperimentStore, pair: tuple[str, str], pairs: list[Blind]) -> None:
    """The next pair without a vote of this reviewer."""
    reviewer = str(st.session_state.get("reviewer", "")).strip()
    if not pairs:
        st.info("All answers of these two are the same, so there is nothing to prefer.")
        return
    if not reviewer:
        st.info(f"Give your name to begin. There are {len(pairs):,} pairs of answers that differ.")
        return
    mine = [v for v in counted(folder.votes()) if (v.candidate, v.reference) == pair and v.reviewer == reviewer]
    done = {(v.task, v.id, v.repeat, v.answers) for v in mine}
    left = [one for one in pairs if (*one.key, one.answers) not in done]
    again = st.session_state.get("again")
    current = next((one for one in pairs if one.key == again), left[0] if left else None)
    st.progress((len(pairs) - len(left)) / len(pairs), f"{len(pairs) - len(left):,} of {len(pairs):,} pairs voted on")
    if current is None:
        st.success("You have voted on every pair. Thank you.", icon=":material/check:")
        return
    _one(folder, pair, current, reviewer, [v for v in mine if (v.task, v.id, v.repeat) != current.key])


def _one(
    folder: ExperimentStore, pair: tuple[str, str], one: Blind, reviewer: str, before: list[VoteRecord]
) -> None:  # fmt: skip
    """One question with two answers, and what can be said of them."""
    first = reviewing.shown_first(one, *pair, reviewer)
    sides = (one.candidate, one.reference) if first == "candidate" else (one.reference, one.candidate)
    seen = st.session_state.setdefault("seen", {})
    shown_at = seen.setdefault((reviewer, *pair, *one.key), time.time())
    drawn(diff.block("Question", markup.text(one.question)))
    for place, name, said in zip(st.columns(2), "AB", sides, strict=True):
        drawn(diff.block(f"Answer {name}", markup.text(said)), place)
    note = st.text_input("Note", key=f"note-{reviewer}-{one.key}", placeholder="Why, if you like", max_chars=2000)

    def cast(choice: Choice) -> None:
        st.session_state.pop("again", None)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        vote = VoteRecord(
            candidate=pair[0], reference=pair[1], task=one.task, id=one.id, repeat=one.repeat, answers=one.answers,
            reviewer=reviewer, first=first, choice=choice, note=_typed(f"note-{reviewer}-{one.key}", note),
            seconds=round(time.time() - shown_at, 1), created=now,
        )  # fmt: skip
        try:
            folder.vote([vote])
        except HarnessError as fault:
            st.session_state["fault"] = str(fault)

    def back() -> None:
        last = before[-1]
        st.session_state["again"] = (last.task, last.id, last.repeat)

    with st.container(horizontal=True, gap="small"):
        for choice, (label, key) in BUTTONS.items():
            st.button(label, key=f"vote-{choice}", shortcut=key, on_click=cast, args=(choice,))
        st.button(
            "Back", key="back", shortcut="Left", icon=":material/undo:", type="tertiary", on_click=back,
            disabled=not before, help="See the pair before again. Another vote on it counts in place of the first.",
        )  # fmt: skip
    if fault := st.session_state.pop("fault", None):
        st.error(f"The vote was not kept: {plain(fault)}")
    with st.expander("Gold answer", key=f"gold-{one.key}"):
        drawn(diff.block("Gold", markup.text(one.target)))


def _typed(key: str, otherwise: str) -> str:
    """What stands in the field now: a click may come before the page has heard of the last letters."""
    return str(st.session_state.get(key, otherwise) or "").strip()


def _result(folder: ExperimentStore, pair: tuple[str, str]) -> None:
    """What all votes come to; hidden at first, so that nobody votes with the crowd."""
    with st.expander("What the votes come to", key="result", on_change="rerun", icon=":material/how_to_vote:") as part:
        if not part.open:
            return
        told = reviewing.review(folder, *pair)
        if not told.voted:
            st.info("Nobody has voted yet.")
            return
        _numbers(told)
        counts = [f"{OUTCOMES[name]} {count:,}" for name, count in told.counts.items()]
        st.caption("Votes: " + plain(", ".join(counts)))
        people = ", ".join(f"{name} {count:,}" for name, count in told.reviewers.items())
        st.caption(plain(f"Reviewers, with the pairs that they voted on: {people}"))
        if told.voted < LEAST_VOTES:
            st.caption(f"A gate on human_win_rate waits until {LEAST_VOTES} pairs have a vote.".replace("_", "\\_"))
        _notes(folder, pair)


def _numbers(told: Review) -> None:
    first, second, third = st.columns(3)
    with first.container(border=True, height="stretch"):
        help_ = "Share of pairs on which the candidate was preferred; a tie and both bad count as half."
        _number("Candidate's win rate", told.rate, help_)
    with second.container(border=True, height="stretch"):
        help_ = (
            "Agreement beyond chance: 1 is full agreement, 0 what chance would give. Cohen's of two, Fleiss' of more."
        )
        _number("Agreement of reviewers (kappa)", told.agreement, help_)
    with third.container(border=True, height="stretch"):
        help_ = "Cohen's kappa of the LLM judge with the majority of people, on pairs that both judged."
        _number(f"Judge and people (kappa){': ' + told.judge_name if told.judge_name else ''}", told.judge, help_)
        if told.judge_share is not None:
            st.caption(plain(f"Same verdict on {span(told.judge_share)}"))


def _number(label: str, found: Interval | None, told: str) -> None:
    st.caption(plain(label), help=told)
    st.markdown(f"##### {plain(span(found))}", anchors=False)
    st.caption(plain(basis(found)) if found is not None else "No pair has both.")


def _notes(folder: ExperimentStore, pair: tuple[str, str]) -> None:
    for vote in counted(folder.votes()):
        if vote.note and (vote.candidate, vote.reference) == pair:
            st.text(f"{vote.reviewer}, {vote.task} / {vote.id}, {OUTCOMES[vote.outcome]}: {vote.note}")


@st.cache_data(show_spinner=False, max_entries=16)  # type: ignore[untyped-decorator]
def _pairs(path: str, candidate: str, reference: str, stamp: str) -> list[Blind]:
    return reviewing.blind_pairs(ExperimentStore(Path(path)), candidate, reference)


@st.cache_data(show_spinner=False, max_entries=64)  # type: ignore[untyped-decorator]
def _runs(path: str, stamp: str) -> pd.DataFrame:
    runs = comparing.test_runs(ExperimentStore(Path(path)))
    return runs[runs["suite"] == "task"]
