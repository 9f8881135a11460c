"""How answers end: which one breaks off where the others of the file come to an end."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator

from harness.data.example import Example
from harness.data.repetition import Hit
from harness.data.wording import words

ENDINGS = ".!?…。！？\"'”’)]}`*|>:;。"
CLOSED = 0.85
"""Share of answers with an end sign from which one without is told."""

ALIKE = 0.95
"""Share of answers that must end in one manner, or close what they open, for another to be told."""

FEWEST = 50
"""Answers from which such a manner is one."""

DANGLING = frozenset(
    re.findall(
        r"\w+",
        "a an the of and or but with for to in on at by from that which who her his their its is are was were be been"
        " has have had as if than because",
    )
)
"""Words that no sentence ends with."""

MOST_WORDS = 300_000
"""Distinct words that are remembered, to tell a word that breaks off from one that others use."""

MARK = re.compile(r"\W+(?=\s)|\w+:(?=\s)")
"""What a last line begins with where answers end in a manner: `#### 7`, `Answer: 7`."""

MOST_MARKS = 1000

BRACKETS = ("()", "[]", "{}")


class Endings:
    """Watches the end of every answer."""

    def __init__(self) -> None:
        self._rows = 0
        self._open: list[tuple[int, str]] = []
        self._words: Counter[str] = Counter()
        self._marks: dict[str, int] = {"": 0}
        self._lines, self._mark_of = array("q"), array("i")
        self._unbalanced = array("q")

    def add(self, example: Example) -> None:
        """Look at one answer."""
        self._rows += 1
        answer = example.answer.rstrip()
        if answer and answer[-1] not in ENDINGS:
            last = words(answer[-60:])[-1:]
            if last and len(self._open) < self._rows * (1 - CLOSED) + 50:
                self._open.append((example.line, last[0]))
        self._lines.append(example.line)
        self._mark_of.append(self._mark(answer))
        if _unbalanced(answer):
            self._unbalanced.append(example.line)
        if len(self._words) < MOST_WORDS:
            self._words.update(words(answer))
            for turn in example.prompt:
                self._words.update(words(turn.content))

    def _mark(self, answer: str) -> int:
        """The number of the mark that the last line begins with; 0 for none."""
        found = MARK.match(answer, answer.rfind("\n") + 1)
        if found is None or (found[0] not in self._marks and len(self._marks) >= MOST_MARKS):
            return 0
        return self._marks.setdefault(found[0], len(self._marks))

    def hits(self) -> Iterator[Hit]:
        """Answers that break off, each told once."""
        told = dict.fromkeys(self._endless(), "the answer has no end; nearly all others have")
        told |= dict.fromkeys(self._half_open(), "the answer opens a bracket or a quote that it does not close")
        told |= dict.fromkeys(self._unmarked(), "the last line does not begin as those of nearly all answers do")
        for line in sorted(told):
            yield Hit(line, "truncated_answer", told[line])

    def _endless(self) -> Iterator[int]:
        """Without an end sign, where nearly all have one, and with a last word that is no last word."""
        if len(self._open) > (1 - CLOSED) * self._rows:
            return
        for line, last in self._open:
            if last in DANGLING or (len(last) == 1 and last.isalpha()) or self._words[last] <= 1:
                yield line

    def _half_open(self) -> Iterator[int]:
        if self._rows >= FEWEST and len(self._unbalanced) <= (1 - ALIKE) * self._rows:
            yield from self._unbalanced

    def _unmarked(self) -> Iterator[int]:
        """Last lines that do not begin as those of nearly all answers do, e.g. with `####`."""
        usual, count = Counter(self._mark_of).most_common(1)[0] if self._mark_of else (0, 0)
        if usual and self._rows >= FEWEST and count >= ALIKE * self._rows:
            yield from (line for line, mark in zip(self._lines, self._mark_of, strict=True) if mark != usual)


def _unbalanced(answer: str) -> bool:
    """Whether it ends without an end sign and inside a bracket or a double quote, or a single one that opens."""
    if not answer or answer[-1] in ENDINGS:
        return False
    if any(answer.count(pair[0]) > answer.count(pair[1]) for pair in BRACKETS) or answer.count('"') % 2:
        return True
    return bool(re.search(r"[=<>(,] *'[^']*$", answer))
