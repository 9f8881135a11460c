"""Proof, on a running engine, that every model answers as itself.

    check_identity   base and adapters, mixed in flight, answer as they did alone
    check_adapter_acts   an adapter changes something; one that does not is a broken training or load

Both compare log-likelihoods (and short greedy answers) of fixed texts: whose answer
is nearer, and whether an adapter differs more than the base model does from itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.engines.base import Engine, Request
from harness.errors import EngineError
from harness.records import Decoding

PROBES: Final = (
    ("The capital of France is", (" Paris, a city on the Seine.", " a small green apple.")),
    ("Question: What is 3 + 4?\nAnswer:", (" 7", " The answer is seven.")),
    ('{"name": "Ada", "city":', (' "London"}', " null}")),
)
"""Texts and continuations; ordinary, so that no adapter leaves all of them alone."""
EXACT: Final = 1e-6
"""Nats below which two log-likelihoods are the same number."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How one model answers the probes."""

    logprobs: tuple[float, ...]
    texts: tuple[str, ...]

    def distance(self, other: Fingerprint) -> float:
        """Largest difference of a log-likelihood, in nats."""
        return _distance(self.logprobs, other.logprobs)


def fingerprint(engine: Engine, adapter: str | None) -> Fingerprint:
    """Ask one model the probes; see `fingerprints`."""
    return fingerprints(engine, (adapter,))[adapter]


def fingerprints(engine: Engine, names: Sequence[str | None]) -> dict[str | None, Fingerprint]:
    """Ask several models the probes, in turns: scored, and generated greedily. None: the base model.

    Raises EngineError when one has no answer.
    """
    greedy = Decoding(max_tokens=6)
    scored = [Request(greedy, text=text, choices=choices) for text, choices in PROBES]
    asked = [*scored, *(Request(greedy, text=text) for text, _ in PROBES)]
    requests = [replace(request, adapter=name) for request in asked for name in names]
    answers = dict(engine.answer(requests))
    made = {}
    for at, name in enumerate(names):
        own = [answers[index] for index in range(at, len(requests), len(names))]
        if failed := [answer.error for answer in own if answer.error]:
            raise EngineError(f"a start-up probe of {name or 'the base model'} failed: {failed[0]}.")
        made[name] = Fingerprint(
            tuple(value for answer in own for value in answer.logprobs or ()),
            tuple(answer.text for answer in own if answer.text is not None),
        )
    return made


def check_adapter_acts(engine: Engine, *adapters: str) -> None:
    """Raise EngineError when an adapter's log-likelihoods are the base model's own."""
    base, again = fingerprint(engine, None), fingerprint(engine, None)
    noise = max(EXACT, 2 * base.distance(again))
    for adapter in adapters:
        if fingerprint(engine, adapter).distance(base) <= noise:
            raise EngineError(
                f"the adapter {adapter!r} changes nothing: its log-likelihoods equal the base model's within "
                f"{noise:.1g} nats on every probe. Its training did not move it, or the engine does not apply it."
            )


def check_identity(
    engine: Engine, adapters: Sequence[str], alone: Mapping[str | None, Fingerprint], noise: float
) -> None:
    """Raise EngineError when a model answers as another one once requests for all are in flight together.

    `alone` holds each model's fingerprint from when only it was asked, None for the base
    model's. `noise` is how far, in nats, the company in a batch may move a log-likelihood.
    """
    for name, together in fingerprints(engine, (None, *adapters)).items():
        for other in alone.keys() - {name}:
            if _answered_by(together, alone[name], alone[other], noise):
                raise EngineError(_mixed_up(name, other))


def _answered_by(got: Fingerprint, own: Fingerprint, other: Fingerprint, noise: float) -> bool:
    """Whether some answers are the other model's: far from one's own, and near the other's."""
    start = 0
    for _, choices in PROBES:
        part = slice(start, start := start + len(choices))
        off = _distance(got.logprobs[part], own.logprobs[part])
        if off > noise and off > 4 * _distance(got.logprobs[part], other.logprobs[part]):
            return True
    swapped = sum(g != o and g == x for g, o, x in zip(got.texts, own.texts, other.texts, strict=True))
    # With a coarse number type one near tie may fall the other way, and look like the other model.
    return swapped >= (1 if noise < 0.01 else 2)


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _mixed_up(name: str | None, other: str | None) -> str:
    asked, got = (f"the adapter {who!r}" if who else "the base model" for who in (name, other))
    return (
        f"the server answers requests for {asked} with {got} when both are in flight. "
        "Nothing that it says can be judged; use `engine: transformers`, and report the server's version."
    )
