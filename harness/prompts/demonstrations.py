"""Which train rows become worked examples: at random, spread over the answers, or those that raw gets wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.prompts.answers import balanced_over
from harness.records import Item


def at_random(items: Sequence[Item], count: int, rng: random.Random) -> tuple[Item, ...]:
    """`count` rows, or all that there are."""
    return tuple(rng.sample(list(items), min(count, len(items))))


def balanced(items: Sequence[Item], count: int, rng: random.Random) -> tuple[Item, ...]:
    """`count` rows spread evenly over the answers, in a random order; at random where answers do not repeat."""
    if not balanced_over(items):
        return at_random(items, count, rng)
    by_answer: dict[str, list[Item]] = {}
    for item in items:
        by_answer.setdefault(item.target.strip(), []).append(item)
    answers = sorted(by_answer)
    rng.shuffle(answers)
    for answer in answers:
        rng.shuffle(by_answer[answer])
    picked: list[Item] = []
    while len(picked) < min(count, len(items)):
        picked += [by_answer[answer].pop() for answer in answers if by_answer[answer]]
    picked = picked[:count]
    rng.shuffle(picked)
    return tuple(picked)


def hard(wrong: Sequence[Item], items: Sequence[Item], count: int, rng: random.Random) -> tuple[Item, ...]:
    """`count` rows, first of those that were answered wrong, spread over the answers; then balanced others."""
    first = balanced(wrong, count, rng)
    taken = {item.id for item in first}
    rest = balanced([item for item in items if item.id not in taken], count - len(first), rng)
    # What was wrong stands last, next to the question.
    return (*rest, *first)
