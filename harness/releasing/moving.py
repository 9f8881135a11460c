"""Moving an alias: promotion, and going back. Every move is a line that is never changed; one mover at a time."""

from __future__ import annotations

import datetime
import getpass
import os
import re
from dataclasses import dataclass
from typing import Final

from harness import evidence
from harness.errors import Problem, StoreError, UsageError, did_you_mean
from harness.records import Candidate, ReleaseRecord, VerdictRecord
from harness.releasing.checking import run_problems, weight_problems
from harness.store import ExperimentStore, Store

PRODUCTION: Final = "production"
"""The alias that is meant where none is named."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TAKEN: Final = ("latest", "base", "best_prompt")
"""Names that mean something else wherever an alias can be given."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of it."""

    release: ReleaseRecord
    """Where the alias points now."""
    before: ReleaseRecord | None
    """Where it pointed before; None where it is new."""
    moved: bool
    """False where it pointed there already, so that nothing was written."""
    notes: tuple[str, ...] = ()
    """What could not be looked at here."""


def promote(
    store: Store, folder: ExperimentStore, alias: str = PRODUCTION, *, override: str | None = None, why: str = "",
    by: str | None = None,
) -> Moved:  # fmt: skip
    """Point an alias to what an experiment would deploy.

    override: why, although it was not judged `promote`; it is recorded. by: who moves it; by default the user.
    Raises UsageError for what was not judged `promote`; StoreError where runs or weights that were judged are gone or
    changed, where somebody else moved the alias meanwhile, and where the store cannot be written. Then nothing moved.
    """
    _refuse_name(alias)
    if folder.path.resolve() != store.at(folder.id).path.resolve():
        hint = "Name its store with --reports, or copy the folder into this one"
        raise UsageError(Problem(str(folder.path), f"does not lie in {store.root}, whose aliases are moved", next=hint))
    seen = store.registry.current(alias)
    candidate, verdict = evidence.deployable(folder), folder.read(VerdictRecord)
    assert verdict is not None  # noqa: S101  `deployable` refuses an experiment without one
    reason = _reason(folder, verdict, override)
    notes = _whole(folder, verdict, candidate)
    record = ReleaseRecord(
        alias=alias,
        number=_next(seen),
        action="promote",
        experiment=folder.id,
        candidate=candidate,
        decision=verdict.decision,
        verdict_digest=folder.file_digest(VerdictRecord),
        override=reason,
        by=_who(by),
        why=why,
        created=_now(),
    )
    return _move(store, record, seen, notes)


def rollback(
    store: Store, alias: str = PRODUCTION, to: str | None = None, *, why: str = "", by: str | None = None
) -> Moved:
    """Point an alias to what it pointed to before: to the one before, of several rollbacks in a row further back.

    to: a move's number, or an experiment of the alias's history (its id or a unique part).
    Raises UsageError where there is none before; StoreError as `promote` does.
    """
    seen = store.registry.current(alias)
    history = store.registry.history(alias)
    if seen is None:
        known = sorted(store.registry.aliases())
        hint = did_you_mean(alias, known) if known else "Nothing was promoted yet: harness promote ID"
        raise UsageError(Problem(f"alias {alias}", "was never moved", hint))
    target = _target(history, to)
    if fault := evidence.broken_pointer(store, target):
        raise StoreError(Problem(f"alias {alias}", f"move {target.number} {fault}", next=_others(history, target)))
    folder = store.at(target.experiment)
    verdict = folder.read(VerdictRecord)
    notes = () if verdict is None else _whole(folder, verdict, target.candidate)
    back = {"number": _next(seen), "action": "rollback", "back_to": target.number}
    told = {"by": _who(by), "why": why, "created": _now()}
    return _move(store, target.model_copy(update={**back, **told}), seen, notes)


def standing(history: list[ReleaseRecord]) -> list[ReleaseRecord]:
    """The moves that a rollback can go back through, the one that counts now last.

    A promotion is put on top; going back to one of them takes off what lies above it. So rollbacks in a row go further
    back and never to and fro, and a promotion after a rollback stands on what was gone back to.
    """
    stack: list[ReleaseRecord] = []
    for move in history:
        at = next((place for place, one in enumerate(stack) if one.number == move.back_to), None)
        if move.back_to is None:
            stack.append(move)
        elif at is not None:
            del stack[at + 1 :]
        else:  # one that had been taken off: it is put on top again
            stack += [one for one in history if one.number == move.back_to]
    return stack


