"""Suites: a folder with `suite.yaml`, one YAML per task and JSONL data becomes a `Suite` of items.

A suite folder is also an lm-eval group and its tasks are lm-eval tasks; which of lm-eval's keys are read is
told in `suites/README.md`. A single task YAML is a suite of one task: so are those of `suites/published`, whose
data is a folder of the user's. lm-eval itself is imported for `lm-eval:NAME` alone.

    finding    where a suite lies          reading, config, scoring   a task YAML, checked
    documents  YAML and JSONL              fewshot, render            documents become items
    model      what a loaded suite is      checking                   whether a suite can tell right from wrong
    lm_eval_tasks   lm-eval's own tasks by name
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from harness.errors import Problem, SuiteError, did_you_mean
from harness.records import Role, SplitName
from harness.suites import lm_eval_tasks
from harness.suites.config import data_places, read_task, splits
from harness.suites.documents import Document, read_jsonl, read_task_file, read_yaml, shown
from harness.suites.fewshot import with_fewshot
from harness.suites.finding import MANIFEST, find, known_suites, published_suites
from harness.suites.lm_eval_tasks import PREFIX
from harness.suites.model import MUST_NOT_BREAK, Suite, SuiteUse, Task, must_not_break
from harness.suites.render import example_ends, render_items
from harness.suites.scoring import corpus_faults

__all__ = [
    "MUST_NOT_BREAK",
    "Suite",
    "SuiteUse",
    "Task",
    "known_suites",
    "load_suite",
    "must_not_break",
    "published_suites",
]

GROUP_KEYS = ("group", "group_alias", "task", "tag", "metadata")
DEFAULT_ROLE: Role = "regression"
RESERVED = "task"
"""Name of the experiment's own task; no suite may take it."""
DATA = "HARNESS_DATA"
"""Environment variable: a folder with the data files of published suites, looked into last."""


def load_suite(
    name_or_path: str | SuiteUse,
    *,
    near: Path | None = None,
    split: SplitName = "test",
    data: Path | None = None,
    optional: bool = False,
) -> Suite:
    """One suite with all its items, or a SuiteError that tells everything that is wrong with it.

    A folder or a task YAML is looked for relative to `near` (the spec's folder) and to the current
    folder, then by name under `./suites`, among the bundled suites and the published ones.
    data: a folder in which the data files are looked for first; a relative one of a SuiteUse is meant from `near`.
    optional: tasks without this split are left out instead of being a fault.
    """
    use = SuiteUse(suite=name_or_path) if isinstance(name_or_path, str) else name_or_path
    if data is None and use.data is not None:
        data = (near or Path()) / Path(use.data).expanduser()
    if data is not None and not data.is_dir():
        raise SuiteError(Problem("data", f"{str(data)!r} is no folder", "The folder with the suite's data files"))
    if use.suite.startswith(PREFIX):
        return lm_eval_tasks.load(use.suite.removeprefix(PREFIX), use.limit, use.filter, use.fewshot)
    place = find(use.suite, near)
    problems: list[Problem] = []
    loading = _Loading(split, data, optional, use.filter, use.fewshot, problems)
    manifest = read_yaml(place / MANIFEST if place.is_dir() else place, problems)
    if manifest is None:
        raise SuiteError(problems)
    if place.is_dir():
        role, name = _check_manifest(place, manifest, problems), place.name
        tasks = _tasks(place, manifest, loading)
    else:
        role, name = _role(place, manifest, problems), str(manifest.get("task"))
        _check_name(f"{shown(place)}: task", name, problems)
        one = _task(place, manifest, loading)
        tasks = () if one is None else (one,)
    if problems:
        raise SuiteError(problems)
    return Suite(name, role, split, tuple(task.first(use.limit) for task in tasks))


def _check_manifest(folder: Path, manifest: Document, problems: list[Problem]) -> Role:
    where = f"{shown(folder / MANIFEST)}: "
    problems.extend(
        Problem(f"{where}{key}", "is not supported", did_you_mean(str(key), GROUP_KEYS))
        for key in manifest
        if key not in GROUP_KEYS
    )
    group = manifest.get("group")
    if group != folder.name:
        hint = "Gates speak of a suite by one name"
        problems.append(Problem(f"{where}group", f"is {group!r}", f"The folder's name {folder.name!r} is needed", hint))
    _check_name(f"{where}group", group, problems)
    return _role(folder / MANIFEST, manifest, problems)


