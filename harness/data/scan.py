"""The audit of one file in one pass and bounded memory, leakage into given evaluation rows included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from harness.data.answering import answer_faults
from harness.data.example import SYSTEM, Example
from harness.data.formats import detect
from harness.data.labels import Answers, Balance
from harness.data.lines import Fault, RawRow
from harness.data.normal import normalise
from harness.data.personal import masked, personal_faults
from harness.data.policy import RULES, AuditSpec
from harness.data.repetition import Held, Hit, Leakage, Repetition
from harness.data.textual import text_faults
from harness.data.whole import Whole
from harness.records import Finding

Source = Callable[[], Iterator[RawRow]]
"""Opens a file for one more reading."""

SAMPLE = 1000
"""Rows that are looked at first, to know the file's format and its system message."""

SHARED = 0.5
"""Share of the sampled rows that must carry a system message for it to be the file's own."""

FAMILIES = {"preference": "preference", "kto": "kto"}
"""Formats that another format's rows cannot be rewritten as; all others are conversations."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What most rows of a file have in common."""

    format: str
    """The most frequent row format, or empty when no row has one."""
    system: str
    """The file's own system message, or empty."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What the audit of one file found."""

    rows: int
    """Rows that are not blank, well-formed or not."""
    shape: Shape
    formats: dict[str, int]
    """Well-formed rows by format."""
    findings: tuple[Finding, ...]
    """By line, then by rule in the table's order; those about the whole file first."""
    balance: Balance | None
    """The labels, where answers form a closed set."""
    refusals: int
    """Answers that refuse."""


def shape_of(rows: Iterable[RawRow]) -> Shape:
    """Format and system message that most of the first rows share."""
    sample = [row for row in islice(rows, SAMPLE) if row.value is not None]
    formats = Counter(found for row in sample if row.value is not None and (found := detect(row.value)))
    examples = [example for row in sample if (example := normalise(row)[0]) is not None]
    systems = Counter(example.system for example in examples)
    system, count = systems.most_common(1)[0] if systems else ("", 0)
    return Shape(formats.most_common(1)[0][0] if formats else "", system if count >= SHARED * len(examples) else "")


def examples_of(source: Source) -> Iterator[tuple[Example, str]]:
    """(example, question) of every well-formed row; the file's own system message is no part of the question."""
    shape = shape_of(source())
    for raw in source():
        example, _ = normalise(raw, shape.system)
        if example is not None:
            yield example, example.question(shape.system)


def held_rows(source: Source, where: str) -> tuple[list[Held], frozenset[str]]:
    """The rows of an evaluation file, and their answers."""
    rows, answers = [], set()
    for example, question in examples_of(source):
        rows.append(Held(masked(example.id) or f"line {example.line}", where, question, example.answer))
        answers.add(example.answer.strip())
    return rows, frozenset(answers)


def scan(
    source: Source,
    file: str,
    spec: AuditSpec,
    held: Sequence[Held] = (),
    known_labels: frozenset[str] = frozenset(),
) -> Scan:
    """Audit one file. `held` are the evaluation rows that it must not give away.

    Raises DataError when the file cannot be read; what is wrong with its rows is found, not raised.
    """
    shape = shape_of(source())
    rows = 0
    with closing(_Pass(shape, spec, Leakage(held, spec.near) if held else None)) as one:
        for raw in source():
            rows += 1
            one.look(raw)
        one.finish(known_labels)
    if rows == 0:
        one.hits.append(Hit(0, "no_rows", "the file has no row"))
    return Scan(rows, shape, dict(one.formats), found_by(one.hits, file, spec), one.answers.balance, one.whole.refusals)


def scan_examples(
    examples: Iterable[Example],
    shape: Shape,
    file: str,
    spec: AuditSpec,
    held: Sequence[Held] = (),
    known_labels: frozenset[str] = frozenset(),
) -> tuple[Finding, ...]:
    """Audit rows that are in the normal form already; what `scan` does after reading."""
    with closing(_Pass(shape, spec, Leakage(held, spec.near) if held else None)) as one:
        for example in examples:
            one.look_at(example)
        one.finish(known_labels)
    return found_by(one.hits, file, spec)


