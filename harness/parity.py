"""Parity: what the engine says of fixed texts is what the training process said of them, for base model and adapter.

What is judged must be what was trained: other weights, another chat template, other tokens, an adapter that is
applied in part or scaled otherwise all move these numbers, whichever of the two processes is wrong. Training leaves
its log-likelihoods in `SeedTraining.probes`; here the engine is asked for the same, before anything is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.engines.base import Engine, Request
from harness.errors import EngineError, Problem
from harness.probes import PROBES, PROBES_DIGEST
from harness.records import AdapterParity, Conditions, Decoding, ParityRecord, ProbeScores, SeedTraining

TOLERANCE: Final[Mapping[str, float]] = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2}
"""Nats per token by which a continuation may differ, by the coarser number type of the two. docs/serving.md says how
they were measured."""
DECODING: Final = Decoding(max_tokens=1)

Scores = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class _Apart:
    """The largest difference over all continuations."""

    nats_per_token: float
    probe: str


def check(engine: Engine, trained: Mapping[str, SeedTraining]) -> ParityRecord:
    """Hold an engine against the trainings of the adapters that it serves, by the names under which it serves them.

    Compared is each continuation's summed log-likelihood, in nats per token. An adapter that was trained on a
    quantised base model is served on the full weights: its difference is told and bound by nothing.
    Raises EngineError when a difference is above its tolerance, or a probe has no answer.
    """
    conditions = engine.conditions
    base = _ask(engine, None, _wanted(trained)) if _wanted(trained) else ()
    rows = tuple(_compared(engine, name, training, base, conditions) for name, training in trained.items())
    if problems := [_problem(row, conditions) for row in rows if _breaches(row)]:
        raise EngineError(problems)
    return ParityRecord(engine=_named(conditions), adapters=rows)


def _wanted(trained: Mapping[str, SeedTraining]) -> tuple[ProbeScores, ...]:
    """Numbers of training that are of today's probes."""
    probes = [training.probes for training in trained.values()]
    return tuple(one for one in probes if one is not None and one.probes == PROBES_DIGEST)


def _compared(engine: Engine, name: str, training: SeedTraining, base: Scores, conditions: Conditions) -> AdapterParity:
    row, probes = AdapterParity(candidate=name, adapter=training.adapter.digest), training.probes
    if training.adapter.kind in _NO_LIKELIHOODS:
        return row.model_copy(update={"reason": _NO_LIKELIHOODS[training.adapter.kind]})
    if probes is None or probes.probes != PROBES_DIGEST:
        what = "no probe was scored when it was trained" if probes is None else "other probes were scored"
        return row.model_copy(update={"reason": f"{what}; train it again to have it compared"})
    asked = [index for index, tokens in enumerate(probes.tokens) if tokens]
    if not asked:
        return row.model_copy(update={"reason": "no probe fits the model's context"})
    own, tuned = _apart(probes.base, base, probes), _apart(probes.tuned, _ask(engine, name, (probes,)), probes)
    return row.model_copy(
        update={
            "prompts": len(asked),
            "tokens": sum(sum(probes.tokens[index]) for index in asked),
            "base": own.nats_per_token,
            "tuned": tuned.nats_per_token,
            "worst": max((own, tuned), key=lambda one: one.nats_per_token).probe,
            "tolerance": None if probes.quantized else _tolerance(training.dtype, conditions.dtype),
            "reason": _QUANTIZED if probes.quantized else "",
        }
    )


_NO_LIKELIHOODS: Final[Mapping[str, str]] = {
    "classifier": "a classifier writes no text whose likelihood could be compared",
    "remote": "it was trained and is served elsewhere, so nothing of its training can be compared",
}
_QUANTIZED = "trained on quantised weights of the base model and served on the full ones, which say other things"


def _tolerance(*dtypes: str | None) -> float:
    """That of the coarser number type; an unknown one is taken for the coarsest."""
    return max(TOLERANCE.get(dtype or "", max(TOLERANCE.values())) for dtype in dtypes)


def _ask(engine: Engine, name: str | None, wanted: tuple[ProbeScores, ...]) -> Scores:
    """The engine's numbers for every probe that training could be asked."""
    asked = [index for index in range(len(PROBES)) if any(one.tokens[index] for one in wanted)]
    requests = [
        Request(DECODING, PROBES[index].messages, PROBES[index].text, PROBES[index].continuations, name)
        for index in asked
    ]
    scores: list[tuple[float, ...]] = [()] * len(PROBES)
    for at, answer in engine.answer(requests):
        if answer.logprobs is None:
            who = f"the adapter {name!r}" if name else "the base model"
            what = f"the probe {PROBES[asked[at]].name!r} of {who} has no answer: {answer.error}"
            raise EngineError(Problem("parity with training", what, next="Serve it with an engine that scores choices"))
        scores[asked[at]] = answer.logprobs
    return tuple(scores)


def _apart(trained: Scores, served: Scores, probes: ProbeScores) -> _Apart:
    return max(
        (
            _Apart(abs(one - other) / count, probe.name)
            for probe, *rows in zip(PROBES, trained, served, probes.tokens, strict=True)
            if rows[2]
            for one, other, count in zip(*rows, strict=True)
        ),
        key=lambda apart: apart.nats_per_token,
    )


def _breaches(row: AdapterParity) -> bool:
    """Whether a difference is above its tolerance, or is no number."""
    if row.tolerance is None or row.base is None or row.tuned is None:
        return False
    return not (row.base <= row.tolerance and row.tuned <= row.tolerance)


def _problem(row: AdapterParity, conditions: Conditions) -> Problem:
    assert row.base is not None  # noqa: S101  it breaches
    assert row.tuned is not None  # noqa: S101
    who = "the base model" if not row.base <= (row.tolerance or 0) else "the adapter"
    what = (
        f"{who} answers otherwise in {_named(conditions)} than in the process that trained it: log-likelihoods of "
        f"fixed texts differ by up to {row.base:.2g} (base) and {row.tuned:.2g} (adapter) nats per token, most on "
        f"{row.worst!r}"
    )
    hint = (
        "Nothing was judged. Serve with the number type and chat template of training, or with another engine "
        "(serve.engine: transformers); if the adapter's files were changed, train it again"
    )
    return Problem(f"parity of {row.candidate}", what, f"At most {row.tolerance:g}", hint)


def _named(conditions: Conditions) -> str:
    return f"{conditions.engine} {conditions.engine_version}, {conditions.dtype} on {conditions.device}"
