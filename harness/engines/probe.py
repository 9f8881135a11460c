"""Proof, on a running engine, that every model answers as itself.

    check_identity   base and adapters, mixed in flight, answer as they did alone
    check_adapter_acts   an adapter changes something; one that does not is a broken training or load

Both compare log-likelihoods of fixed texts. They need no threshold for number
types: identity asks which fingerprint is nearest, and whether an adapter acts is
measured against how much the base model differs from itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        return max(abs(a - b) for a, b in zip(self.logprobs, other.logprobs, strict=True))


def fingerprint(engine: Engine, adapter: str | None) -> Fingerprint:
    """Ask the probes: scored, and generated greedily. Raises EngineError when one has no answer."""
    greedy = Decoding(max_tokens=6)
    scored = [Request(greedy, text=text, choices=choices) for text, choices in PROBES]
    requests = [*scored, *(Request(greedy, text=text) for text, _ in PROBES)]
    answers = dict(engine.answer(requests, adapter))
    for index in range(len(requests)):
        if answers[index].error:
            raise EngineError(f"a start-up probe of {adapter or 'the base model'} failed: {answers[index].error}.")
    ordered = [answers[index] for index in range(len(requests))]
    return Fingerprint(
        tuple(value for answer in ordered for value in answer.logprobs or ()),
        tuple(answer.text for answer in ordered if answer.text is not None),
    )


def check_adapter_acts(engine: Engine, adapter: str) -> None:
    """Raise EngineError when the adapter's log-likelihoods are the base model's own."""
    base, again = fingerprint(engine, None), fingerprint(engine, None)
    noise = max(EXACT, 2 * base.distance(again))
    if fingerprint(engine, adapter).distance(base) <= noise:
        raise EngineError(
            f"the adapter {adapter!r} changes nothing: its log-likelihoods equal the base model's within {noise:.1g} "
            "nats on every probe. Its training did not move it, or the engine does not apply it."
        )


def check_identity(engine: Engine, adapters: Sequence[str], alone: dict[str | None, Fingerprint]) -> None:
    """Raise EngineError when a model answers as another one once requests for all are in flight together.

    `alone` holds each model's fingerprint from when only it was asked, None for the base model's.
    """
    for name, together in _asked_together(engine, (None, *adapters)):
        nearest = min(alone, key=lambda other: together.distance(alone[other]))
        own = together.distance(alone[name])
        if own > EXACT and together.distance(alone[nearest]) < own:
            raise EngineError(_mixed_up(name, nearest))
        for text, mine in zip(together.texts, alone[name].texts, strict=True):
            others = [other for other in alone if other != name and text in alone[other].texts]
            if text != mine and others and mine not in alone[others[0]].texts:
                raise EngineError(_mixed_up(name, others[0]))


def _asked_together(engine: Engine, names: Sequence[str | None]) -> Iterator[tuple[str | None, Fingerprint]]:
    results: dict[str | None, Fingerprint | BaseException] = {}

    def ask(name: str | None) -> None:
        try:
            results[name] = fingerprint(engine, name)
        except BaseException as error:
            results[name] = error

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, result in results.items():
        if isinstance(result, BaseException):
            raise result
        yield name, result


def _mixed_up(name: str | None, other: str | None) -> str:
    asked, got = (f"the adapter {who!r}" if who else "the base model" for who in (name, other))
    return (
        f"the server answers requests for {asked} with {got} when both are in flight. "
        "Nothing that it says can be judged; use `engine: transformers`, and report the server's version."
    )