def found_by(hits: Iterable[Hit], file: str, spec: AuditSpec) -> tuple[Finding, ...]:
    """Hits as the policy sees them, by line and then in the order of the rules."""
    return tuple(sorted(_findings(hits, file, spec), key=lambda f: (f.line, _ORDER[f.rule])))


_ORDER = {name: number for number, name in enumerate(RULES)}


class _Pass:
    """One reading of one file, row by row, with everything that watches it."""

    def __init__(self, shape: Shape, spec: AuditSpec, leakage: Leakage | None) -> None:
        self.shape = shape
        self.formats: Counter[str] = Counter()
        self.hits: list[Hit] = []
        self.answers = Answers(spec.labels)
        self.whole = Whole(shape.system)
        self._repetition = Repetition(spec.near, leakage)
        self._system_seen = False

    def look(self, raw: RawRow) -> None:
        """Everything that one row shows."""
        example, faults = normalise(raw, self.shape.system)
        self._tell(raw.line, faults)
        if example is None:
            if raw.value is not None:
                self._tell(raw.line, _leaf_faults(raw.value))
            return
        odd = self._odd_format(example)
        if odd is not None:
            self._tell(raw.line, (odd,))
            if odd.rule == "unknown_format":
                return
        self.look_at(example)

    def look_at(self, example: Example) -> None:
        """Everything that one row in the normal form shows."""
        self.formats[example.format] += 1
        for where, text in self._texts(example):
            self._tell(example.line, text_faults(where, text))
            self._tell(example.line, personal_faults(where, text))
        self._tell(example.line, answer_faults(example))
        self.hits += self._repetition.add(example, example.question(self.shape.system))
        self.answers.add(example)
        self.whole.add(example)

    def finish(self, known_labels: frozenset[str]) -> None:
        """What only the end of the file shows."""
        balance = self.answers.balance
        self.hits += self._repetition.finish(closed_set=balance is not None)
        self.hits += self.answers.hits(known_labels)
        self.hits += self.whole.hits(balance)

    def close(self) -> None:
        """Give temporary files back, whatever happened."""
        self._repetition.close()

    def _tell(self, line: int, faults: Iterable[Fault]) -> None:
        self.hits += [Hit(line, fault.rule, fault.message) for fault in faults]

    def _odd_format(self, example: Example) -> Fault | None:
        got, usual = example.format, self.shape.format
        if got == usual:
            return None
        if FAMILIES.get(got) != FAMILIES.get(usual):
            return Fault("unknown_format", f"a {got} row in a file of {usual} rows; keep them in files of their own")
        return Fault("mixed_format", f"a {got} row in a file of {usual} rows")

    def _texts(self, example: Example) -> Iterator[tuple[str, str]]:
        """All texts; the system message that the file shares is looked at once."""
        for where, text in example.texts():
            if where in SYSTEM and text == self.shape.system:
                if self._system_seen:
                    continue
                self._system_seen = True
            yield where, text


def _leaf_faults(value: object) -> Iterator[Fault]:
    """Personal data in a row that is otherwise broken: it is in the file all the same."""
    if isinstance(value, str):
        yield from personal_faults("the row", value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaf_faults(inner)


def _findings(hits: Iterable[Hit], file: str, spec: AuditSpec) -> Iterator[Finding]:
    """Hits as the policy sees them, each said once."""
    seen = set()
    for hit in hits:
        action = spec.action(hit.rule)
        if action == "ignore" or (hit.line, hit.rule, hit.message) in seen:
            continue
        seen.add((hit.line, hit.rule, hit.message))
        yield Finding(
            rule=hit.rule,
            severity=spec.severity(hit.rule),
            file=file,
            line=hit.line,
            message=masked(hit.message),  # a role, a field or a label may hold anything
            action=action,
            partner_line=hit.partner_line,
            test_id=hit.test_id,
            similarity=hit.similarity,
        )
