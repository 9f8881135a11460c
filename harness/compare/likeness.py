"""Whether two runs may be compared: every reason why not, naming the field and both values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.compare.samples import SampleKey, Samples, key
from harness.errors import Problem
from harness.records import Conditions, RunRecord


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two run ids, for messages."""

    candidate: str
    reference: str

    def differs(self, field: str, got: object, wanted: object, next: str) -> Problem:
        return Problem(
            f"{self.candidate} against {self.reference}",
            f"{field} differs: {got!r} against {wanted!r}",
            next=next,
        )


def likeness_problems(
    run: RunRecord, samples: Samples, reference: RunRecord, reference_samples: Samples
) -> list[Problem]:
    """All reasons why two runs must not be compared; those that follow from an earlier one are not told."""
    pair = _Pair(run.id, reference.id)
    again = "Evaluate both on the same suite, split and data."
    found = [
        pair.differs(field, getattr(run, field), getattr(reference, field), again)
        for field in ("suite", "split", "fingerprint", "primary")
        if getattr(run, field) != getattr(reference, field)
    ]
    found += _condition_problems(pair, run.conditions, reference.conditions)
    found += _decoding_problems(pair, run, reference)
    return found or list(_sample_problems(pair, run, samples, reference, reference_samples))


def _condition_problems(pair: _Pair, got: Conditions, wanted: Conditions) -> list[Problem]:
    again = "Evaluate one of them again under the other's conditions."
    fields = [name for name in Conditions.model_fields if name != "flags"]
    found = [
        pair.differs(f"conditions.{name}", getattr(got, name), getattr(wanted, name), again)
        for name in fields
        if getattr(got, name) != getattr(wanted, name)
    ]
    found += [
        pair.differs(f"conditions.flags.{name}", got.flags.get(name), wanted.flags.get(name), again)
        for name in sorted(got.flags.keys() | wanted.flags.keys())
        if got.flags.get(name) != wanted.flags.get(name)
    ]
    return found


def _decoding_problems(pair: _Pair, run: RunRecord, reference: RunRecord) -> list[Problem]:
    """What of the decoding must agree.

    `max_tokens` may differ: it belongs to a candidate's own prompt (one that asks for reasoning
    needs room for it). `temperature` and `stop` must agree, and `top_p` wherever something is
    sampled: a difference there could be taken for a better model. `seed` may differ: it draws
    other answers from the same distribution.
    """
    again = "Give both candidates the same decoding; only max_tokens and seed may differ."
    got, wanted = run.candidate.decoding, reference.candidate.decoding
    fields = ["temperature", "stop"] + (["top_p"] if got.temperature > 0 or wanted.temperature > 0 else [])
    return [
        pair.differs(f"candidate.decoding.{name}", getattr(got, name), getattr(wanted, name), again)
        for name in fields
        if getattr(got, name) != getattr(wanted, name)
    ]


def _sample_problems(
    pair: _Pair, run: RunRecord, samples: Samples, reference: RunRecord, reference_samples: Samples
) -> Iterator[Problem]:
    """Runs that are incomplete, hold a sample twice, or asked different things under one id."""
    left, right = {key(s): s for s in samples}, {key(s): s for s in reference_samples}
    for record, given, keyed in ((run, samples, left), (reference, reference_samples, right)):
        items = len({(task, id) for task, id, _ in keyed})
        if len(given) != len(keyed):
            yield Problem(record.id, f"{len(given)} samples hold only {len(keyed)} different (task, id, repeat)")
        elif record.n not in (items, len(keyed)):
            yield Problem(
                record.id, f"incomplete: n is {record.n} but samples of {items} items were found", next="Run it again."
            )
    for name, missing in ((run.id, right.keys() - left.keys()), (reference.id, left.keys() - right.keys())):
        if missing:
            yield Problem(name, f"{len(missing)} samples are missing, the first is {_spell(min(missing))}")
    for at in sorted(left.keys() & right.keys()):
        for field in ("item_digest", "cluster"):
            got, wanted = getattr(left[at], field), getattr(right[at], field)
            if got != wanted:
                yield pair.differs(f"{_spell(at)}.{field}", got, wanted, "One id must mean one item.")
                return


def _spell(key: SampleKey) -> str:
    return f"{key[0]}/{key[1]}" + (f" (repeat {key[2]})" if key[2] else "")
