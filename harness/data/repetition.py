"""Rows that say again what another row, or an evaluation row, says: exact, near, contradicting, leaking."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.data.example import Example, folded
from harness.data.near import BATCH, Neighbours, Targets, signatures
from harness.data.overlap import Overlap
from harness.data.wording import another_problem, bare


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that takes two rows."""

    line: int
    rule: str
    message: str
    partner_line: int | None = None
    test_id: str | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One evaluation row that must not be learned from."""

    id: str
    where: str
    """The split or suite, e.g. `test`."""
    question: str
    answer: str


class Leakage:
    """Evaluation rows, ready to be compared with training rows."""

    def __init__(self, held: Sequence[Held], threshold: float) -> None:
        self.held = held
        self._exact: dict[int, int] = {}
        for number in reversed(range(len(held))):
            self._exact[_digest(folded(held[number].question))] = number
        texts = [bare(row.question) for row in held]
        self._targets = Targets(texts, threshold)
        self._overlap = Overlap(texts)

    def exact(self, asked: int) -> Held | None:
        """The evaluation row with this very question."""
        number = self._exact.get(asked)
        return None if number is None else self.held[number]

    def near(self, batch: _Batch, signed: object) -> Iterator[Hit]:
        """Near copies and overlaps of one batch of rows that are no exact copies."""
        told = set()
        for match in self._targets.match(signed, batch.bare):  # type: ignore[arg-type]
            row = self.held[match.target]
            same_answer = batch.answers[match.text] == _digest(folded(row.answer))
            if another_problem(batch.bare[match.text], self._targets.texts[match.target], same_answer):
                continue
            told.add(match.text)
            message = f"almost the question of {row.where} row {row.id}; keep it out of this file"
            yield Hit(batch.lines[match.text], "leak_near", message, None, row.id, round(match.similarity, 3))
        for at, text in enumerate(batch.whole):
            found = None if at in told else self._overlap.find(text)
            if found is not None:
                row = self.held[found[0]]
                message = f"holds {found[1]:.0%} of {row.where} row {row.id} word for word; keep it out of this file"
                yield Hit(batch.lines[at], "leak_ngram", message, None, row.id, round(found[1], 3))


@dataclass(slots=True)
class _Batch:
    """Rows that wait for their signatures."""

    lines: list[int]
    bare: list[str]
    whole: list[str]
    """Question and answer, bare, for overlap."""
    answers: list[int]


class Repetition:
    """Compares every row of a file with the rows before it and with the evaluation rows."""

    def __init__(self, threshold: float, leakage: Leakage | None, label_set: bool = False) -> None:
        self._leakage = leakage
        self._closed = label_set
        self._by_question: dict[int, tuple[int, int]] = {}
        self._by_row: dict[int, int] = {}
        self._pairs: dict[int, tuple[int, int]] = {}
        self._near = Neighbours(threshold)
        self._lines, self._answers = array("q"), array("Q")
        self._batch = _Batch([], [], [], [])

    def add(self, example: Example, question: str) -> Iterator[Hit]:
        """What one row repeats; near copies are told later, by batches and by `finish`."""
        asked, answered = _digest(folded(question)), _digest(_answer_key(example))
        leaked = self._leakage.exact(asked) if self._leakage else None
        if leaked is not None:
            message = f"the same question stands in {leaked.where} row {leaked.id}; keep it out of this file"
            yield Hit(example.line, "leak_exact", message, None, leaked.id, 1.0)
        row = asked ^ (answered * 0x9E3779B97F4A7C15 & _MASK)
        earlier = self._by_row.setdefault(row, example.line)
        if earlier != example.line:
            yield Hit(
                example.line, "duplicate_exact", f"repeats question and answer of line {earlier}", earlier, None, 1.0
            )
            return
        yield from self._contradiction(example, asked, answered)
        yield from self._queue(example, question, answered, skip_leaks=leaked is not None)

    def _contradiction(self, example: Example, asked: int, answered: int) -> Iterator[Hit]:
        if example.rejected is not None:
            ends = [_digest(folded(text)) for text in (example.answer, example.rejected)]
            line, chosen = self._pairs.setdefault(asked ^ ends[0] ^ ends[1], (example.line, ends[0]))
            if line != example.line and chosen == ends[1]:
                yield Hit(example.line, "preference_contradiction", f"line {line} prefers the opposite; keep one", line)
        elif example.desirable is not None:
            said = asked ^ _digest(folded(example.answer))
            line, other = self._pairs.setdefault(said, (example.line, answered))
            if line != example.line and other != answered:
                yield Hit(
                    example.line, "contradiction", f"line {line} judges the same answer otherwise; keep one", line
                )
        else:
            line, other = self._by_question.setdefault(asked, (example.line, answered))
            if line != example.line and other != answered:
                yield Hit(
                    example.line, "contradiction", f"line {line} answers the same question otherwise; keep one", line
                )

    def _queue(self, example: Example, question: str, answered: int, skip_leaks: bool) -> Iterator[Hit]:
        text = bare(question)
        if not text:
            return
        batch = self._batch
        batch.lines.append(example.line)
        batch.bare.append(text)
        batch.answers.append(_digest(folded(example.answer)))
        batch.whole.append("" if skip_leaks or not self._leakage else f"{text} {bare(example.answer)}")
        self._answers.append(answered)
        self._lines.append(example.line)
        if len(batch.lines) >= BATCH:
            yield from self._flush()

    def _flush(self) -> Iterator[Hit]:
        batch, self._batch = self._batch, _Batch([], [], [], [])
        signed = signatures(batch.bare)
        self._near.add(signed, batch.bare)
        if self._leakage is not None:
            exact = {line for line, whole in zip(batch.lines, batch.whole, strict=True) if not whole}
            yield from (hit for hit in self._leakage.near(batch, signed) if hit.line not in exact)

    def finish(self, closed_set: bool) -> Iterator[Hit]:
        """What is left: near copies of the last batch's rows, and near copies among all rows.

        `closed_set` says that answers are labels, so that near copies with another label contradict each other.
        """
        yield from self._flush()
        told: set[tuple[int, str]] = set()
        for earlier, later, close in self._near.pairs():
            line, partner = self._lines[later], self._lines[earlier]
            same_answer = self._answers[earlier] == self._answers[later]
            if another_problem(self._near.text(earlier), self._near.text(later), same_answer):
                continue
            if same_answer:
                rule, message = "duplicate_near", f"almost the question of line {partner}, with its answer"
            elif closed_set:
                rule, message = "near_contradiction", f"almost the question of line {partner}, with another label"
            else:
                continue
            if (line, rule) not in told:
                told.add((line, rule))
                yield Hit(line, rule, message, partner, None, round(close, 3))

    def close(self) -> None:
        """Give the temporary files back."""
        self._near.close()


_MASK = (1 << 64) - 1


def _digest(text: str) -> int:
    """64 bits of a text's identity."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _answer_key(example: Example) -> str:
    """What must agree for two rows with one question to be the same row."""
    parts: Iterable[str] = (
        folded(example.answer),
        "" if example.rejected is None else f"\0{folded(example.rejected)}",
        "" if example.desirable is None else f"\0{example.desirable}",
    )
    return "".join(parts)
