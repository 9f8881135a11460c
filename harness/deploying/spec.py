"""What the spec.yaml of a deploy gate holds: two sides by content, suites and policy; it runs again as it stands."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError

from harness.engines import ServeSpec
from harness.errors import Problem, StoreError
from harness.gates import PolicySpec
from harness.metrics import JudgeSpec
from harness.partspec import PartSpec
from harness.records import Candidate, SideKind
from harness.spec import BudgetSpec
from harness.store import ExperimentStore
from harness.suites import SuiteUse

CANDIDATE: Final = "candidate"
"""Name of who would be deployed, in runs and gates."""
REFERENCE: Final = "reference"
"""Name of whom it is held against: what a gate of a policy says in `against`."""
DEFAULT_MARGIN: Final = -0.02
"""Margin of a suite that the policy has no gate on: no more than two points may be lost."""


class SideSpec(PartSpec):
    """One side: who answers, by content, and how that is found and served."""

    given: str
    """As it was named on the command line."""
    kind: SideKind
    """What that is."""
    experiment: str | None = None
    """Experiment whose candidate it is."""
    move: int | None = None
    """Of an alias: number of the move that it stood at."""
    model: str
    """Its base model: hub id, folder, package:NAME or openai:NAME."""
    revision: str | None = None
    """Of a hub model."""
    serve: ServeSpec = ServeSpec()
    """How it is served."""
    candidate: Candidate
    """Who answers, whole."""


class DeploySpec(PartSpec):
    """A deploy gate."""

    name: str
    """Short name."""
    hypothesis: str = ""
    """The claim in one sentence."""
    model: str = ""
    """The candidate's base model, as in an experiment's file: what whoever serves it looks for."""
    revision: str | None = None
    """Of a hub model."""
    serve: ServeSpec = ServeSpec()
    """How the candidate is served."""
    candidate: SideSpec
    """Who would be deployed."""
    reference: SideSpec
    """Whom it is held against."""
    suites: tuple[SuiteUse, ...] = ()
    """As in an experiment."""
    task_of: str | None = None
    """Experiment whose own test split is asked too."""
    policy: PolicySpec = PolicySpec()
    """Rules and error; each suite has a gate in it."""
    by_default: tuple[str, ...] = ()
    """Suites whose gate is the default rule."""
    as_deployed: bool = False
    """Whether the sides may differ in engine, number type, device and chat template."""
    budget: BudgetSpec = Field(default_factory=BudgetSpec)
    """Prices, for gates on cost."""
    allow_code_execution: bool = False
    """Whether metrics may run what the model writes."""
    judge: JudgeSpec | None = None
    """Who is asked by the metrics `judge` and `judge_pairwise`."""


P = TypeVar("P", bound=PartSpec)


def stored_part(folder: ExperimentStore, key: str, kind: type[P], told: Any) -> P:
    """A part of an experiment's stored spec. Raises StoreError where it is none, as after an edit by hand."""
    try:
        return kind.model_validate(told)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = f"{folder.path / 'spec.yaml'}: {'.'.join(map(str, (key, *first['loc'])))}"
        raise StoreError(Problem(where, first["msg"], next="Restore the file")) from fault
