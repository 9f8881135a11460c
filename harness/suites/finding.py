"""Where a suite lies: a folder with `suite.yaml`, a task YAML, or the name of a bundled or published one."""

from __future__ import annotations

from pathlib import Path

from harness.errors import Problem, SuiteError, did_you_mean
from harness.suites.documents import shown

MANIFEST = "suite.yaml"
BUNDLED = Path(__file__).resolve().parent.parent.parent / "suites"
PUBLISHED = "published"
"""Folder of task YAMLs of published benchmarks, whose data is not bundled."""


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
