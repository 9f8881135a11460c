"""What is learned from: the train split, or what a teacher, a judge and a file of general rows make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.data import Split
from harness.evaluate import compares_choices
from harness.learning import feedback, replaying, teaching
from harness.learning.ground import Ground
from harness.learning.preferring import own_pairs
from harness.learning.starting import start_of
from harness.records import AdapterRef, Item, Preference, Prompt
from harness.trainers import ELSEWHERE, Job, TrainSpec, trained_prompt
from harness.trainers.balance import told as balance_told


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is learned from, and what there is to say of it."""

    train: Split
    pairs: tuple[Preference, ...] = ()
    """Made by a judge, or the data's own."""
    replay: tuple[Item, ...] = ()
    start: AdapterRef | None = None
    """The adapter to go on from."""
    told: str = ""
    """Empty where the train split is learned as it stands."""


def gather(spec: TrainSpec, ground: Ground, prompt: Prompt, free: Callable[[], None]) -> Gathered:
    """Ask teacher or judge, read general rows. free: frees memory that an engine holds.

    Raises EngineError when who is asked goes away (what was answered is kept), TrainingError, DataError.
    """
    train, pairs, replay = ground.train, tuple[Preference, ...](), tuple[Item, ...]()
    told: list[str] = []
    if spec.teacher is not None:
        train, sentence = teaching.learned(spec.teacher, teaching.teach(spec.teacher, ground, free), train)
        told.append(sentence)
    if spec.feedback is not None:
        judged = feedback.judge(spec.feedback, ground, prompt, free)
        pairs, sentence = feedback.preferences(judged, train.to_learn_from())
        told.append(sentence)
    elif spec.objective in ("dpo", "orpo", "kto"):
        pairs, sentence = own_pairs(spec, ground)
        told += [sentence] if sentence else []
    start = None if spec.start is None else start_of(spec.start, ground)
    if start is not None:
        told.append(f"Training goes on from the adapter {start.digest[:8]} ({spec.start}).")
    if spec.replay is not None:
        replay, sentence = replaying.general_rows(spec.replay, ground)
        told.append(sentence)
    if spec.balance != "none":
        told.append(balance_told(spec.balance, train.to_learn_from()))
    if spec.method in ELSEWHERE:
        told.append(
            "Trained elsewhere: what it learned from cannot be seen here, nor whether test rows were among it."
            if spec.method == "existing"
            else "Trained elsewhere: it was handed the train and dev rows, never the test rows."
        )
    for sentence in told:
        ground.progress.note(sentence)
    return Gathered(train, pairs, replay, start, " ".join(told))


def prompt_of(spec: TrainSpec, ground: Ground) -> Prompt:
    """What training puts before each row: `train.instruction`, an existing adapter's own prompt, the task's."""
    if spec.instruction is None and spec.adapter is not None:
        own = trained_prompt(ground.near / spec.adapter)
        if own is not None:
            return own
    return Prompt(name="trained", instruction=ground.instruction if spec.instruction is None else spec.instruction)


def completed(job: Job, found: Gathered, ground: Ground) -> Job:
    """A job with its pairs, the adapter to go on from and general rows; where others train, with all dev rows."""
    elsewhere = job.spec.method in ELSEWHERE
    return replace(
        job,
        pairs=found.pairs,
        replay=found.replay,
        start=found.start,
        near=ground.near,
        experiment=ground.folder.id,
        dev=ground.dev.to_learn_from() if elsewhere else _as_asked(job.dev, ground.task.metric),
    )


def _as_asked(items: tuple[Item, ...], metric: str) -> tuple[Item, ...]:
    """Items without choices where the metric is about generated answers."""
    if compares_choices(metric):
        return items
    return tuple(item.model_copy(update={"choices": None}) if item.choices else item for item in items)
