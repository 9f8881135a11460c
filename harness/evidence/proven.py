"""Parity with training and forgetting, in words: what is known of an adapter beside its scores."""

from __future__ import annotations

from harness.evidence.gathered import Evidence
from harness.evidence.numbers import Unit, basis
from harness.records import AdapterParity, Forgotten, ParityRecord

PER_BYTE, PER_TOKEN = Unit("nats per byte", digits=4), Unit("nats per token", digits=4)


def proven(evidence: Evidence) -> list[tuple[str, str]]:
    """Each judged adapter's parity and forgetting, as (what, value)."""
    parity = evidence.verdict.parity if evidence.verdict else None
    judged = {run.candidate.adapter.digest for run in evidence.runs if run.candidate.adapter and run.split == "test"}
    made = [("parity with training", parity_words(parity, row)) for row in (parity.adapters if parity else ())
            if parity is not None and row.adapter in judged]  # fmt: skip
    for one in evidence.forgetting.adapters if evidence.forgetting and evidence.verdict else ():
        if one.adapter not in judged:
            continue
        made += [("forgetting, general text", text_words(one)), ("forgetting, KL to the base", kl_words(one))]
    return made


def parity_words(record: ParityRecord, row: AdapterParity) -> str:
    """`tuned-seed0: at most 0.000012 nats per token apart over 8 prompts ...`, or why nothing was compared."""
    if row.base is None or row.tuned is None:
        return f"{row.candidate}: not compared: {row.reason}"
    bound = "" if row.tolerance is None else f", at most {row.tolerance:g} is allowed"
    why = f"; informs only: {row.reason}" if row.reason else ""
    return (
        f"{row.candidate}: fixed texts differ by up to {row.base:.2g} (base) and {row.tuned:.2g} (adapter) nats per "
        f"token between training and {record.engine}, over {row.prompts} prompts and {row.tokens} tokens{bound}{why}"
    )


def text_words(one: Forgotten) -> str:
    """What general text lost, with its interval, and of how much."""
    lost = PER_BYTE.span(one.text.value, one.text.low, one.text.high, sign=True)
    of = "" if one.base_text is None else f", from {one.base_text:.4f} under the base model"
    return f"{one.candidate}: {lost}{of} ({basis(one.text)})"


def kl_words(one: Forgotten) -> str:
    """KL(base || tuned) with its interval."""
    return f"{one.candidate}: {PER_TOKEN.span(one.kl.value, one.kl.low, one.kl.high)} ({basis(one.kl)})"
