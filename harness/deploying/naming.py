"""What a name on the command line stands for: a folder, a URL, an experiment, one of its runs, an alias, a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError, Problem, UsageError, did_you_mean
from harness.evidence import deployable, pointers
from harness.models import exists
from harness.records import Candidate, SideKind
from harness.store import ExperimentStore, Store

BASE = "base"
"""The candidate's own base model, as a reference."""
USUAL = ("production", "staging")
KINDS = (
    "An adapter folder, a model folder, a URL (with --model), an experiment, EXPERIMENT:RUN, an alias such as "
    "production, a base model (owner/name, package:NAME)"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A name, and what it stands for."""

    given: str
    kind: SideKind
    folder: ExperimentStore | None = None
    """The experiment that it is of."""
    move: int | None = None
    """Of an alias: the number of its latest move."""
    candidate: Candidate | None = None
    """Who answers, where an experiment or the registry says so."""


def read(given: str, store: Store, where: str) -> Named:
    """Tell what a name stands for. Raises UsageError, or StoreError for an alias that points to what is gone.

    A folder wins over an alias, an alias over a part of an experiment's id. where: the argument, for messages.
    """
    if not given.strip():
        raise UsageError(Problem(where, "got an empty name", KINDS))
    if given.startswith(("http://", "https://")):
        return Named(given, "url")
    if given == BASE:
        return Named(given, "base")
    folder = Path(given).expanduser()
    for file, kind in (("adapter_config.json", "adapter"), ("spec.yaml", "experiment"), ("config.json", "model")):
        if (folder / file).is_file():
            return _of_experiment(ExperimentStore(folder), given) if kind == "experiment" else _folder(given, kind)
    if folder.is_dir() and ("/" in given or folder.name in (".", "..")):
        what = "holds neither adapter_config.json nor config.json nor spec.yaml"
        raise UsageError(Problem(f"{where} {given}", what, KINDS))
    aliases = store.registry.aliases()
    if given in aliases:
        return _alias(given, store)
    if given in USUAL:
        hint = f"Point it to one first: harness promote ID --alias {given}"
        raise UsageError(Problem(f"{where} {given}", "nothing was promoted to it yet", next=hint))
    if given.startswith(("package:", "openai:")):
        return _base(given, where)
    ids = store.ids()
    if any(given in name for name in ids) or given == "latest":
        return _of_experiment(store.find(given), given)
    experiment, colon, run = given.rpartition(":")
    if colon and any(experiment in name for name in ids):
        return _run(store.find(experiment), run, given)
    if "/" in given or folder.exists():
        return _base(given, where)
    hint = did_you_mean(given, [*aliases, *ids, BASE]) if ids or aliases else "The store is empty"
    raise UsageError(Problem(f"{where} {given}", "names nothing that is here", KINDS, hint))


def _folder(given: str, kind: str) -> Named:
    return Named(given, "adapter" if kind == "adapter" else "model")


def _base(given: str, where: str) -> Named:
    try:
        exists(given)
    except ModelError as fault:
        told = [Problem(f"{where} {given}", p.what, KINDS, p.next) for p in fault.problems]
        raise UsageError(told) from fault
    return Named(given, "base")


def _of_experiment(folder: ExperimentStore, given: str) -> Named:
    return Named(given, "experiment", folder, candidate=deployable(folder))


def _run(folder: ExperimentStore, run: str, given: str) -> Named:
    """EXPERIMENT:RUN, where RUN is a run's id or a candidate's name."""
    runs = folder.runs()
    found = next((one for one in runs if run in (one.id, one.candidate.name)), None)
    if found is None:
        known = [*dict.fromkeys(one.candidate.name for one in runs)]
        raise UsageError(Problem(folder.id, f"no run {run!r}", did_you_mean(run, known)))
    return Named(given, "run", folder, candidate=found.candidate)


def _alias(given: str, store: Store) -> Named:
    now = pointers(store)[given].whole()
    return Named(given, "alias", store.at(now.experiment), now.number, now.candidate)
