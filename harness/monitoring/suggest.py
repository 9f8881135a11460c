"""Production rows worth labelling: failing, uncertain, novel; near copies left out, personal data masked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.data.near import Targets, closeness, signatures
from harness.data.personal import masked
from harness.data.wording import bare
from harness.errors import DataError, Problem
from harness.monitoring.features import Placed
from harness.monitoring.reference import Reference
from harness.monitoring.requests import Request

NEAR: Final = 0.8
"""Jaccard similarity of character 3-grams from which a question is a near copy of another."""
TAIL: Final = 0.9
"""Quantile from which a question is novel (of the held-out training questions) or an answer uncertain (of all)."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """One row worth labelling."""

    request: Request
    why: tuple[str, ...]
    """`failed`, `wrong`, `form`, `uncertain`, `novel`."""
    weight: float
    """Reasons first, then how far in the tail; rows are written by it, largest first."""

    def row(self) -> dict[str, Any]:
        """As a line of the task's data: the last turn waits for its label."""
        turns = [{"role": role, "content": masked(text)} for role, text in self.request.turns]
        answer = self.request.answer
        return {
            "id": f"production-{self.request.digest}",
            "messages": [*turns, {"role": "assistant", "content": ""}],
            "model_answer": None if answer is None else masked(answer),
            "why": list(self.why),
        }


def suggest(
    requests: Sequence[Request], reference: Reference, placed: Placed | None, scores: dict[str, float], most: int
) -> list[Suggested]:
    """At most `most` rows, the most telling first. scores: how good an answer was, by the request's `where`.

    None is a near copy of a training question or of a row before it.
    """
    asked = [request for request in requests if request.question.strip()]
    tails = _tails(asked, placed)
    found = [
        Suggested(request, why, len(why) + max((tail for _, tail in reasons), default=0.0))
        for request, reasons in zip(asked, tails, strict=True)
        if (why := (*_faults(request, reference, scores), *(name for name, _ in reasons)))
    ]
    found.sort(key=lambda one: (-one.weight, one.request.where))
    return _apart(found, reference.questions, most)


def write(path: Path, rows: Sequence[Suggested]) -> None:
    """Write the rows as JSON lines. Raises DataError where the file exists or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row.row(), ensure_ascii=False) + "\n" for row in rows)
    except FileExistsError as fault:
        raise DataError(Problem(str(path), "exists", next="Name another file, or remove it")) from fault
    except OSError as fault:
        raise DataError(Problem(str(path), f"cannot write: {fault.strerror}")) from fault


def _faults(request: Request, reference: Reference, scores: dict[str, float]) -> list[str]:
    if request.answer is None:
        return ["failed"]
    found = ["wrong"] if scores.get(request.where, 1.0) < 0.5 else []
    return [*found, "form"] if not reference.form.fits(request.answer) else found


def _tails(requests: Sequence[Request], placed: Placed | None) -> list[list[tuple[str, float]]]:
    """For each request the tails that it lies in, with how far, in (0, 1]."""
    found: list[list[tuple[str, float]]] = [[] for _ in requests]
    measured = [(at, -r.logprob) for at, r in enumerate(requests) if r.logprob is not None]
    if measured:
        values = np.array([value for _, value in measured])
        for (at, value), rank in zip(measured, _above(values, values), strict=True):
            if rank >= TAIL and value > values.min():
                found[at].append(("uncertain", rank))
    if placed is not None and requests:
        novelty = placed.space.novelty([request.question for request in requests])
        usual = placed.space.novelty(placed.held_out)
        for at, rank in enumerate(_above(novelty, usual)):
            if rank >= TAIL:
                found[at].append(("novel", float(rank)))
    return found


def _above(values: np.typing.NDArray[np.float64], among: np.typing.NDArray[np.float64]) -> list[float]:
    """Share of `among` that lies below each value."""
    return [float(share) for share in np.searchsorted(np.sort(among), values, side="left") / len(among)]


def _apart(found: Sequence[Suggested], known: Sequence[str], most: int) -> list[Suggested]:
    """The first rows that are no near copy of a known question or of a row that is kept."""
    texts = [bare(one.request.question) for one in found]
    copies = {match.text for match in Targets([bare(q) for q in known], NEAR).match(signatures(texts), texts)}
    kept: list[int] = []
    for at, text in enumerate(texts):
        if len(kept) == most:
            break
        if at not in copies and all(closeness(texts[other], text, NEAR) is None for other in kept):
            kept.append(at)
    return [found[at] for at in kept]
