"""Where the aliases point, and whether what they point to is still in the store as it was promoted."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import Problem, StoreError
from harness.evidence.deploying import deployable
from harness.records import Candidate, ReleaseRecord, VerdictRecord
from harness.store import ExperimentStore, Store


@dataclass(frozen=True, slots=True)
class Pointer:
    """One alias as it stands."""

    move: ReleaseRecord
    """The move that counts."""
    fault: str
    """Why what it points to cannot be vouched for any more; empty where it can."""

    def whole(self) -> ReleaseRecord:
        """The move, for whoever rests on it. Raises StoreError where the pointer is broken."""
        if self.fault:
            hint = f"Promote another candidate, go back (harness rollback --alias {self.move.alias}), or restore it"
            raise StoreError(Problem(f"alias {self.move.alias}", self.fault, next=hint))
        return self.move


def pointers(store: Store) -> dict[str, Pointer]:
    """Every alias by its name, `production` first. StoreError when the registry cannot be read."""
    aliases = store.registry.aliases()
    names = sorted(aliases, key=lambda name: (name != "production", name))
    return {name: Pointer(aliases[name], broken_pointer(store, aliases[name])) for name in names}


def named(store: Store, wanted: str) -> ExperimentStore:
    """The experiment that an alias points to, else the one of that id, a unique part of it, or `latest`.

    Raises UsageError for neither, StoreError for an alias that is broken.
    """
    found = pointers(store)
    return store.at(found[wanted].whole().experiment) if wanted in found else store.find(wanted)


def deployed(store: Store, wanted: str) -> tuple[ExperimentStore, Candidate, ReleaseRecord | None]:
    """The candidate that an alias or an experiment stands for, whose experiment it is, and of an alias its move.

    Raises as `named` and `deployable` do.
    """
    found = pointers(store)
    if wanted in found:
        move = found[wanted].whole()
        return store.at(move.experiment), move.candidate, move
    folder = store.find(wanted)
    return folder, deployable(folder), None


def broken_pointer(store: Store, move: ReleaseRecord) -> str:
    """Why the evidence of a move is not what it was: its experiment or verdict is gone or changed; empty where it is.

    Reads one small file. Weights are another matter, as they lie elsewhere: `promote`, `rollback` and `serve` look.
    """
    if not store.holds(move.experiment):
        return f"points to {move.experiment}, which is no longer in the store"
    if move.verdict_digest is None:  # moved before there was a verdict
        return ""
    found = store.at(move.experiment).file_digest(VerdictRecord)
    if found is None:
        return f"points to {move.experiment}, whose verdict is gone"
    if found != move.verdict_digest:
        return f"points to {move.experiment}, whose verdict is not the one that was promoted"
    return ""


def aliases_of(store: Store) -> dict[str, list[str]]:
    """Experiment id to the aliases that point to it. StoreError when the registry cannot be read."""
    found: dict[str, list[str]] = {}
    for name, move in sorted(store.registry.aliases().items()):
        found.setdefault(move.experiment, []).append(name)
    return found
