"""Everything that a spec names, read and checked: data, suites, must-not-break items; and the experiment's id.

The id is the name and a digest of content: the resolved spec, and the fingerprints of
data, suites and a local model. Where files lie does not count, so a moved experiment
keeps its id; one changed row makes a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from harness import data, models, suites
from harness.compare import MEASURES
from harness.data import Data
from harness.errors import HarnessError, Problem, SpecError, UsageError
from harness.evaluate import items_suite
from harness.prompts import budget_problems, small_token_budget
from harness.prompts.spec import RetrievalSpec
from harness.records import DataRecord, digest
from harness.retrieval import Shelves, document_leaks, read_passages
from harness.spec.binding import bind_metrics, files, need_problems
from harness.spec.checks import gate_problems, must_not_break_problems, task_problems
from harness.spec.learned import changed, train_problems
from harness.spec.learned import content as content_of
from harness.spec.model import ExperimentSpec
from harness.spec.parsing import parse
from harness.spec.promises import constraint_note, constraint_problems, template_problems
from harness.suites import Suite
from harness.trainers import passthrough


@dataclass(frozen=True, slots=True)
class Experiment:
    """A spec with everything it names, read and checked."""

    spec: ExperimentSpec
    folder: Path
    """The spec's folder; relative paths are meant from it."""
    data: Data
    suites: tuple[Suite, ...]
    must_not_break: Mapping[str, Suite]
    """File name, as its gate spells it, to its items; asked of the candidate as the task is."""
    id: str
    audited: DataRecord
    """The data's fingerprints and findings; none of them is an error."""

    @property
    def instruction(self) -> str:
        """The raw prompt: the spec's, else the one that all rows carry."""
        return self.data.instruction if self.spec.task.instruction is None else self.spec.task.instruction

    def shelves(self, note: Callable[[str], None] = lambda message: None) -> Shelves:
        """Where prompts look things up: the train rows, and the documents if the spec names a folder of them."""
        return _shelves(self.spec.prompt.retrieval, self.data, self.folder, note)

    @property
    def constraint_note(self) -> str | None:
        """How many gold answers a constraint of the user's forbids; None for none."""
        return constraint_note(self.spec, [item for split in self.data.opened for item in split.items])

    @property
    def files(self) -> dict[str, str]:
        """Files beside the spec that its metrics stand for; they are kept with the results."""
        return files(self.spec)

    def resolved_yaml(self, home: Path) -> str:
        """The spec as it can be run again from the folder `home`: every default filled in, paths relative to it."""
        dump = self.spec.model_dump(mode="json", exclude_none=True)
        for key in ("train", "dev", "test", "path"):
            if dump["data"].get(key):
                dump["data"][key] = self._moved(dump["data"][key], home)
        for gate in (*dump["gates"], *dump["policy"]["gates"]):
            if gate.get("must_not_break"):
                gate["must_not_break"] = self._moved(gate["must_not_break"], home)
        retrieval = dump["prompt"]["retrieval"]
        for key in ("documents", "by"):
            if retrieval.get(key):
                retrieval[key] = self._moved(retrieval[key], home)
        if dump["budget"].get("prices"):
            dump["budget"]["prices"] = self._moved(dump["budget"]["prices"], home)
        dump["suites"] = [
            self._moved(use, home)
            if isinstance(use, str)
            else use | {key: self._moved(use[key], home) for key in ("suite", "data") if key in use}
            for use in dump["suites"]
        ]
        dump["model"] = self._moved(dump["model"], home)
        changed(dump["train"], lambda name: self._moved(name, home))
        return yaml.safe_dump(dump, sort_keys=False, allow_unicode=True, width=110)

    def _moved(self, name: str, home: Path) -> str:
        """A path as seen from `home`; a plain name stays."""
        path = self.folder / name
        return Path(os.path.relpath(path.resolve(), home.resolve())).as_posix() if path.exists() else name


def load(path: Path, policy: Path | None = None) -> Experiment:
    """Read and check a spec with its data and suites. Touches no model and writes nothing.

    policy: a policy file that takes the place of the spec's own.
    Raises SpecError with every problem of the spec, data and suites together.
    """
    folder = path.parent
    spec = bind_metrics(parse(path, policy), folder, path.name)
    problems: list[Problem] = []
    try:
        models.exists(spec.model, near=folder, trusted=spec.trust_remote_code)
    except HarnessError as fault:
        problems += [Problem(f"{path.name}: {p.where}", p.what, p.allowed, p.next) for p in fault.problems]
    rows: Data | None = None
    try:
        rows = data.load(spec.data, folder)
    except HarnessError as fault:
        problems += fault.problems
    found = _suites(spec, folder, path.name, problems)
    kept = _must_not_break(spec, rows, folder, problems) if rows is not None else {}
    problems += need_problems(spec, found, path.name)
    problems += passthrough.problems(spec.train, path.name)
    problems += gate_problems(spec, rows, found, path.name)
    if rows is not None:
        problems += must_not_break_problems(kept, rows)
        asked = [item for split in rows.opened for item in split.items]
        problems += task_problems(spec.task, [*asked, *(i for s in kept.values() for t in s.tasks for i in t.items)],
                                  path.name)  # fmt: skip
        licence = models.licence(spec.model, near=folder) if not problems else ""
        audited = data.full_audit(rows, spec.data.audit, found, spec.data.card, licence)
        audited = _with_documents(audited, spec, rows, folder)
        problems += data.refusals(audited)
        documents = _documents(spec, rows, folder, path.name, problems)
        problems += constraint_problems(spec, asked, path.name)
        problems += train_problems(spec, rows, folder, path.name)
        problems += template_problems(spec, rows.train.items[0], path.name)
        problems += [
            replace(p, where=f"{path.name}: {p.where}") for p in budget_problems(spec.prompt, len(rows.dev.rows))
        ]
        if not problems and spec.prompt.budget.unit == "tokens":
            dev, at = rows.dev.items, models.on_disk(spec.model, folder)
            instruction = rows.instruction if spec.task.instruction is None else spec.task.instruction
            short = small_token_budget(spec.prompt, instruction, dev, at)
            problems += [replace(p, where=f"{path.name}: {p.where}") for p in short]
    if problems or rows is None:
        raise SpecError(problems)
    id = _identity(spec, folder, rows, found, kept, documents)
    return Experiment(spec, folder, rows, tuple(found), kept, id, audited)


