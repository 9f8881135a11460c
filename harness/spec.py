"""The experiment file: composes the part-specs, tells all its faults at once, and gives it an id.

The id is the name and a digest of content: the resolved spec, and the fingerprints of
data, suites and a local model. Where files lie does not count, so a moved experiment
keeps its id; one changed row makes a new one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from harness import data, metrics, models, suites
from harness.data import Data, DataSpec
from harness.engines import ServeSpec
from harness.errors import HarnessError, Problem, SpecError, UsageError, did_you_mean
from harness.evaluate import TASK_SUITE, TaskSpec
from harness.gates import GateSpec
from harness.partspec import PartSpec
from harness.prompts import PromptSpec
from harness.records import Item, digest
from harness.suites import Suite
from harness.trainers import TrainSpec
from harness.yamls import read_strict_yaml

REFERENCES = ("base", "best_prompt")
"""What a gate of an experiment can compare the tuned candidate with."""


class BudgetSpec(PartSpec):
    """Prices, for the cost side of the verdict."""

    gpu_hour_price: Annotated[float, Field(ge=0)] | None = None
    """Price of one hour of the training machine, in your currency; None leaves the cost out."""


class ExperimentSpec(PartSpec):
    """A claim to be tested. Everything but name, model, data, task and gates has a default."""

    name: str
    """Short name: letters, digits, dots, dashes, underscores."""
    hypothesis: str = ""
    """The claim in one sentence."""
    model: str
    """Base model: hub id, local path, or package:NAME."""
    revision: str | None = None
    """Hub branch, tag or commit to pin."""
    data: DataSpec
    """The task's rows."""
    task: TaskSpec
    """How the task is scored."""
    prompt: PromptSpec = PromptSpec()
    """How hard to look for a good prompt first."""
    enough: Annotated[float, Field(gt=0, le=1)] | None = None
    """Stop before training when the best prompt's score is above this with confidence."""
    train: TrainSpec = TrainSpec()
    """How to train."""
    serve: ServeSpec = ServeSpec()
    """How to serve what is judged."""
    suites: tuple[str, ...] = ()
    """Further suites to evaluate base and tuned candidate on: a name or a folder."""
    gates: tuple[GateSpec, ...]
    """The rules that decide."""
    budget: BudgetSpec = BudgetSpec()
    """Prices."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or "--" in name:
            raise ValueError(f"got {name!r}; letters, digits, dots, single dashes and underscores, at most 64")
        return name

    @field_validator("gates")
    @classmethod
    def _some_gates(cls, gates: tuple[GateSpec, ...]) -> tuple[GateSpec, ...]:
        if not any(gate.blocking for gate in gates):
            raise ValueError("no blocking gate: nothing would decide, and nothing passes by default")
        return gates


@dataclass(frozen=True, slots=True)
class Experiment:
    """A spec with everything it names, read and checked."""

    spec: ExperimentSpec
    folder: Path
    """The spec's folder; relative paths are meant from it."""
    data: Data
    suites: tuple[Suite, ...]
    id: str

    @property
    def instruction(self) -> str:
        """The raw prompt: the spec's, else the one that all rows carry."""
        return self.data.instruction if self.spec.task.instruction is None else self.spec.task.instruction

    def resolved_yaml(self, home: Path) -> str:
        """The spec as it can be run again from the folder `home`: every default filled in, paths relative to it."""
        dump = self.spec.model_dump(mode="json", exclude_none=True)
        for key in ("train", "dev", "test", "path"):
            if dump["data"].get(key):
                dump["data"][key] = self._moved(dump["data"][key], home)
        dump["suites"] = [self._moved(name, home) for name in dump["suites"]]
        dump["model"] = self._moved(dump["model"], home)
        return yaml.safe_dump(dump, sort_keys=False, allow_unicode=True, width=110)

    def _moved(self, name: str, home: Path) -> str:
        """A path as seen from `home`; a plain name stays."""
        path = self.folder / name
        return Path(os.path.relpath(path.resolve(), home.resolve())).as_posix() if path.exists() else name


# ------------------------------------------------------------------------ loading


