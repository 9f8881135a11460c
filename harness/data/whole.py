"""What only the whole file shows: lengths out of range, answers that break off, too few rows, odd system messages."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np

from harness.data.answering import refuses
from harness.data.endings import Endings
from harness.data.example import Example
from harness.data.labels import DOMINANT, FEW_PER_LABEL, Balance
from harness.data.repetition import Hit

LONG_AT_LEAST, LONG_TIMES = 4000, 8
"""A row is over-long above so many characters and so many times the upper quartile."""

MOST_SLICES = 1000
"""Distinct slices that are counted; with more of them they are ids rather than slices."""

FEW_ROWS = {"label": 100, "text": 500}
"""Rows below which a task is thin: guides of the field say 50-100 for a style, 500 for a task, 1,000 for knowledge."""


class Whole:
    """Watches every row of a file and tells, at its end, what only the whole shows."""

    def __init__(self, shared_system: str) -> None:
        self._system = shared_system
        self._lines, self._lengths = array("q"), array("q")
        self._other_system, self._no_system = array("q"), array("q")
        self._endings = Endings()
        self._ids: dict[str, int] = {}
        self._slices: Counter[tuple[str, str]] = Counter()
        self.refusals = 0
        self._same_ids: list[tuple[int, int]] = []

    def add(self, example: Example) -> None:
        """Count one row."""
        self._lines.append(example.line)
        self._lengths.append(sum(len(text) for _, text in example.texts()))
        if self._system and example.system != self._system:
            (self._other_system if example.system else self._no_system).append(example.line)
        self.refusals += refuses(example.answer)
        if len(self._slices) < MOST_SLICES:
            self._slices.update(example.slices.items())
        if example.id:
            earlier = self._ids.setdefault(example.id, example.line)
            if earlier != example.line:
                self._same_ids.append((example.line, earlier))
        self._endings.add(example)

    def hits(self, balance: Balance | None) -> Iterator[Hit]:
        """Everything odd, row by row and for the file (line 0)."""
        if not self._lines:
            return
        yield from self._too_long()
        for line, earlier in self._same_ids:
            yield Hit(line, "duplicate_id", f"line {earlier} has the same id; leave ids out to have them made", earlier)
        for lines, what in (
            (self._other_system, "another system message than"),
            (self._no_system, "no system message, as"),
        ):
            if len(lines) <= len(self._lines) / 4:
                for line in lines:
                    yield Hit(line, "mixed_system", f"has {what} most rows of the file")
        if balance is None:
            yield from self._endings.hits()
        yield from self._coverage(balance)

    def _too_long(self) -> Iterator[Hit]:
        lengths = np.frombuffer(self._lengths, dtype=np.int64)
        limit = max(LONG_AT_LEAST, LONG_TIMES * float(np.quantile(lengths, 0.75)))
        for at in np.nonzero(lengths > limit)[0].tolist():
            usual = int(np.median(lengths))
            yield Hit(self._lines[at], "over_long", f"has {lengths[at]} characters; the median row has {usual}")

    def _coverage(self, balance: Balance | None) -> Iterator[Hit]:
        rows, needed = len(self._lines), FEW_ROWS["text" if balance is None else "label"]
        if rows < needed:
            yield Hit(0, "few_rows", f"{rows} rows; such a task usually needs {needed} or more")
        scarce = [f"{name}={value}" for (name, value), count in self._slices.items() if count < FEW_PER_LABEL]
        if scarce and len(scarce) < MOST_SLICES:
            message = (
                f"{len(scarce)} of {len(self._slices)} slices have under {FEW_PER_LABEL} rows: {', '.join(scarce[:5])}"
            )
            yield Hit(0, "few_rows_per_slice", message)
        if balance is None:
            return
        if balance.share >= DOMINANT:
            message = f"{balance.share:.0%} of the rows have one label; always giving it is right as often"
            yield Hit(0, "class_imbalance", message)
        thin = [label for label, count in balance.labels.items() if count < FEW_PER_LABEL]
        if thin:
            yield Hit(
                0, "few_rows_per_label", f"{len(thin)} of {len(balance.labels)} labels have under {FEW_PER_LABEL} rows"
            )