def _shelves(spec: RetrievalSpec, rows: Data, folder: Path, note: Callable[[str], None]) -> Shelves:
    documents = None if spec.documents is None else folder / spec.documents
    return Shelves(rows.train.to_learn_from(), documents, spec.words, near=folder, note=note)


def _with_documents(audited: DataRecord, spec: ExperimentSpec, rows: Data, folder: Path) -> DataRecord:
    """The audit with what the documents give away; documents that cannot be read are told where they are opened."""
    if spec.prompt.retrieval.documents is None:
        return audited
    longest = spec.prompt.retrieval.words
    try:
        passages = read_passages(folder / spec.prompt.retrieval.documents, longest)
    except UsageError:
        return audited
    leaks = document_leaks((rows.opened[2], rows.opened[1]), passages, longest, spec.data.audit)
    findings = sorted((*leaks, *audited.findings), key=lambda f: (f.severity != "error", f.severity == "info"))
    return audited.model_copy(update={"findings": tuple(findings)})


def _documents(spec: ExperimentSpec, rows: Data, folder: Path, file: str, problems: list[Problem]) -> str | None:
    """Content identity of the documents that prompts look things up in; None without any."""
    if spec.prompt.retrieval.by != "bm25":
        try:
            models.identity(spec.prompt.retrieval.by, folder)
        except HarnessError as fault:
            problems += [replace(problem, where=f"{file}: prompt.retrieval.by") for problem in fault.problems]
    try:
        shelves = _shelves(spec.prompt.retrieval, rows, folder, lambda message: None)
        return shelves.corpus("documents") if spec.prompt.retrieval.documents else None
    except HarnessError as fault:
        problems += [Problem(f"{file}: {p.where}", p.what, p.allowed, p.next) for p in fault.problems]
        return None


def _suites(spec: ExperimentSpec, folder: Path, file: str, problems: list[Problem]) -> list[Suite]:
    found: list[Suite] = []
    for index, use in enumerate(spec.suites):
        try:
            found.append(suites.load_suite(use, near=folder))
        except HarnessError as fault:
            at = f"{file}: suites[{index}]"
            problems += [
                Problem(": ".join(filter(None, (at, p.where))), p.what, p.allowed, p.next) for p in fault.problems
            ]
    names = [suite.name for suite in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        hint = "Results are kept by suite name; rename one folder and its group"
        problems.append(Problem(f"{file}: suites", f"two suites are called {name!r}", next=hint))
    return found


def _must_not_break(spec: ExperimentSpec, rows: Data, folder: Path, problems: list[Problem]) -> dict[str, Suite]:
    kept: dict[str, Suite] = {}
    for file in dict.fromkeys(gate.must_not_break for gate in spec.rules if gate.must_not_break):
        try:
            items = data.load_items(file, folder, rows.instruction)
        except HarnessError as fault:
            problems += fault.problems
            continue
        kept[file] = items_suite(suites.must_not_break(file), items, spec.task)
    names = [suite.name for suite in kept.values()]
    problems += [
        Problem(file, "another must-not-break file has this name in another folder", next="Rename one of them")
        for file, suite in kept.items()
        if names.count(suite.name) > 1
    ]
    return kept


def _identity(
    spec: ExperimentSpec, folder: Path, rows: Data, found: list[Suite], kept: Mapping[str, Suite], documents: str | None
) -> str:  # fmt: skip
    apart = {"data", "suites", "budget", "forgetting"}  # by their content below, or without a part in the verdict
    content, by = spec.model_dump(mode="json", exclude=apart), spec.prompt.retrieval.by
    for gate in (*content["gates"], *content["policy"]["gates"]):
        if gate["must_not_break"] is not None:
            gate["must_not_break"] = kept[gate["must_not_break"]].fingerprint
    changed(content["train"], lambda name: content_of(name, folder))
    content["train"]["report_to"] = []  # who is told of a training has no part in it
    del content["serve"]["cache"]  # an answer is the same, whether it is given again or told again
    content["prompt"]["retrieval"] |= {
        "documents": documents,
        "by": models.identity(by, folder) if by != "bm25" else by,
    }
    if any(gate.metric in MEASURES and MEASURES[gate.metric].priced for gate in (*spec.rules, *spec.enough)):
        content["prices"] = list(spec.budget.token_prices or ())
    content["data"] = [rows.instruction, *(split.fingerprint for split in rows.opened)]
    content["suites"] = [[suite.name, suite.fingerprint, [task.metrics for task in suite.tasks]] for suite in found]
    content["model"] = models.identity(spec.model, folder, spec.trust_remote_code)
    if not spec.trust_remote_code:
        del content["trust_remote_code"]  # as it was before there was such a key
    return f"{spec.name}--{digest(content)[:8]}"
