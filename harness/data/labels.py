"""Answers as a whole: whether they form a closed set or are JSON, and which rows do not belong."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

from harness.data.answering import unfenced
from harness.data.example import Example, folded
from harness.data.lines import shown
from harness.data.personal import masked
from harness.data.repetition import Hit

LONGEST_LABEL = 60
"""Characters of the longest answer that can be a label."""

MOST_LABELS = 2000
"""More distinct answers than this are no closed set."""

SETTLED = 0.85
"""Share of answers that must be frequent labels, or JSON, for the rest to be out of place."""

RARE, NEVER_RARE = 0.15, 10
"""A label with less than this share of the mean label's rows is rare, unless it has so many rows all the same."""

DOMINANT = 0.8
"""Share of one label from which the classes are out of balance; 20 % is said to be the least that is learned well."""

FEW_PER_LABEL = 10
"""Rows that a label should at least have."""

WORDS = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Balance:
    """How the answers of a closed set are spread."""

    labels: dict[str, int]
    """Rows per label, most frequent first."""
    majority: str
    share: float
    """Share of the majority label among the rows: what always giving it would score on rows like these."""


class Answers:
    """Watches every answer of a file and tells, at its end, which do not belong."""

    def __init__(self, given: tuple[str, ...] = ()) -> None:
        self._given = given
        self._counts: Counter[str] = Counter()
        self._short = self._json = self._all = 0
        self._lines = array("q")
        self._labels: dict[str, int] = {}
        self._label_of = array("i")
        self._no_json, self._fenced = array("q"), array("q")
        self._system: Counter[str] = Counter()

    def add(self, example: Example) -> None:
        """Count one answer."""
        self._all += 1
        answer = example.answer.strip()
        self._watch_json(example.line, answer)
        if len(answer) > LONGEST_LABEL or (answer not in self._counts and len(self._counts) >= MOST_LABELS):
            answer = ""
        else:
            self._short += 1
            self._counts[answer] += 1
        self._lines.append(example.line)
        self._label_of.append(self._labels.setdefault(answer, len(self._labels)))
        if len(self._system) < 100:
            self._system[example.system] += 1

    def _watch_json(self, line: int, answer: str) -> None:
        bare = unfenced(answer)
        if _is_json(bare):
            self._json += 1
            if bare != answer:
                self._fenced.append(line)
        elif self._all < 100 or self._json > self._all / 4:
            self._no_json.append(line)

    @property
    def balance(self) -> Balance | None:
        """The labels, where the answers form a closed set."""
        kept = {label: self._counts[label] for label in self._given} if self._given else self._frequent()
        if not kept or self._all == 0:
            return None
        ordered = dict(sorted(kept.items(), key=lambda item: -item[1]))
        majority = next(iter(ordered))
        return Balance(ordered, majority, ordered[majority] / self._all)

    def _frequent(self) -> dict[str, int]:
        """Labels that are no exceptions, or nothing where the answers are no closed set."""
        if self._short < SETTLED * self._all or self._all < 20 or self._json > self._all / 2:
            return {}
        ranked = self._counts.most_common()
        settled, covered = [], 0
        for label, count in ranked:
            if covered >= SETTLED * self._all:
                break
            settled.append((label, count))
            covered += count
        if covered < SETTLED * self._all or len(settled) > max(2, self._all / 5):
            return {}
        least = min(NEVER_RARE, max(2.0, RARE * mean(count for _, count in ranked if count > 1)))
        return {label: count for label, count in ranked if count >= least}

    def hits(self, known: frozenset[str]) -> Iterator[Hit]:
        """Rows whose answer does not belong. `known` are the labels of the evaluation rows."""
        yield from self._json_hits()
        balance = self.balance
        if balance is None:
            return
        listed = self._listed(balance)
        wrong: dict[int, tuple[str, str]] = {}
        for label, number in self._labels.items():
            if label in balance.labels or label in known:
                continue
            wrong[number] = self._judged(label, balance, bool(known) or listed or bool(self._given))
        for line, number in zip(self._lines, self._label_of, strict=True):
            if number in wrong:
                yield Hit(line, *wrong[number])

    def _judged(self, label: str, balance: Balance, sure: bool) -> tuple[str, str]:
        told = shown(masked(label)) if label else "a long text"
        near = _same_but_for_form(label, balance)
        if near:
            return "label_not_in_set", f"the answer {told} is not a label; did it mean {shown(near)}?"
        if sure or not label:
            return "label_not_in_set", f"the answer {told} is none of the {len(balance.labels)} labels"
        return "rare_label", f"the label {told} has {self._counts[label]} rows; the mean label has many more"

    def _listed(self, balance: Balance) -> bool:
        """Whether the file's system message lists the labels, so that one which is not there is wrong."""
        system = self._system.most_common(1)[0][0] if self._system else ""
        words = set(WORDS.findall(system))
        return all(label in words or label in system for label in balance.labels)

    def _json_hits(self) -> Iterator[Hit]:
        if self._json < SETTLED * self._all or self._all < 20:
            return
        for line in self._no_json:
            yield Hit(line, "bad_json_answer", f"the answer is not JSON, as {self._json} of {self._all} are")
        if len(self._fenced) <= self._json / 2:
            for line in self._fenced:
                yield Hit(line, "fenced_json_answer", "the JSON answer stands inside a code fence, the others do not")


def _same_but_for_form(label: str, balance: Balance) -> str | None:
    """The label that this one would be without case, spaces, a slip of the pen or a sentence around it."""
    plain = _plain(label)
    for known in balance.labels:
        if _plain(known) == plain or (len(plain) > 4 and sorted(_plain(known)) == sorted(plain)):
            return known
    words = set(WORDS.findall(label)) | set(WORDS.findall(label.casefold()))
    return next((known for known in balance.labels if known in words and len(words) > 1), None)


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "", folded(label))


def _is_json(text: str) -> bool:
    """Whether it is a JSON object or list; a bare number or word is a label."""
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
