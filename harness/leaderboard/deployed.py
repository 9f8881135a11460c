"""What is deployed, as frames: where each alias points, and every move that led there."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from harness import evidence as ev
from harness.errors import StoreError
from harness.records import ReleaseRecord
from harness.store import Store

MOVE_COLUMNS: Final[dict[str, str]] = {
    "alias": "The pointer: production, staging, or another name.",
    "number": "Which move of the alias it is, from 1.",
    "action": "promote, or rollback.",
    "back_to": "The move that a rollback went back to; missing for a promotion.",
    "experiment": "Experiment (or deploy gate) that it rests on.",
    "candidate": "Who answers from then on.",
    "model": "Its base model, as the spec names it.",
    "adapter": "First digits of the digest of its weights; missing where only a prompt is deployed.",
    "prompt": "Its prompt in a few words.",
    "decision": "What had been decided of it.",
    "override": "Why it was moved although it was not judged promote; missing where it was.",
    "by": "Who moved it.",
    "why": "Why, in their words.",
    "created": "When, UTC.",
}
"""Columns of `moves`, with what they mean."""
POINTER_COLUMNS: Final[dict[str, str]] = {
    **MOVE_COLUMNS,
    "fault": "Why what it points to is not what was promoted; empty where it is.",
}
"""Columns of `pointers`."""


def pointers(store: Store) -> pd.DataFrame:
    """One row an alias, by name: the move that counts and whether it is broken; see `POINTER_COLUMNS`.

    StoreError when the registry cannot be read.
    """
    found = ev.pointers(store).values()
    return pd.DataFrame([{**_row(one.move), "fault": one.fault} for one in found], columns=list(POINTER_COLUMNS))


def moves(store: Store, alias: str | None = None) -> pd.DataFrame:
    """One row a move, of one alias or of all, the newest first; see `MOVE_COLUMNS`."""
    made = store.registry.all() if alias is None else store.registry.history(alias)
    return pd.DataFrame([_row(move) for move in reversed(made)], columns=list(MOVE_COLUMNS))


def aliases(store: Store) -> dict[str, list[str]]:
    """Experiment id to the aliases that point to it; none where the registry cannot be read, which `pointers` tells."""
    try:
        return ev.aliases_of(store)
    except StoreError:
        return {}


def _row(move: ReleaseRecord) -> dict[str, Any]:
    candidate = move.candidate
    own = ("alias", "number", "action", "back_to", "experiment", "decision", "override", "by", "why", "created")
    return {name: getattr(move, name) for name in own} | {
        "candidate": candidate.name,
        "model": candidate.model.name,
        "adapter": candidate.adapter.digest[:12] if candidate.adapter else None,
        "prompt": ev.prompt_words(candidate.prompt, candidate.decoding),
    }


__all__ = ["MOVE_COLUMNS", "POINTER_COLUMNS", "aliases", "moves", "pointers"]