def load(path: Path) -> Experiment:
    """Read and check a spec with its data and suites. Touches no model and writes nothing.

    Raises SpecError with every problem of the spec, data and suites together.
    """
    spec = parse(path)
    folder = path.parent
    problems: list[Problem] = []
    found: list[Suite] = []
    try:
        models.exists(spec.model, near=folder)
    except HarnessError as fault:
        problems += [Problem(f"{path.name}: {p.where}", p.what, p.allowed, p.next) for p in fault.problems]
    rows: Data | None = None
    try:
        rows = data.load(spec.data, folder)
    except HarnessError as fault:
        problems += fault.problems
    for index, name in enumerate(spec.suites):
        try:
            found.append(suites.load_suite(name, near=folder))
        except HarnessError as fault:
            at = f"{path.name}: suites[{index}]"
            problems += [
                Problem(": ".join(filter(None, (at, p.where))), p.what, p.allowed, p.next) for p in fault.problems
            ]
    names = [suite.name for suite in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        hint = "Results are kept by suite name; rename one folder and its group"
        problems.append(Problem(f"{path.name}: suites", f"two suites are called {name!r}", next=hint))
    problems += _gate_problems(spec, found, path.name)
    if rows is not None:
        problems += _task_problems(spec, rows, path.name)
        problems += [_problem_of(f) for f in data.audit(rows).findings if f.severity == "error"]
    if problems or rows is None:
        raise SpecError(problems)
    return Experiment(spec, folder, rows, tuple(found), _identity(spec, folder, rows, found))


def _problem_of(finding: Any) -> Problem:
    return Problem(f"{finding.file}:{finding.line}" if finding.line else finding.file, finding.message)


def parse(path: Path) -> ExperimentSpec:
    """Read the YAML alone. Raises SpecError with every problem in it."""
    try:
        loaded = read_strict_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as fault:
        hint = "Give the path of an experiment YAML, or make one with `harness init DIR`"
        raise SpecError(Problem(str(path), "no such file", next=hint)) from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise SpecError(Problem(str(path), f"cannot read: {fault}", "a YAML file")) from fault
    except UsageError as fault:
        raise SpecError(fault.problems) from fault
    if not isinstance(loaded, dict):
        raise SpecError(Problem(str(path), f"got a {type(loaded).__name__}", "a mapping with name, model, data, ..."))
    try:
        return ExperimentSpec.model_validate(loaded)
    except ValidationError as fault:
        raise SpecError([_told(error, path.name) for error in fault.errors()]) from fault


def _told(error: Any, file: str) -> Problem:
    """One pydantic error in the project's own form."""
    loc = error["loc"]
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    if error["type"] == "extra_forbidden":
        return Problem(f"{file}: {at}", f"unknown key {loc[-1]!r}", did_you_mean(str(loc[-1]), _keys_at(loc[:-1])))
    if error["type"] == "missing":
        return Problem(f"{file}: {at}", "missing", f"Keys here: {', '.join(_keys_at(loc[:-1]))}")
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {_short(error['input'])}"
    return Problem(f"{file}: {at}" if at else file, message[:1].lower() + message[1:] + got)


def _short(value: Any) -> str:
    """What was got, in a line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _keys_at(loc: tuple[Any, ...]) -> list[str]:
    """The keys that the part-spec at this place knows."""
    model: Any = ExperimentSpec
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = inner[0] if inner else annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


# --------------------------------------------------------------- cross-checks


def _gate_problems(spec: ExperimentSpec, found: list[Suite], file: str) -> list[Problem]:
    known: dict[str, dict[str, tuple[str, ...]]] = {s.name: {t.name: t.metrics for t in s.tasks} for s in found}
    known[TASK_SUITE] = {TASK_SUITE: (spec.task.metric, *spec.task.metrics)}
    problems = []
    for index, gate in enumerate(spec.gates):
        at = f"{file}: gates[{index}]"
        if gate.against not in REFERENCES:
            problems.append(
                Problem(f"{at}.against", f"unknown {gate.against!r}", did_you_mean(gate.against, REFERENCES))
            )
        if gate.suite not in known:
            if len(found) == len(spec.suites):
                problems.append(
                    Problem(f"{at}.suite", f"unknown suite {gate.suite!r}", did_you_mean(gate.suite, list(known)))
                )
            continue
        if gate.suite != TASK_SUITE and gate.against == "best_prompt":
            hint = "Suites other than `task` are asked as they stand, so their reference is base"
            problems.append(Problem(f"{at}.against", "best_prompt is a prompt for the task only", hint))
        tasks = known[gate.suite]
        if gate.task not in ("*", *tasks):
            problems.append(
                Problem(f"{at}.task", f"unknown task {gate.task!r}", did_you_mean(gate.task, ["*", *tasks]))
            )
            continue
        gated = {task: names for task, names in tasks.items() if gate.task in ("*", task)}
        lacking = sorted(task for task, names in gated.items() if gate.metric not in (None, "primary", *names))
        if lacking:
            scored = sorted(set.intersection(*(set(names) for names in gated.values())))
            hint = did_you_mean(str(gate.metric), scored) if scored else "Leave it out: each task's first metric counts"
            what = f"{gate.metric!r} is not measured on {', '.join(lacking)}"
            problems.append(Problem(f"{at}.metric", what, hint, "Name one task, or add it to task.metrics"))
    return problems


def _task_problems(spec: ExperimentSpec, rows: Data, file: str) -> list[Problem]:
    """A gold answer that cannot fit in max_tokens can never be given: a token holds at most some 16 characters."""
    longest: Item = max((i for s in rows.opened for i in s.items), key=lambda item: len(item.target))
    problems = []
    if len(longest.target) > 16 * spec.task.max_tokens:
        what = f"{spec.task.max_tokens} cannot hold the gold answer of {longest.id} ({len(longest.target)} characters)"
        problems.append(Problem(f"{file}: task.max_tokens", what, next="Raise it"))
    items = [item for split in rows.opened for item in split.items]
    for metric in (spec.task.metric, *spec.task.metrics):
        lost = [item for item in items if metrics.score_text(metric, item.target, item.target) < 1]
        if lost:
            what = f"{metric!r} does not give the gold answer of {lost[0].id} full marks ({len(lost)} rows in all)"
            hint = "Take another metric, or correct the answers"
            problems.append(Problem(f"{file}: task", what, "A right answer must be able to score 1", hint))
    return problems


def _identity(spec: ExperimentSpec, folder: Path, rows: Data, found: list[Suite]) -> str:
    content = spec.model_dump(mode="json", exclude={"data", "suites", "budget"})
    content["data"] = [rows.instruction, *(split.fingerprint for split in rows.opened)]
    content["suites"] = [[suite.name, suite.fingerprint, [task.metrics for task in suite.tasks]] for suite in found]
    content["model"] = models.identity(spec.model, folder)
    return f"{spec.name}--{digest(content)[:8]}"
