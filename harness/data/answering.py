"""Faults of one answer or one pair of answers: refusals, copied questions, preferences that prefer nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.data.example import Example, folded
from harness.data.lines import Fault

_CANNOT = r"(?:can'?t|cannot|can not|won'?t|unable to|not able to|not comfortable)"
REFUSAL = re.compile(
    r"^\W*(?:unfortunately,? |i(?:'m| am) afraid,? (?:that )?)?"
    rf"(?:(?:i'?m|i am) (?:really |very |so )?sorry\b.{{0,40}}\b{_CANNOT}\b"
    rf"|(?:sorry,? (?:but )?)?i(?:'m| am)? {_CANNOT} (?:help|assist|fulfil|comply|provide|do (?:that|this)|answer)"
    r"|i (?:must|have to|need to) (?:respectfully |politely )?(?:decline|refuse)"
    rf"|as an? (?:ai|(?:large )?language model)\b.{{0,60}}\b(?:{_CANNOT}|don'?t)\b"
    rf"|i apologi[sz]e,? but\b.{{0,60}}\b{_CANNOT}\b)",
    re.IGNORECASE | re.DOTALL,
)
"""How assistants refuse, at the start of an answer."""

FENCE = re.compile(r"^\s*```(?:[a-zA-Z]*[ \t]*\n|(?:json)?[ \t]*(?=[{\[]))(.*?)\s*```\s*$", re.DOTALL | re.IGNORECASE)
"""An answer that is one fenced block, or JSON fenced in one line."""

MIN_COPY = 20
"""Characters from which a repeated question is a copy and no accident."""

LENGTH_RATIO = 20
"""How many times longer than the other an answer of a pair must be to be told; in public preference sets 1 in 10
pairs has a ratio above 13, most of them with a one-word answer."""

MIN_LONG = 8000
"""Characters from which the longer answer of a pair is an outlier and not merely the wordier one."""


def refuses(answer: str) -> bool:
    """Whether an answer refuses to answer."""
    return bool(REFUSAL.search(answer[:200].replace("’", "'")))


def answer_faults(example: Example) -> Iterator[Fault]:
    """What is odd about one answer, seen alone."""
    answer = example.answer
    if example.rejected is None and refuses(answer):
        yield Fault("refusal", "the answer refuses; keep it only if the model shall learn to refuse this")
    asked = folded(example.prompt[-1].content) if example.prompt else ""
    if len(asked) >= MIN_COPY and folded(answer).startswith(asked):
        rule = "copied_prompt" if example.rejected is None else "preference_prompt_in_answer"
        yield Fault(rule, "the answer begins by repeating the question")
    if example.rejected is not None:
        yield from _pair_faults(example, answer, example.rejected)


def _pair_faults(example: Example, chosen: str, rejected: str) -> Iterator[Fault]:
    if folded(chosen) == folded(rejected):
        yield Fault("preference_identical", "chosen and rejected are the same; nothing can be learned from them")
    if example.scores is not None and example.scores[0] < example.scores[1]:
        scores = f"{example.scores[0]:g} against {example.scores[1]:g}"
        yield Fault(
            "preference_swapped", f"the rejected answer has the better score ({scores}); swap them or drop the row"
        )
    short, long = sorted((len(chosen), len(rejected)))
    if long >= MIN_LONG and long >= LENGTH_RATIO / 2 * max(1, short):
        yield Fault("preference_length", f"one answer has {long} characters, the other {short}")


def unfenced(answer: str) -> str:
    """The answer without the code fence around it."""
    match = FENCE.match(answer)
    return match[1] if match else answer
