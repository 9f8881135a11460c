"""Files to splits, in any container that `tables` reads."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.data.parsing import UNNAMED, parse, parse_preference
from harness.data.rows import SPLITS, Data, DataSpec, Row, SealedSplit, Split, question
from harness.data.splitting import divide
from harness.data.tables import rows_of
from harness.errors import DataError, Problem
from harness.records import Item, Preference, SplitName, digest

T = TypeVar("T")
Splits = dict[SplitName, Split]


def load(spec: DataSpec, near: Path) -> Data:
    """Read all splits. Paths are relative to `near`, the spec's folder.

    A system message that all rows carry becomes the instruction; rows of dev or test that ask one
    question share a cluster; rows without an id get one from their content.
    Raises DataError with every fault of every file at once.
    """
    problems: list[Problem] = []
    formats: Counter[str] = Counter()
    columns = spec.columns or None
    if spec.path is not None:
        splits = divide(spec, spec.path, _read(near, spec.path, problems, formats, columns))
    else:
        splits = {}
        for name, file in zip(SPLITS, (spec.train, spec.dev, spec.test), strict=True):
            assert file is not None  # noqa: S101  held by DataSpec
            splits[name] = Split(
                name, file, tuple(_read(near, file, problems, formats, columns)[: spec.limit.get(name)])
            )
    for split in splits.values():
        if not split.rows and not problems:
            problems.append(Problem(split.file, f"no rows for {split.name}", next="Add rows, or name another file"))
    if problems:
        raise DataError(problems)
    instruction, splits = _shared_instruction(splits)
    train, dev, test = splits["train"], _clustered(splits["dev"]), _clustered(splits["test"])
    return Data("+".join(sorted(formats)), _named(train), _named(dev), SealedSplit(_named(test)), instruction)


def load_preferences(file: str, near: Path) -> tuple[Preference, ...]:
    """Pairs of answers, and answers found good or bad, to learn preferences from.

    A system message that all rows carry is an instruction and lifted out of them, as out of the task's rows: they are
    learned from under the prompt that is served.
    Raises DataError with every fault of the file at once.
    """
    problems: list[Problem] = []
    found: dict[str, Preference] = {}
    for line, pair in _parsed(near, file, problems, None, parse_preference):
        id = f"pair-{line}" if pair.id == UNNAMED else pair.id
        if id in found:
            problems.append(Problem(f"{file}:{line}", f"id {id!r} stands there twice", "Ids must be unique"))
        found[id] = pair.model_copy(update={"id": id})
    if not found and not problems:
        problems.append(Problem(file, "no rows", next="Add rows, or name another file"))
    if problems:
        raise DataError(problems)
    shared = {pair.messages[0] for pair in found.values()}
    if len(shared) == 1 and shared.pop().role == "system":
        return tuple(pair.model_copy(update={"messages": pair.messages[1:]}) for pair in found.values())
    return tuple(found.values())


def load_items(file: str, near: Path, instruction: str) -> tuple[Item, ...]:
    """Rows of a further file in the task's form, e.g. items that must not break.

    instruction: the system message that the task's rows share; it is lifted out of these rows too.
    Raises DataError with every fault of the file at once.
    """
    problems: list[Problem] = []
    rows = _read(near, file, problems, Counter())
    if not rows and not problems:
        problems.append(Problem(file, "no rows", next="Add rows, or name another file"))
    if problems:
        raise DataError(problems)

    def lifted(item: Item) -> Item:
        first = item.messages[0]
        shared = instruction and first.role == "system" and first.content == instruction
        return item.model_copy(update={"messages": item.messages[1:]}) if shared else item

    return _named(_changed(Split("test", file, tuple(rows)), lifted)).items


def _read(
    near: Path, file: str, problems: list[Problem], formats: Counter[str], columns: Mapping[str, str] | None = None
) -> list[Row]:
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for line, (form, item) in _parsed(near, file, problems, columns, parse):
        if item.id in seen:
            hint = "Ids must be unique; leave them out to have them made"
            what = f"id {item.id!r} stands on line {seen[item.id]} too"
            problems.append(Problem(f"{file}:{line}", what, hint))
        if item.id != UNNAMED:
            seen.setdefault(item.id, line)
        formats[form] += 1
        rows.append(Row(item, line))
    return rows


def _parsed(
    near: Path,
    file: str,
    problems: list[Problem],
    columns: Mapping[str, str] | None,
    read: Callable[[dict[str, Any]], T],
) -> Iterator[tuple[int, T]]:
    """(line, what was read of it) of every row of a file; its faults go into problems."""
    try:
        for raw in rows_of(file, near, columns):
            problems += [Problem(f"{file}:{raw.line}", fault.message) for fault in raw.faults]
            if raw.value is None:
                continue
            try:
                made = read(raw.value)
            except ValueError as fault:
                problems.append(Problem(f"{file}:{raw.line}", str(fault)))
                continue
            yield raw.line, made
    except DataError as fault:
        looked = "" if (near / file).exists() else f"Paths are relative to the spec's folder, {near}"
        problems += [dataclasses.replace(p, where=file, allowed=looked or p.allowed) for p in fault.problems]


def _shared_instruction(splits: Splits) -> tuple[str, Splits]:
    """Lift a system message that every row carries out of the rows: it is the task's own instruction."""
    firsts = {
        row.item.messages[0].content if row.item.messages[0].role == "system" else ""
        for split in splits.values()
        for row in split.rows
    }
    if len(firsts) != 1 or firsts == {""}:
        return "", splits
    lifted = {
        name: _changed(split, lambda item: item.model_copy(update={"messages": item.messages[1:]}))
        for name, split in splits.items()
    }
    return firsts.pop(), lifted


def _clustered(split: Split) -> Split:
    """Rows that ask one question get one cluster, unless they have one: they are one piece of evidence."""
    counts = Counter(question(item) for item in split.items)
    given: dict[str, str] = {}
    for item in split.items:
        if item.cluster is not None:
            asked = question(item)
            given[asked] = min(given.get(asked, item.cluster), item.cluster)

    def cluster(item: Item) -> Item:
        asked = question(item)
        if item.cluster is not None or counts[asked] < 2:
            return item
        return item.model_copy(update={"cluster": given.get(asked, f"question-{digest(asked)[:12]}")})

    return _changed(split, cluster)


def _named(split: Split) -> Split:
    """Ids from content for rows without one, so that neither row order nor file names matter to them."""
    taken = {item.id for item in split.items}

    def name(item: Item) -> Item:
        if item.id != UNNAMED:
            return item
        stem = f"{split.name}-{item.digest[:12]}"
        id, count = stem, 1
        while id in taken:
            count += 1
            id = f"{stem}-{count}"
        taken.add(id)
        return item.model_copy(update={"id": id})

    return _changed(split, name)


def _changed(split: Split, change: Callable[[Item], Item]) -> Split:
    return Split(split.name, split.file, tuple(Row(change(row.item), row.line) for row in split.rows))
