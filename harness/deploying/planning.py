"""From a command line, or a stored gate, to all that a gate is: sides, suites, rules, and its identity by content."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness import spec as specs
from harness import suites
from harness.compare.measures import LATENCIES
from harness.deploying import naming, ruling, sides, taking
from harness.deploying.naming import Named
from harness.deploying.sides import Side, Wishes
from harness.deploying.spec import REFERENCE, DeploySpec, SideSpec
from harness.errors import NotComparableError, Problem, SpecError, UsageError
from harness.evaluate import TASK_SUITE
from harness.gates import PolicySpec
from harness.judgement import Case, asked_as
from harness.progress import Progress
from harness.records import DataRecord, digest
from harness.spec import Experiment
from harness.store import ExperimentStore, Store
from harness.suites import Suite


@dataclass(frozen=True, slots=True)
class Asked:
    """A command line."""

    candidate: str
    against: str
    suites: tuple[str, ...] = ()
    """Names or folders, and `task`; empty for those of the policy's gates, else of the reference's experiment."""
    policy: Path | None = None
    model: str | None = None
    against_model: str | None = None
    engine: str | None = None
    name: str | None = None
    as_deployed: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """A gate with everything that it names, read and checked."""

    spec: DeploySpec
    folder: Path
    """Relative paths of the spec are meant from here."""
    candidate: Side
    reference: Side
    suites: tuple[Suite, ...]
    task: Experiment | None
    """The experiment whose test split is asked too."""
    id: str

    @property
    def case(self) -> Case:
        """As a court knows it."""
        rules = self.spec.policy.gates
        return Case(
            id=self.id,
            hypothesis=self.spec.hypothesis,
            policy=self.spec.policy,
            rules=rules,
            suites=self.suites,
            test=self.task.data.test if self.task else None,
            references=(REFERENCE,),
            budget=self.spec.budget,
            timed=self.timed,
            as_deployed=self.spec.as_deployed,
        )

    @property
    def timed(self) -> bool:
        """Whether a gate is on latency: nothing is told again then as if it were timed now."""
        return any(gate.metric in LATENCIES for gate in self.spec.policy.gates)

    def resolved_yaml(self, home: Path) -> str:
        """The spec as it runs again from the folder `home`."""
        dump = self.spec.model_dump(mode="json", exclude_none=True)
        for part in (dump, dump["candidate"], dump["reference"]):
            part["model"] = _moved(part["model"], self.folder, home)
        dump["suites"] = [
            _moved(use, self.folder, home)
            if isinstance(use, str)
            else use | {key: _moved(use[key], self.folder, home) for key in ("suite", "data") if key in use}
            for use in dump["suites"]
        ]
        return yaml.safe_dump(dump, sort_keys=False, allow_unicode=True, width=110)


def plan(asked: Asked, store: Store, progress: Progress) -> Deployment:
    """All that a command line asks for. Raises a HarnessError with what is wrong; writes nothing into the store."""
    policy = PolicySpec() if asked.policy is None else specs.read_policy(asked.policy, Path.cwd())
    if "spending" not in policy.model_fields_set and "looks" not in policy.model_fields_set:
        policy = policy.model_copy(update={"spending": "open_ended"})
    candidate, reference = naming.read(asked.candidate, store, "candidate"), naming.read(
        asked.against, store, "--against"
    )  # fmt: skip
    if candidate.kind == "base" and candidate.given == naming.BASE:
        raise UsageError(Problem("candidate base", "is a reference alone", naming.KINDS))
    uses = ruling.uses(asked.suites, policy, reference)
    wanted = [use.suite for use in uses]
    of = _experiment_with_task(reference, candidate, store) if TASK_SUITE in wanted else None
    loaded = ruling.load_suites(uses, Path.cwd())
    gates, by_default = ruling.rules(policy, [*([TASK_SUITE] if of else []), *(suite.name for suite in loaded)])
    task, further = None if of is None else _loaded(of), ruling.further(of, reference, candidate)
    policy = policy.model_copy(update={"gates": gates})
    terms = ruling.Terms(policy, further.budget, task.spec.repeats if task else 1)
    name = asked.policy.name if asked.policy else "policy"
    problems = specs.deploy_problems(
        terms, loaded, task.spec.task if task else None, task.data if task else None, REFERENCE, name
    )
    problems += ruling.needs(loaded, further)
    if problems:
        raise SpecError(problems)
    ours, theirs = sides.both(
        candidate, reference, Wishes(asked.model, asked.against_model, asked.engine), task, store, progress
    )
    spec = DeploySpec(
        name=_name(asked),
        hypothesis=f"{asked.candidate} can take the place of {asked.against}.",
        model=ours.spec.model,
        revision=ours.spec.revision,
        serve=ours.spec.serve,
        candidate=ours.spec,
        reference=theirs.spec,
        suites=tuple(use for use in uses if use.suite != TASK_SUITE),
        task_of=None if of is None else of.id,
        policy=policy,
        by_default=by_default,
        as_deployed=asked.as_deployed,
        budget=further.budget,
        allow_code_execution=further.allow_code_execution,
        judge=further.judge,
    )
    return _identified(spec, Path.cwd(), ours, theirs, loaded, task)


def again(folder: ExperimentStore, store: Store) -> Deployment:
    """A stored gate, as its spec says. Raises a HarnessError where something that it names is gone."""
    told = folder.spec()
    if "reference" not in told:
        hint = f"It is an experiment: harness run {folder.path / 'spec.yaml'}"
        raise UsageError(Problem(folder.id, "is no deploy gate", next=hint))
    try:
        spec = DeploySpec.model_validate(told)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SpecError(Problem(f"{folder.path / 'spec.yaml'}: {where}", first["msg"])) from fault
    loaded = tuple(suites.load_suite(use, near=folder.path) for use in spec.suites)
    task = None
    if spec.task_of is not None:
        task = _loaded(store.find(spec.task_of))
    return _identified(spec, folder.path, _known(spec.candidate, store), _known(spec.reference, store), loaded, task)


def _known(spec: SideSpec, store: Store) -> Side:
    """A side of a stored gate, with what is known of its training."""
    adapter = spec.candidate.adapter
    if spec.experiment is not None and store.holds(spec.experiment):
        return Side(spec, sides.training_of(store.at(spec.experiment), spec.candidate))
    return Side(spec, None if adapter is None else taking.taken_before(adapter, spec.candidate.prompt))


def _experiment_with_task(reference: Named, candidate: Named, store: Store) -> ExperimentStore:
    """Whose test split `task` means: the reference's, else the candidate's; of a gate, the one that it asked."""
    for one in (reference, candidate):
        if one.folder is not None:
            told = one.folder.spec()
            if "data" in told:
                return one.folder
            if told.get("task_of") and store.holds(str(told["task_of"])):
                return store.at(str(told["task_of"]))
    what = "neither side is of an experiment in the store, so there is no test split"
    raise UsageError(Problem("--suites task", what, next="Leave `task` out, or name an experiment or an alias"))


def _loaded(folder: ExperimentStore) -> Experiment:
    """An experiment's own data, the test split as it was judged on."""
    task, known = specs.load(folder.path / "spec.yaml"), folder.read(DataRecord)
    judged = known.splits["test"].fingerprint if known and "test" in known.splits else None
    if judged is not None and judged != task.data.test.fingerprint:
        what = f"{task.data.test.file} was changed since {folder.id} was judged on it"
        raise NotComparableError(Problem("task", what, next="Restore it, or run the experiment on the new rows"))
    return task


