"""Leaks by documents: evaluation questions, and their answers, that stand in what prompts look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from harness.data import AuditSpec, Row, Split
from harness.records import Action, Finding, Severity
from harness.retrieval.documents import OVERLAP, Passage
from harness.retrieval.lexical import words

FEWEST_WORDS, FEWEST_LETTERS = 5, 20
"""A question with fewer of both is said by chance, and is not looked for."""
SHORT_ANSWER, BESIDE = 2, 5
"""An answer of so few letters stands anywhere by chance, and counts only within so many words of its question."""
RULE, ALONE = "leak_documents", "known_documents"

Place = tuple[str, bool]
"""File of the document, and whether the answer stands beside the question there."""


def document_leaks(
    splits: Sequence[Split], passages: Sequence[Passage], longest: int, spec: AuditSpec
) -> tuple[Finding, ...]:
    """What the documents know of the test and dev rows, word for word: case, punctuation and spacing do not count.

    A test question with its answer within a passage's length is `leak_documents`, one finding a row. A dev question
    with its answer, or a question alone, is `known_documents`, one finding a split and kind.

    splits: test and dev. longest: words of the longest passage.
    """
    texts = {name: _joined(list(parts), longest) for name, parts in groupby(passages, key=lambda part: part.file)}
    return tuple(
        finding for split in splits for finding in _of_split(split, texts, longest, spec) if finding.action != "ignore"
    )


def _of_split(split: Split, texts: Mapping[str, list[str]], longest: int, spec: AuditSpec) -> Iterator[Finding]:
    places = _places(split.rows, texts, longest)
    found = [(row, *places[at]) for at, row in enumerate(split.rows) if at in places]
    answered = [(row, file) for row, file, answer in found if answer]
    alone = [(row, file) for row, file, answer in found if not answer]
    if split.name == "test":
        for row, file in answered:
            message = (
                f"its question stands with its answer in the document {file}, which prompts look things up in; "
                "take it out of the documents, or out of test"
            )
            yield _finding(RULE, split, row, message, spec)
    elif answered:
        row, file = answered[0]
        message = (
            f"{len(answered)} of {len(split.rows)} dev questions stand with their answers in documents, the first in "
            f"{file}: a prompt that looks there will seem better than it is"
        )
        yield _finding(ALONE, split, row, message, spec)
    if alone:
        row, file = alone[0]
        message = (
            f"{len(alone)} of {len(split.rows)} {split.name} questions stand in documents without their answers, "
            f"the first in {file}"
        )
        yield _finding(ALONE, split, row, message, spec)


def _finding(rule: str, split: Split, row: Row, message: str, spec: AuditSpec) -> Finding:
    severity: Severity = spec.severity(rule)
    action: Action = spec.action(rule)
    return Finding(rule=rule, severity=severity, file=split.file, line=row.line, message=message, action=action)


def _places(rows: Sequence[Row], texts: Mapping[str, list[str]], longest: int) -> dict[int, Place]:
    """Where each row's question stands, by its number; a place with the answer is preferred."""
    asked = [_question(row) for row in rows]
    answers = [words(row.item.target) for row in rows]
    starts: dict[int, dict[tuple[str, ...], list[int]]] = {}
    for at, question in enumerate(asked):
        size = min(FEWEST_WORDS, len(question))
        if len(question) >= FEWEST_WORDS or sum(map(len, question)) >= FEWEST_LETTERS:
            starts.setdefault(size, {}).setdefault(tuple(question[:size]), []).append(at)
    places: dict[int, Place] = {}
    for file, text in texts.items():
        for size, known in starts.items():
            for begin, gram in enumerate(zip(*(text[n:] for n in range(size)), strict=False)):
                for at in known.get(gram, ()):
                    end = begin + len(asked[at])
                    if not places.get(at, ("", False))[1] and text[begin:end] == asked[at]:
                        places[at] = (file, _beside(text, begin, end, answers[at], longest))
    return places


def _question(row: Row) -> list[str]:
    """The words of the turns without system text; they are what is searched for."""
    return words("\n".join(turn.content for turn in row.item.messages if turn.role != "system"))


def _beside(text: list[str], begin: int, end: int, answer: list[str], longest: int) -> bool:
    """Whether an answer stands so near before or after its question that one passage can hold both."""
    if not answer:
        return False
    short = sum(map(len, answer)) <= SHORT_ANSWER
    reach = len(answer) + (BESIDE if short else max(BESIDE, longest - (end - begin)))
    sides = (text[max(0, begin - reach) : begin], text[end : end + reach])
    return any(f" {' '.join(answer)} " in f" {' '.join(side)} " for side in sides)


def _joined(parts: Sequence[Passage], longest: int) -> list[str]:
    """The words of a file, once each: where a long paragraph was cut, passages repeat the end of the one before."""
    text: list[str] = []
    repeated = longest // OVERLAP
    for part in parts:
        said = words(part.text)
        text += said[repeated:] if repeated and text[-repeated:] == said[:repeated] else said
    return text
