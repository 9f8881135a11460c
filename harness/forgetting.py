"""Forgetting as numbers of its own: how likely general text still is, and how far general answers have moved.

Suites say what a tuned model can still do; these say what moved in it, also where no suite looks. Two numbers for each
adapter, on the texts of `suites/general-text`, with no candidate's prompt around them:

    text   nats per byte of held-out passages, tuned minus base (the change of the cross-entropy)
    KL     KL(base || tuned) in nats per token, on answers that the base model itself samples to general prompts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from harness import stats
from harness.engines.base import Answer, Engine, Request
from harness.errors import EngineError, Problem, SuiteError
from harness.evaluate import MAX_FAILED
from harness.progress import Bar, Progress
from harness.records import (
    AdapterRef,
    Decoding,
    ForgettingRecord,
    Forgotten,
    Interval,
    Message,
    PassageLikelihood,
    digest,
)
from harness.suites.finding import BUNDLED

FOLDER: Final = BUNDLED / "general-text"
SAMPLED: Final = Decoding(max_tokens=48, temperature=1.0, top_p=1.0)
"""How the base model's answers are sampled: as its distribution is, since they stand for it. Each has a seed of its
own, so that the same engine samples the same."""
SCORED: Final = Decoding(max_tokens=1)
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class GeneralText:
    """One passage or one prompt."""

    id: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class GeneralTexts:
    """What is asked."""

    passages: tuple[GeneralText, ...]
    prompts: tuple[GeneralText, ...]

    @property
    def digest(self) -> str:
        """Content identity, with how answers are sampled."""
        texts = [[(one.id, one.text) for one in group] for group in (self.passages, self.prompts)]
        return digest([*texts, SAMPLED.model_dump(mode="json")])


def load(folder: Path = FOLDER) -> GeneralTexts | None:
    """The bundled texts; None where the suites are not installed. Raises SuiteError for a file that cannot be read."""
    if not folder.is_dir():
        return None
    groups = []
    for name in ("passages.jsonl", "prompts.jsonl"):
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
            groups.append(tuple(GeneralText(**json.loads(line)) for line in lines))
        except (OSError, ValueError, TypeError) as fault:
            raise SuiteError(Problem(str(folder / name), f"cannot be read: {fault}", next="Restore it")) from fault
    return GeneralTexts(*groups)


def measure(
    engine: Engine, adapters: Mapping[str, AdapterRef], texts: GeneralTexts, progress: Progress
) -> ForgettingRecord:
    """Both numbers for every adapter, by the names under which the engine serves them.

    A passage is scored whole, after the token that begins a text. `text` is the ratio of summed differences to summed
    bytes, a passage being one independent unit.

    KL(base || tuned) is the mean, over what the base model writes, of log p_base - log p_tuned; here over one sampled
    answer a prompt, of at most `SAMPLED.max_tokens` tokens, summed over its tokens and divided by the tokens of all
    answers: the plain Monte Carlo estimate ("k1" of Schulman, 2020, "Approximating KL divergence",
    http://joschu.net/blog/kl-approx.html), unbiased for the tokens as they were sampled. Answers are scored as texts:
    the token that ends one is left out, and a text that splits into other tokens than it was sampled in is taken as
    it splits. It can come out below 0 by chance. Both intervals are those of `harness.stats.statistic_interval`.

    Raises EngineError when more than `MAX_FAILED` of the calls fail; fewer are left out, and n says so.
    """
    passages = [Request(SCORED, text="", choices=(one.text,)) for one in texts.passages]
    calls = len(passages) + 2 * len(texts.prompts) + len(adapters) * (len(passages) + len(texts.prompts))
    with progress.bar("general text", calls) as bar:
        drawn = _all(engine, None, _questions(texts.prompts), bar)
        answered = [index for index, one in enumerate(drawn) if one.text and one.tokens_out]
        spoken = [
            Request(SCORED, messages=_turns(texts.prompts[index]), choices=(str(drawn[index].text),))
            for index in answered
        ]
        base = _scores(engine, None, [*passages, *spoken], bar)
        made = []
        for name, adapter in adapters.items():
            tuned = _scores(engine, name, [*passages, *spoken], bar)
            pairs = list(zip(base, tuned, strict=True))
            sizes = [len(one.text.encode()) for one in texts.passages]
            said = [texts.prompts[index] for index in answered]
            tokens = [drawn[index].tokens_out or 0 for index in answered]
            read = _likelihoods(texts.passages, sizes, pairs[: len(passages)])
            made.append(_forgotten(name, adapter, read, _likelihoods(said, tokens, pairs[len(passages) :])))
    return ForgettingRecord(texts=texts.digest, adapters=tuple(made))


def told(one: Forgotten) -> str:
    """One line for whom it may concern."""
    lost, kl = one.text.value, one.kl.value
    numbers = ("unknown" if value is None else f"{value:+.4f}" for value in (lost, kl))
    return "{}: general text {} nats per byte, KL to the base model {} nats per token".format(one.candidate, *numbers)


def _turns(prompt: GeneralText) -> tuple[Message, ...]:
    return (Message(role="user", content=prompt.text),)


def _questions(prompts: Sequence[GeneralText]) -> list[Request]:
    return [
        Request(SAMPLED.model_copy(update={"seed": seed}), messages=_turns(one)) for seed, one in enumerate(prompts)
    ]


def _all(engine: Engine, name: str | None, requests: Sequence[Request], bar: Bar) -> list[Answer]:
    """Answers in the order of their requests; EngineError when too many failed."""
    answers = [Answer(error="no answer")] * len(requests)
    for index, answer in engine.answer([replace(request, adapter=name) for request in requests]):
        answers[index] = answer
        bar.advance()
    faults = [one.error for one in answers if one.error]
    if len(faults) > MAX_FAILED * len(requests):
        what = f"{len(faults)} of {len(requests)} calls failed, the last with: {faults[-1]}"
        hint = "Repair what failed and run again, or leave this out with `forgetting: false`"
        raise EngineError(Problem("general text", what, f"At most {MAX_FAILED:.0%} may fail", hint))
    return answers


def _scores(engine: Engine, name: str | None, requests: Sequence[Request], bar: Bar) -> list[float | None]:
    return [one.logprobs[0] if one.logprobs else None for one in _all(engine, name, requests, bar)]


def _likelihoods(
    texts: Sequence[GeneralText], sizes: Sequence[int], pairs: Sequence[tuple[float | None, float | None]]
) -> tuple[PassageLikelihood, ...]:
    return tuple(
        PassageLikelihood(id=one.id, kind=one.kind, size=size, base=base, tuned=tuned)
        for one, size, (base, tuned) in zip(texts, sizes, pairs, strict=True)
    )


def _forgotten(
    name: str, adapter: AdapterRef, read: tuple[PassageLikelihood, ...], said: tuple[PassageLikelihood, ...]
) -> Forgotten:
    shares = {kind: _share([one for one in read if one.kind == kind]) for kind in dict.fromkeys(o.kind for o in read)}
    scored = [one for one in read if one.base is not None]
    return Forgotten(
        candidate=name,
        adapter=adapter.digest,
        text=lost_per_unit(read),
        base_text=-sum(one.base or 0.0 for one in scored) / sum(one.size for one in scored) if scored else None,
        kinds={kind: share for kind, share in shares.items() if share is not None},
        kl=lost_per_unit(said),
        passages=read,
        answers=said,
    )


def lost_per_unit(scored: Sequence[PassageLikelihood], confidence: float = CONFIDENCE) -> Interval:
    """Log-likelihood lost from base to tuned over bytes or tokens of all texts, in nats each; a text is one unit."""
    return stats.statistic_interval(_rows(scored), lambda sums: sums[..., 0] / sums[..., 1], confidence=confidence)


def _rows(scored: Sequence[PassageLikelihood]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(nats lost, size) of each text that both models scored."""
    rows = [(one.base - one.tuned, one.size) for one in scored if one.base is not None and one.tuned is not None]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), 2)


def _share(scored: Sequence[PassageLikelihood]) -> float | None:
    rows = _rows(scored)
    return float(rows[:, 0].sum() / rows[:, 1].sum()) if len(rows) else None
