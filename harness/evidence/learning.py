"""How the trainings of an experiment went: loss and dev by optimizer step, one column a seed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.gathered import Evidence
from harness.records import Forgotten, SeedTraining, TrainingRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Learned:
    """One seed at one look at dev."""

    score: float | None
    """Mean on dev; None where too many items have no score."""
    n: int
    """Items with a score."""
    dev_loss: float | None
    """On the gold answers of dev, nats per supervised token."""
    loss: float | None
    """The training loss told last before; None before the first."""
    chosen: bool
    """Whether its weights came out."""


@dataclass(frozen=True, slots=True)
class LearningRow:
    """One optimizer step after which dev was looked at."""

    step: int
    seeds: tuple[Learned | None, ...]
    """One a seed, in their order; None where it was not looked at then."""


def learning_rows(training: TrainingRecord | None) -> list[LearningRow]:
    """Every look at dev of every seed, by step; empty where none was taken."""
    trained = () if training is None else training.seeds
    steps = sorted({point.step for one in trained for point in one.dev})
    return [LearningRow(step, tuple(_at(one, step) for one in trained)) for step in steps]


def _at(one: SeedTraining, step: int) -> Learned | None:
    point = next((point for point in one.dev if point.step == step), None)
    if point is None:
        return None
    losses = [told.loss for told in one.curve if told.step <= step]
    return Learned(point.score, point.n, point.loss, losses[-1] if losses else None, step == one.chosen_step)


def trade_off(evidence: Evidence) -> list[tuple[TrialRecord, Forgotten]]:
    """The trials of a sweep whose forgetting was measured: what each gained on dev, and what it forgot for that."""
    measured = {one.adapter: one for one in evidence.forgetting.adapters} if evidence.forgetting else {}
    trials = evidence.sweep.trials if evidence.sweep else ()
    found = [(trial, measured.get(trial.adapter.digest)) for trial in trials if trial.adapter is not None]
    return [(trial, one) for trial, one in found if one is not None] if len(trials) > 1 else []
