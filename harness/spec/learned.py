"""What the `train` part names beside the spec: files and folders to learn from, checked and pinned by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness import artifacts, data, metrics
from harness.data import Data, question
from harness.errors import HarnessError, Problem
from harness.evaluate import compares_choices
from harness.records import Item, Preference
from harness.spec.model import ExperimentSpec
from harness.trainers import TrainSpec, balance

NAMED: Final = (
    ("start",),
    ("adapter",),
    ("preference", "pairs"),
    ("replay", "file"),
    ("feedback", "constitution"),
)
"""Keys of `train` that name a file or a folder."""
PAIRS: Final = ("dpo", "orpo", "kto")
"""Objectives that learn from preferences."""


def changed(train: dict[str, Any], change: Callable[[str], str]) -> None:
    """Replace every name of a file or folder in a dump of `train`, in place."""
    for *parts, last in NAMED:
        at: Any = train
        for part in parts:
            at = (at or {}).get(part)
        if at and at.get(last):
            at[last] = change(at[last])


def content(name: str, folder: Path) -> str:
    """Content identity of a file or folder that a spec names; a name that is neither (an experiment's id) stays."""
    path = folder / name
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return artifacts.digest_folder(path) if path.is_dir() else name


def train_problems(spec: ExperimentSpec, rows: Data, folder: Path, file: str) -> Iterator[Problem]:
    """Preferences that cannot be read, are not there or give test questions away; rewards that cannot be told."""
    train = spec.train
    if train.objective in PAIRS:
        yield from _preference_problems(train, rows, folder, f"{file}: train")
    elif train.preference.pairs is not None:
        what = f"objective {train.objective} does not learn from pairs"
        yield Problem(
            f"{file}: train.preference.pairs", what, f"Objectives that do: {', '.join(PAIRS)}", "Leave it out"
        )
    yield from _further_problems(train, rows, folder, f"{file}: train")
    if train.method == "classifier" and spec.suites:
        what = "a classifier names labels of the task, and answers no other suite"
        yield Problem(f"{file}: suites", what, next="Leave suites out, and gates on them")
    if train.objective == "grpo" and compares_choices(spec.task.metric):
        what = f"the reward is {spec.task.metric!r}, which scores no generated answer"
        yield Problem(f"{file}: train.objective", what, next="Learn from the pairs with dpo, orpo or kto")
    if train.objective == "grpo" and train.reward.format_metric is not None:
        yield from _format_problems(train.reward.format_metric, f"{file}: train.reward.format_metric")


def _further_problems(train: TrainSpec, rows: Data, folder: Path, where: str) -> Iterator[Problem]:
    """Files that are not there, general rows that ask what dev or test ask, and answers that are no classes."""
    if train.adapter is not None and not (folder / train.adapter).is_dir():
        allowed = f"The folder of an adapter or a model; paths are relative to {folder}"
        yield Problem(f"{where}.adapter", f"{train.adapter!r} is no folder", allowed)
    if train.feedback is not None and not _text(folder / train.feedback.constitution):
        what = f"{train.feedback.constitution!r} is no text file with principles"
        yield Problem(f"{where}.feedback.constitution", what, f"Paths are relative to {folder}")
    if train.balance != "none" or train.method == "classifier":
        try:
            balance.classes(rows.train.items)
        except HarnessError as fault:
            yield from (replace(problem, where=where) for problem in fault.problems)
    if train.replay is None:
        return
    try:
        general = data.load_items(train.replay.file, folder, "")
    except HarnessError as fault:
        yield from (replace(problem, where=f"{where}.replay: {problem.where}") for problem in fault.problems)
        return
    asked = [Preference(id=one.id, messages=one.messages, chosen=one.target, rejected=None) for one in general]
    yield from _leaks(asked, rows, f"{where}.replay.file")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _preference_problems(train: TrainSpec, rows: Data, folder: Path, where: str) -> Iterator[Problem]:
    if train.preference.pairs is None:
        bare = [item for item in rows.train.items if item.choices is None]
        if bare and train.feedback is None:
            what = f"{len(bare)} train rows hold no rejected answer, such as {bare[0].id}"
            hint = "Name a file of pairs (train.preference.pairs), or have them made (train.feedback)"
            yield Problem(f"{where}.objective", what, f"{train.objective} learns from preferences", hint)
        return
    where = f"{where}.preference.pairs"
    if train.feedback is not None:
        yield Problem(where, "pairs of a file and of a judge (train.feedback)", next="Give one of the two")
    try:
        pairs = data.load_preferences(train.preference.pairs, folder)
    except HarnessError as fault:
        yield from (replace(problem, where=f"{where}: {problem.where}") for problem in fault.problems)
        return
    half = [pair for pair in pairs if pair.chosen is None or pair.rejected is None]
    if half and train.objective != "kto":
        what = f"{len(half)} rows hold one answer, such as {half[0].id}"
        yield Problem(where, what, f"{train.objective} learns from two", "Take objective kto, or rows with both")
    sides = {pair.chosen is not None for pair in half} if len(half) == len(pairs) else {True, False}
    if len(sides) < 2:
        what = f"all rows are found {'good' if True in sides else 'bad'}"
        yield Problem(where, what, next="kto needs answers of both kinds")
    yield from _leaks(pairs, rows, where)


def _leaks(pairs: Sequence[Preference], rows: Data, where: str) -> Iterator[Problem]:
    """Questions of dev or test that stand in the pairs: the verdict would rest on memory."""
    for split in rows.opened[:0:-1]:
        kept = {question(item, system=False): item.id for item in split.items}
        given = [
            kept[asked]
            for pair in pairs
            if (asked := question(Item(id=pair.id, messages=pair.messages, target=""), system=False)) in kept
        ]
        if given:
            what = f"{len(given)} rows ask what {split.name} asks, the first as {given[0]}"
            yield Problem(where, what, next=f"Remove them from the file, or from {split.name}")


def _format_problems(name: str, where: str) -> Iterator[Problem]:
    try:
        found = metrics.get(name)
    except HarnessError as fault:
        yield from (replace(problem, where=where) for problem in fault.problems)
        return
    if found.output != "generate" or found.needs is not None:
        what = f"{name!r} needs more than an answer and its gold answer to score"
        yield Problem(where, what, "A metric of the text alone, e.g. json_valid")
