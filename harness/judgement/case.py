"""What a court knows of what it judges: of an experiment, or of a deploy gate."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.data import SealedSplit
from harness.gates import GateSpec, PolicySpec
from harness.records import digest
from harness.spec import REFERENCES, BudgetSpec, Experiment
from harness.suites import Suite


@dataclass(frozen=True, slots=True)
class Case:
    """Rules, and the items that they are asked on."""

    id: str
    """Of the folder in the store."""
    hypothesis: str
    policy: PolicySpec
    rules: tuple[GateSpec, ...]
    """Every gate, the policy's first."""
    suites: tuple[Suite, ...]
    test: SealedSplit | None
    """The task's own test split; a deploy gate may have none."""
    must_not_break: Mapping[str, Suite] = field(default_factory=dict)
    """File name, as its gate spells it, to its items."""
    enough: tuple[GateSpec, ...] = ()
    """Gates that end an experiment before training."""
    references: tuple[str, ...] = REFERENCES
    """Whom every candidate is compared with on the task, for the reader."""
    budget: BudgetSpec = field(default_factory=BudgetSpec)
    timed: bool = False
    """Whether latencies decide."""
    stop_early: bool = False
    seed: int = 0
    """Of the random order in which a suite is asked that may stop early."""
    seeds: tuple[int, ...] = ()
    """Training seeds of the experiment."""
    as_deployed: bool = False
    """Whether candidate and reference may be answered under unlike conditions."""

    @property
    def split(self) -> SealedSplit:
        """The task's test split. Only a deploy gate may have none, and asks for it nowhere then."""
        assert self.test is not None, f"{self.id} has no task"  # noqa: S101
        return self.test

    @property
    def all_suites(self) -> list[Suite]:
        """Items that must not break, then the suites."""
        return [*self.must_not_break.values(), *self.suites]

    @classmethod
    def of(cls, experiment: Experiment) -> Case:
        """An experiment's."""
        spec = experiment.spec
        return cls(
            id=experiment.id,
            hypothesis=spec.hypothesis,
            policy=spec.policy,
            rules=spec.rules,
            suites=experiment.suites,
            test=experiment.data.test,
            must_not_break=experiment.must_not_break,
            enough=spec.enough,
            budget=spec.budget,
            timed=spec.timed,
            stop_early=spec.stop_early,
            seed=spec.data.seed,
            seeds=spec.train.seeds,
        )


def questions(suite: Suite) -> tuple[str, ...]:
    """A digest of each item's folded question with its choices: by them the ledger of looks knows a suite again.

    As with a test split, letter case, punctuation and ids do not count.
    """
    return tuple(
        digest(_folded([item.text or "", *(turn.content for turn in item.messages), *(item.choices or ())]))
        for task in suite.tasks
        for item in task.items
    )


def _folded(texts: list[str]) -> str:
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", " ".join(texts)).casefold()))
