"""Word for word overlap: which evaluation question stands, whole or nearly, inside a longer training text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from zlib import crc32

NGRAM = 8
"""Words in a row that must agree."""

FEWEST = 5
"""N-grams of its own that an evaluation question needs; shorter ones are left to the near-copy search."""

MOST = 48
"""N-grams of one question that are kept, evenly spread: memory stays bounded for long documents."""

COVERED = 0.8
"""Share of a question's n-grams that a training text must hold, the end of the question among them: prompts of one
family begin with the same instructions and end with what they really ask."""

TAIL = 4
"""N-grams that are the end of a question."""

COMMON = 3
"""Evaluation questions that share an n-gram make it boilerplate, which gives nothing away."""


class Overlap:
    """The n-grams of all evaluation questions."""

    def __init__(self, questions: Sequence[str]) -> None:
        listed = [_ngrams(question.split(" ")) for question in questions]
        self._tails = [frozenset(grams[-TAIL:]) for grams in listed]
        taken = [_spread(set(grams)) for grams in listed]
        counts = Counter(gram for grams in taken for gram in grams)
        self._questions: dict[int, list[int]] = defaultdict(list)
        self._sizes: dict[int, int] = {}
        for number, grams in enumerate(taken):
            own = [gram for gram in grams if counts[gram] < COMMON]
            if len(own) >= FEWEST:
                self._sizes[number] = len(own)
                for gram in own:
                    self._questions[gram].append(number)

    def find(self, text: str) -> tuple[int, float] | None:
        """(question, share of its n-grams) of the question most covered by a bare text, or None."""
        if not self._sizes:
            return None
        grams = set(_ngrams(text.split(" ")))
        held = Counter(number for gram in grams if gram in self._questions for number in self._questions[gram])
        shares = {n: count / self._sizes[n] for n, count in held.items() if self._tails[n] & grams}
        best = max(shares, key=lambda number: (shares[number], -number), default=None)
        return (best, shares[best]) if best is not None and shares[best] >= COVERED else None


def _ngrams(words: list[str]) -> list[int]:
    return [crc32(" ".join(words[at : at + NGRAM]).encode()) for at in range(len(words) - NGRAM + 1)]


def _spread(grams: set[int]) -> set[int]:
    """The grams with the smallest hashes: a fair sample that another text with the same grams would give too."""
    return grams if len(grams) <= MOST else set(sorted(grams)[:MOST])