def _name(asked: Asked) -> str:
    """A short name for the folder: the one that is wished, else one made of the candidate's."""
    if asked.name is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", asked.name) or "--" in asked.name:
            allowed = "Letters, digits, dots, single dashes and underscores, at most 64"
            raise UsageError(Problem("--name", f"got {asked.name!r}", allowed))
        return asked.name
    last = asked.candidate.rstrip("/").rpartition("/")[2].rpartition("--")[0] or asked.candidate.rstrip("/")
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", last.rpartition("/")[2]).strip("-._")
    return f"gate-{plain or 'candidate'}"[:64]


def _identified(
    spec: DeploySpec, folder: Path, ours: Side, theirs: Side, loaded: tuple[Suite, ...], task: Experiment | None
) -> Deployment:
    """With the id by content: names and places do not count."""
    content = {
        "sides": [asked_as(side.candidate) for side in (ours, theirs)],
        "suites": [[suite.name, suite.fingerprint, [one.metrics for one in suite.tasks]] for suite in loaded],
        "task": None if task is None else [task.data.test.fingerprint, task.spec.task.model_dump(mode="json")],
        "policy": spec.policy.model_dump(mode="json"),
        "serve": [side.spec.serve.model_dump(mode="json", exclude={"cache"}) for side in (ours, theirs)],
        "as_deployed": spec.as_deployed,
        "judge": spec.judge and spec.judge.model_dump(mode="json"),
    }
    return Deployment(spec, folder, ours, theirs, loaded, task, f"{spec.name}--{digest(content)[:8]}")


def _moved(name: str, folder: Path, home: Path) -> str:
    path = folder / name
    return Path(os.path.relpath(path.resolve(), home.resolve())).as_posix() if path.exists() else name
