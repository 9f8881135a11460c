"""Suites: a folder with `suite.yaml`, one YAML per task and JSONL data becomes a `Suite` of items.

A suite folder is also an lm-eval group and its tasks are lm-eval tasks; which of
lm-eval's keys are read is told in `suites/README.md`. lm-eval itself is not imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from harness.errors import Problem, SuiteError, did_you_mean
from harness.records import Role, SplitName
from harness.suites.config import read_task
from harness.suites.documents import Document, read_jsonl, read_yaml, shown
from harness.suites.model import MUST_NOT_BREAK, Suite, Task, must_not_break
from harness.suites.render import render_items

__all__ = ["MUST_NOT_BREAK", "Suite", "Task", "known_suites", "load_suite", "must_not_break"]

MANIFEST = "suite.yaml"
GROUP_KEYS = ("group", "group_alias", "task", "tag", "metadata")
DEFAULT_ROLE: Role = "regression"
RESERVED = "task"
"""Name of the experiment's own task; no suite may take it."""
BUNDLED = Path(__file__).resolve().parent.parent.parent / "suites"


def load_suite(name_or_path: str, *, near: Path | None = None, split: SplitName = "test") -> Suite:
    """One suite with all its items, or a SuiteError that tells everything that is wrong with it.

    A folder is looked for relative to `near` (the spec's folder) and to the current
    one, then by name under `./suites` and among the bundled suites.
    """
    folder = _find(name_or_path, near)
    problems: list[Problem] = []
    manifest = read_yaml(folder / MANIFEST, problems)
    if manifest is None:
        raise SuiteError(problems)
    role = _check_manifest(folder, manifest, problems)
    tasks = _tasks(folder, manifest, split, problems)
    if problems:
        raise SuiteError(problems)
    return Suite(folder.name, role, split, tasks)


def known_suites() -> list[str]:
    """Names of the suites under `./suites` and of the bundled ones."""
    roots = (Path.cwd() / "suites", BUNDLED)
    return sorted({file.parent.name for root in roots for file in root.glob(f"*/{MANIFEST}")})


def _find(name: str, near: Path | None) -> Path:
    places = [root / Path(name).expanduser() for root in (near, Path.cwd(), Path.cwd() / "suites", BUNDLED) if root]
    for place in places:
        if (place / MANIFEST).is_file():
            return place.resolve()
    folder = next((place for place in places if place.is_dir()), None)
    if folder is not None:
        hint = f"Write one with `group: {folder.resolve().name}` and the list of its tasks"
        raise SuiteError(Problem(shown(folder.resolve()), f"has no {MANIFEST}", next=hint))
    raise SuiteError(Problem("", f"unknown suite {name!r}", did_you_mean(name, known_suites()), "A folder works too"))


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
    if group == RESERVED:
        problems.append(Problem(f"{where}group", "`task` is the experiment's own task", next="Choose another name"))
    metadata = manifest.get("metadata")
    role = metadata.get("role", DEFAULT_ROLE) if isinstance(metadata, dict) else DEFAULT_ROLE
    if role not in get_args(Role):
        problems.append(Problem(f"{where}metadata.role", f"is {role!r}", f"One of {', '.join(get_args(Role))}"))
        return DEFAULT_ROLE
    return role


def _tasks(folder: Path, manifest: Document, split: SplitName, problems: list[Problem]) -> tuple[Task, ...]:
    """The tasks in the manifest's order."""
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
    tasks = [_task(*found[name], split, problems) for name in listed if name in found]
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


def _task(file: Path, config: Document, split: SplitName, problems: list[Problem]) -> Task | None:
    checked = read_task(file, config, split, problems)
    if checked is None:
        return None
    items = render_items(checked, read_jsonl(checked.data, problems), problems)
    return Task(
        name=checked.name,
        output_type=checked.output_type,
        items=items,
        metrics=checked.metrics,
        decoding=checked.decoding,
        filters=checked.filters,
        target_delimiter=checked.target_delimiter,
    )
