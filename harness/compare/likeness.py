"""Whether two runs may be compared: every reason why not, naming the field and both values."""

from __future__ import annotations

from dataclasses import dataclass

from harness.compare.asked import early_stop_problems
from harness.compare.samples import SampleKey, Sheet
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


def likeness_problems(candidate: Sheet, reference: Sheet, slice: str | None = None) -> list[Problem]:
    """All reasons why two runs must not be compared; those that follow from an earlier one are not told.

    slice: name of the property that results are cut by, which must then agree on every item. Slices that
    nobody asks for may differ: naming a new one makes no stored run useless.
    """
    run, other = candidate.run, reference.run
    pair = _Pair(run.id, other.id)
    again = "Evaluate both on the same suite, split and data."
    found = [
        pair.differs(field, getattr(run, field), getattr(other, field), again)
        for field in ("suite", "split", "fingerprint", "primary")
        if getattr(run, field) != getattr(other, field)
    ]
    found += _condition_problems(pair, run.conditions, other.conditions)
    found += _decoding_problems(pair, run, other)
    found = found or completeness_problems(candidate) + completeness_problems(reference)
    return found or [*_missing_samples(candidate, reference), *_unlike_samples(pair, candidate, reference, slice)]


def completeness_problems(sheet: Sheet) -> list[Problem]:
    """A run that holds a sample twice, or other samples than its record says."""
    run, keyed = sheet.run, len(sheet.by_key)
    if sheet.given != keyed:
        return [Problem(run.id, f"{sheet.given} samples hold only {keyed} different (task, id, repeat)")]
    if run.n != keyed and run.n != sheet.items:
        what = f"incomplete: n is {run.n} but samples of {sheet.items} items were found"
        return [Problem(run.id, what, next="Run it again.")]
    return []


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
    needs room for it). So may `stop` where the prompts read their answers differently (`answer_after`): a stop
    that ends a plain answer would cut a reasoning one before its answer. So may `constraint`: structured output
    is part of prompting, and what it buys is what is compared. `temperature` must agree, `stop` too where both
    read alike, and `top_p` wherever something is sampled: a difference there could be taken for a better model.
    `seed` may differ: it draws other answers from the same distribution.
    """
    again = "Give both candidates the same decoding; only max_tokens, constraint and seed may differ."
    got, wanted = run.candidate.decoding, reference.candidate.decoding
    read_alike = run.candidate.prompt.answer_after == reference.candidate.prompt.answer_after
    fields = ["temperature", *(["stop"] if read_alike else [])]
    fields += ["top_p"] if got.temperature > 0 or wanted.temperature > 0 else []
    return [
        pair.differs(f"candidate.decoding.{name}", getattr(got, name), getattr(wanted, name), again)
        for name in fields
        if getattr(got, name) != getattr(wanted, name)
    ]


def _missing_samples(candidate: Sheet, reference: Sheet) -> list[Problem]:
    """Samples that one side lacks; a candidate's run that was stopped early owes only the first of its order."""
    ours, theirs = candidate.by_key.keys(), reference.by_key.keys()
    if candidate.run.stopped is not None:
        return early_stop_problems(candidate, candidate.run.stopped, reference)
    found = ((candidate.run.id, theirs - ours), (reference.run.id, ours - theirs))
    return [
        Problem(name, f"{len(missing)} samples are missing, the first is {_spell(min(missing))}")
        for name, missing in found
        if missing
    ]


def _unlike_samples(pair: _Pair, candidate: Sheet, reference: Sheet, slice: str | None) -> list[Problem]:
    """The first sample that asked another thing under the same id."""
    for at, got in candidate.by_key.items():
        wanted = reference.by_key.get(at)
        if wanted is None:
            continue
        if got.item_digest == wanted.item_digest and got.cluster == wanted.cluster and slice is None:
            continue
        for field in ("item_digest", "cluster"):
            one, other = getattr(got, field), getattr(wanted, field)
            if one != other:
                return [pair.differs(f"{_spell(at)}.{field}", one, other, "One id must mean one item.")]
        if slice is not None and got.slices.get(slice) != wanted.slices.get(slice):
            values = got.slices.get(slice), wanted.slices.get(slice)
            return [pair.differs(f"{_spell(at)}.slices.{slice}", *values, "Give both runs the same slices.")]
    return []


def _spell(key: SampleKey) -> str:
    return f"{key[0]}/{key[1]}" + (f" (repeat {key[2]})" if key[2] else "")