# ----------------------------------------------------------------------- parts


def _refuse_name(alias: str) -> None:
    if not NAME.fullmatch(alias) or alias in TAKEN or "--" in alias:  # ids hold two dashes, aliases none
        allowed = "Letters, digits, dot, single dashes and underscore, at most 64, and none of " + ", ".join(TAKEN)
        raise UsageError(Problem("--alias", f"{alias!r} cannot be an alias", allowed))


def _reason(folder: ExperimentStore, verdict: VerdictRecord, override: str | None) -> str | None:
    """Why it is moved although it was not judged `promote`; None where it was."""
    if override is not None and not override.strip():
        raise UsageError(Problem("--override", "got an empty text", next="Say why it is deployed all the same"))
    if verdict.decision == "promote":
        return None
    if override is None:
        what = f"was judged {verdict.decision}: {verdict.reason}"
        hint = 'Deploy one that was judged promote, or this one with --override "reason", which is recorded'
        raise UsageError(Problem(folder.id, what, "Only promote is deployed", hint))
    return override


def _whole(folder: ExperimentStore, verdict: VerdictRecord, candidate: Candidate) -> tuple[str, ...]:
    """Raise StoreError with all that is gone or changed of runs and weights; what could not be looked at."""
    wrong, notes = weight_problems(folder, candidate)
    if problems := [*run_problems(folder, verdict), *wrong]:
        raise StoreError(problems)
    return tuple(notes)


def _target(history: list[ReleaseRecord], to: str | None) -> ReleaseRecord:
    alias, stack = history[-1].alias, standing(history)
    made = [move for move in history if move.action == "promote"]
    if to is None:
        if len(stack) < 2:
            what = f"there is none before move {stack[-1].number} ({stack[-1].experiment})"
            raise UsageError(Problem(f"alias {alias}", what, next=f"See harness aliases {alias}"))
        return stack[-2]
    if to.isdecimal():
        found = [move for move in history if move.number == int(to)]
        found = [one for move in found for one in history if one.number == (move.back_to or move.number)]
    else:
        found = [m for m in made if m.experiment == to] or [m for m in made if to in m.experiment]
        if len({move.experiment for move in found}) > 1:
            names = ", ".join(dict.fromkeys(move.experiment for move in found))
            raise UsageError(Problem("--to", f"{to!r} is not unique", f"It fits {names}", "Give more of it"))
    if not found:
        known = ", ".join(f"{move.number} ({move.experiment})" for move in made)
        raise UsageError(Problem("--to", f"{to!r} is no move of {alias}", f"There are {known}"))
    if found[-1].number == stack[-1].number:
        raise UsageError(Problem("--to", f"{alias} points to {found[-1].experiment} already"))
    return found[-1]


def _others(history: list[ReleaseRecord], gone: ReleaseRecord) -> str:
    earlier = [m for m in history if m.action == "promote" and m.number < gone.number]
    named = ", ".join(f"{move.number} ({move.experiment})" for move in earlier)
    return f"Restore it, or go further back with --to: {named}" if named else "Restore it, or promote another one"


def _move(store: Store, record: ReleaseRecord, seen: ReleaseRecord | None, notes: tuple[str, ...]) -> Moved:
    """Add the line, unless the alias is not where it was when this mover looked."""
    with store.registry.turn():
        now = store.registry.current(record.alias)
        if now is not None and _same(now, record):
            return Moved(now, seen, moved=False, notes=notes)
        if now is not None and now.number != record.number - 1:
            what = f"{now.by} moved it meanwhile to {now.experiment} ({now.action}, {now.created})"
            hint = "Nothing was changed. Look at what is there now, then say again what you want"
            raise StoreError(Problem(f"alias {record.alias}", what, next=hint))
        store.registry.append(record)
    return Moved(record, seen, moved=True, notes=notes)


def _same(now: ReleaseRecord, wanted: ReleaseRecord) -> bool:
    """Whether it points there already: the same evidence for the same candidate."""
    sides = [(one.experiment, one.verdict_digest, one.candidate.digest) for one in (now, wanted)]
    return sides[0] == sides[1]


def _next(seen: ReleaseRecord | None) -> int:
    return (seen.number if seen else 0) + 1


def _who(by: str | None) -> str:
    """Who moves it: as told, else whom the CI names, else the user of this machine."""
    named = by or os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN")
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return f"uid {os.getuid()}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


__all__ = ["PRODUCTION", "Moved", "promote", "rollback", "standing"]