def _check_name(where: str, name: object, problems: list[Problem]) -> None:
    if name == RESERVED:
        problems.append(Problem(where, "`task` is the experiment's own task", next="Choose another name"))


def _role(file: Path, config: Document, problems: list[Problem]) -> Role:
    metadata = config.get("metadata")
    role = metadata.get("role", DEFAULT_ROLE) if isinstance(metadata, dict) else DEFAULT_ROLE
    if role not in get_args(Role):
        allowed = f"One of {', '.join(get_args(Role))}"
        problems.append(Problem(f"{shown(file)}: metadata.role", f"is {role!r}", allowed))
        return DEFAULT_ROLE
    return role


@dataclass(frozen=True, slots=True)
class _Loading:
    """What is being loaded, and the faults so far."""

    split: SplitName
    data: Path | None
    optional: bool
    pipeline: str | None
    fewshot: int | None
    problems: list[Problem]


def _tasks(folder: Path, manifest: Document, loading: _Loading) -> tuple[Task, ...]:
    """The tasks in the manifest's order."""
    problems = loading.problems
    where = f"{shown(folder / MANIFEST)}: task"
    listed = manifest.get("task")
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        problems.append(
            Problem(where, "is missing or empty" if not listed else f"is {listed!r}", "A list of task names")
        )
        return ()
    found = _task_files(folder, problems)
    if len(set(listed)) < len(listed):
        problems.append(Problem(where, "lists a task twice"))
    problems.extend(
        Problem(where, f"no YAML in this folder has `task: {name}`", did_you_mean(name, list(found)))
        for name in listed
        if name not in found
    )
    for name in sorted(found.keys() - set(listed)):
        hint = "List it there, or move it to another folder"
        problems.append(Problem(shown(found[name][0]), f"task {name!r} is not listed in {MANIFEST}", next=hint))
    tasks = [_task(*found[name], loading) for name in listed if name in found]
    return tuple(task for task in tasks if task is not None)


def _task_files(folder: Path, problems: list[Problem]) -> dict[str, tuple[Path, Document]]:
    """Task name to its YAML. Other YAML files in the folder, such as an experiment, are none of ours."""
    found: dict[str, tuple[Path, Document]] = {}
    for file in sorted(folder.glob("*.yaml")):
        config = read_yaml(file, problems) if file.name != MANIFEST else None
        name = config.get("task") if config else None
        if config is None or not isinstance(name, str):
            continue
        if name in found:
            problems.append(Problem(f"{shown(file)}: task", f"{name!r} is also the name in {found[name][0].name}"))
        found[name] = (file, config)
    return found


def _task(file: Path, config: Document, loading: _Loading) -> Task | None:
    problems, last = loading.problems, os.environ.get(DATA)
    whole = read_task_file(file, config, problems)
    if loading.optional and not splits(whole).get(loading.split):
        return None
    if loading.fewshot is not None:
        whole = with_fewshot(file, whole, loading.fewshot, problems)
    places = data_places(file, loading.data, Path(last).expanduser() if last else None)
    checked = read_task(file, whole, loading.split, problems, places, loading.pipeline)
    if checked is None:
        return None
    items = render_items(checked, read_jsonl(checked.data, problems), problems)
    faults = corpus_faults(checked.scoring.corpus, (len(item.choices or ()) for item in items))
    problems += [Problem(f"{shown(file)}: metric_list", fault) for fault in faults]
    by_context = any(item.continuation is not None for item in items)
    return Task(
        name=checked.name,
        output_type=checked.output_type,
        items=items,
        metrics=checked.scoring.metrics,
        decoding=checked.decoding,
        filters=checked.scoring.filters,
        # Where contexts are compared, the delimiter stands before what follows them.
        target_delimiter="" if by_context else checked.target_delimiter,
        as_it_stands=checked.chat,
        corpus_metrics=checked.scoring.corpus,
        examples=() if problems else example_ends(checked),
        chance=checked.chance,
    )
