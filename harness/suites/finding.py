"""Where a suite lies: a folder with `suite.yaml`, a task YAML, or the name of a bundled or published one."""

from __future__ import annotations

from pathlib import Path

from harness.errors import Problem, SuiteError, did_you_mean
from harness.suites.documents import shown

MANIFEST = "suite.yaml"
BUNDLED = Path(__file__).resolve().parent.parent.parent / "suites"
PUBLISHED = "published"
"""Folder of task YAMLs of published benchmarks, whose data is not bundled."""
LM_EVAL = "lm-eval:"


def _roots() -> tuple[Path, ...]:
    return Path.cwd() / "suites", BUNDLED


def known_suites() -> list[str]:
    """Names of the suites under `./suites` and of the bundled ones."""
    return sorted({file.parent.name for root in _roots() for file in root.glob(f"*/{MANIFEST}")})


def published_suites() -> list[str]:
    """Names of the published suites: they need data files of the user's."""
    return sorted({file.stem for root in _roots() for file in (root / PUBLISHED).glob("[!_]*.yaml")})


def find(name: str, near: Path | None) -> Path:
    """The folder of a suite, or the task YAML of a suite of one task. Raises SuiteError."""
    if name.startswith(LM_EVAL):
        raise SuiteError(_from_the_hub(name.removeprefix(LM_EVAL)))
    places = [root / Path(name).expanduser() for root in (near, Path.cwd(), *_roots()) if root]
    for place in places:
        if (place / MANIFEST).is_file() or (place.suffix in (".yaml", ".yml") and place.is_file()):
            return place.resolve()
    files = [root / PUBLISHED / f"{name}.yaml" for root in _roots()]
    file = next((file for file in files if file.is_file()), None)
    if file is not None:
        return file.resolve()
    folder = next((place for place in places if place.is_dir()), None)
    if folder is not None:
        hint = f"Write one with `group: {folder.resolve().name}` and the list of its tasks"
        raise SuiteError(Problem(shown(folder.resolve()), f"has no {MANIFEST}", next=hint))
    known = [*known_suites(), *published_suites()]
    raise SuiteError(
        Problem("", f"unknown suite {name!r}", did_you_mean(name, known), "A folder or task YAML works too")
    )


def _from_the_hub(name: str) -> Problem:
    known = published_suites()
    what = "lm-eval's own tasks fetch their data from a hub and run code of their own, which is not done here"
    if name in known:
        return Problem(f"{LM_EVAL}{name}", what, next=f"Use `{name}` with a folder that has its JSONL (HARNESS_DATA)")
    hint = "Copy the task's YAML, point dataset_kwargs.data_files to local JSONL, and name that file"
    return Problem(f"{LM_EVAL}{name}", what, f"Published suites: {', '.join(known)}", hint)
