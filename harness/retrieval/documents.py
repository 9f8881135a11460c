"""Documents: a folder of text files, cut into passages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Problem, UsageError
from harness.retrieval.lexical import WORD

ENDINGS = (".md", ".txt")
"""Files that are read."""
WHERE = "prompt.retrieval.documents"
OVERLAP = 6
"""A paragraph that is cut repeats a passage's length through this number of words in the next passage."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document."""

    file: str
    """Name relative to the folder, with forward slashes."""
    number: int
    """Which passage of its file, from 1."""
    text: str


def read_passages(folder: Path, words: int) -> tuple[Passage, ...]:
    """The passages of all .txt and .md files under a folder, in the order of their names. words: the longest passage.

    Hidden files are left out. Raises UsageError with all faults at once: a folder that is not there or holds no text,
    files that cannot be read or are not UTF-8, links that lead out of the folder.
    """
    if not folder.is_dir():
        raise UsageError(Problem(WHERE, f"{folder} is not a folder", next="Correct the path"))
    problems: list[Problem] = []
    texts: dict[str, str] = {}
    for name, file in sorted(_files(folder, problems)):
        try:
            texts[name] = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as fault:
            hint = "Save it as UTF-8, or move it out of the folder"
            problems.append(Problem(f"{WHERE}: {name}", f"is not UTF-8 (byte {fault.start})", next=hint))
        except OSError as fault:
            problems.append(Problem(f"{WHERE}: {name}", f"cannot be read: {fault.strerror}"))
    if problems:
        raise UsageError(problems)
    found = tuple(
        Passage(name, number, text)
        for name, whole in texts.items()
        for number, text in enumerate(_passages(whole, words), 1)
    )
    if not found:
        what = f"{folder} holds {len(texts)} files with these endings, and no text" if texts else f"{folder} holds none"
        raise UsageError(Problem(WHERE, what, f"Read are {' and '.join(ENDINGS)} files, folders inside included"))
    return found


def _files(folder: Path, problems: list[Problem]) -> Iterator[tuple[str, Path]]:
    """Names and paths of what is to be read."""
    inside = folder.resolve()
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            path = Path(at, name)
            shown = path.relative_to(folder).as_posix()
            wanted = not name.startswith(".") and path.suffix.lower() in ENDINGS and name in files
            if path.is_symlink() and (wanted or name in folders) and not path.resolve().is_relative_to(inside):
                hint = "Put the file itself there"
                problems.append(Problem(f"{WHERE}: {shown}", "is a link that leads out of the folder", next=hint))
            elif wanted:
                yield shown, path


def _passages(text: str, most: int) -> Iterator[str]:
    """Whole paragraphs, as many as fit into a passage; a heading stays with what follows it."""
    packed: list[str] = []
    for paragraph in _paragraphs(text):
        if packed and _length("\n\n".join([*packed, paragraph])) > most:
            yield "\n\n".join(packed)
            packed = []
        packed.append(paragraph)
        if _length(paragraph) > most:
            yield from _cut(packed.pop(), most)
    if packed:
        yield "\n\n".join(packed)


def _paragraphs(text: str) -> Iterator[str]:
    """What stands between blank lines; Markdown headings together with the paragraph that they head."""
    headings: list[str] = []
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", "\n".join(text.splitlines())):
        if not paragraph.strip():
            continue
        headings.append(paragraph.strip("\n"))
        if not re.fullmatch(r"\s*#{1,6}\s[^\n]*", paragraph):
            yield "\n\n".join(headings)
            headings = []
    if headings:
        yield "\n\n".join(headings)


def _cut(paragraph: str, most: int) -> Iterator[str]:
    """Pieces of `most` words, each beginning with the end of the one before."""
    starts = [word.start() for word in WORD.finditer(paragraph)]
    step = most - most // OVERLAP
    for at in range(0, len(starts) - most // OVERLAP, step):
        end = starts[at + most] if at + most < len(starts) else len(paragraph)
        yield paragraph[(starts[at] if at else 0) : end].strip()


def _length(text: str) -> int:
    return sum(1 for _ in WORD.finditer(text))
