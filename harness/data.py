"""The task's data: reading splits into items, their fingerprints, and the audit that guards the verdict.

A row is `{"messages": [...]}` whose last turn is the assistant's gold answer, or
`{"prompt": ..., "completion": ...}`; `id`, `cluster` and `slices` are optional, other
fields are left alone. Lines are split at `\\n` only: U+2028 inside a string is data.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import DataError, Problem
from harness.records import DataRecord, Finding, Item, Message, SplitName, SplitRecord, digest

SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


class DataSpec(BaseModel):
    """Where the task's rows are: three files, or one file and how to split it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    train: str | None = None
    """Training rows; demonstrations come from here too."""
    dev: str | None = None
    """Rows for the prompt race; never judged on."""
    test: str | None = None
    """Rows that the verdict rests on; sealed until then."""
    path: str | None = None
    """One file with all rows, instead of the three."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, dev and test when `path` is given."""
    seed: int = 0
    """Seed of that split."""
    limit: dict[SplitName, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Use only the first rows of a split, e.g. {train: 500}."""

    @model_validator(mode="after")
    def _one_way(self) -> DataSpec:
        files = [self.train, self.dev, self.test]
        if self.path is None and not all(files):
            missing = [name for name, file in zip(SPLITS, files, strict=True) if not file]
            raise ValueError(f"no file for {', '.join(missing)}; give train, dev and test, or path")
        if self.path is not None and any(files):
            raise ValueError("path and train/dev/test together; give one or the other")
        if min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6:
            raise ValueError(f"split {list(self.split)} must be three positive shares that sum to 1")
        return self


@dataclass(frozen=True, slots=True)
class Row:
    """One item and where it stands."""

    item: Item
    line: int


@dataclass(frozen=True, slots=True)
class Split:
    """One split of the task's data."""

    name: SplitName
    file: str
    rows: tuple[Row, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """The rows' items, in file order."""
        return tuple(row.item for row in self.rows)

    @property
    def fingerprint(self) -> str:
        """Content identity, independent of row order and of ids."""
        return digest(sorted(row.item.digest for row in self.rows))


@dataclass(frozen=True, slots=True)
class Data:
    """The three splits and the instruction that their rows share."""

    format: str
    train: Split
    dev: Split
    test: Split
    instruction: str
    """The system message that all rows carry, or empty."""

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """train, dev, test."""
        return self.train, self.dev, self.test


# ------------------------------------------------------------------------- reading


def load(spec: DataSpec, near: Path) -> Data:
    """Read all splits. Paths are relative to `near`, the spec's folder.

    Raises DataError with every fault of every file at once.
    """
    problems: list[Problem] = []
    formats: Counter[str] = Counter()
    splits: dict[SplitName, Split] = {}
    if spec.path is not None:
        rows = _read(near, spec.path, problems, formats)
        splits = _divide(spec, spec.path, rows)
    else:
        for name, file in zip(SPLITS, (spec.train, spec.dev, spec.test), strict=True):
            assert file is not None  # noqa: S101  held by DataSpec
            splits[name] = Split(name, file, tuple(_read(near, file, problems, formats)[: spec.limit.get(name)]))
    instruction, splits = _shared_instruction(splits)
    for split in splits.values():
        if not split.rows and not problems:
            problems.append(Problem(split.file, f"no rows for {split.name}", next="Add rows, or name another file"))
    if problems:
        raise DataError(problems)
    return Data("+".join(sorted(formats)), splits["train"], splits["dev"], splits["test"], instruction)


def _read(near: Path, file: str, problems: list[Problem], formats: Counter[str]) -> list[Row]:
    path = near / file
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = f"Paths are relative to the spec's folder, {near}"
        problems.append(Problem(file, "no such file", hint, "Create it, or correct the path"))
        return []
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(Problem(file, f"cannot read: {fault}", "UTF-8 JSON lines"))
        return []
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            form, item = _parse(line, f"{Path(file).stem}-{number}")
        except ValueError as fault:
            problems.append(Problem(f"{file}:{number}", str(fault)))
            continue
        if item.id in seen:
            hint = "Ids must be unique; leave them out to have them made"
            problems.append(Problem(f"{file}:{number}", f"id {item.id!r} stands on line {seen[item.id]} too", hint))
        seen[item.id] = number
        formats[form] += 1
        rows.append(Row(item, number))
    return rows


def _parse(line: str, default_id: str) -> tuple[str, Item]:
    """One physical line to (format, item). Raises ValueError in the user's words."""
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as fault:
        raise ValueError(f"not JSON: {fault.msg} at column {fault.colno}") from fault
    if not isinstance(row, dict):
        raise ValueError(f"got a JSON {type(row).__name__}; each line must be an object")
    if "messages" in row:
        form, turns = "messages", _turns(row["messages"])
    elif "prompt" in row and "completion" in row:
        form, turns = "prompt/completion", _pair(row["prompt"], row["completion"])
    else:
        got = ", ".join(sorted(row)) or "nothing"
        raise ValueError(f"got the fields {got}; a row needs `messages`, or `prompt` and `completion`")
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise ValueError("the last turn must be the assistant's gold answer, after at least one other turn")
    if not turns[-1].content.strip():
        raise ValueError("the gold answer is empty")
    slices = row.get("slices") or {}
    if not isinstance(slices, dict):
        raise ValueError(f"slices: got {slices!r}; an object of strings")
    cluster = row.get("cluster")
    return form, Item(
        id=str(row.get("id", default_id)),
        messages=turns[:-1],
        target=turns[-1].content,
        cluster=None if cluster is None else str(cluster),
        slices={str(key): str(value) for key, value in slices.items()},
    )


def _turns(messages: Any) -> tuple[Message, ...]:
    if not isinstance(messages, list):
        raise ValueError(f"messages: got {type(messages).__name__}; a list of turns")
    turns = []
    for index, turn in enumerate(messages):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"messages[{index}].role: got {role!r}; system, user or assistant")
        if not isinstance(content, str):
            raise ValueError(f"messages[{index}].content: got {type(content).__name__}; text")
        turns.append(Message(role=role, content=content))
    return tuple(turns)


def _pair(prompt: Any, completion: Any) -> tuple[Message, ...]:
    if isinstance(prompt, list) and isinstance(completion, list):
        return _turns(prompt) + _turns(completion)
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise ValueError("prompt and completion must both be text, or both be lists of turns")
    return Message(role="user", content=prompt), Message(role="assistant", content=completion)


def _divide(spec: DataSpec, file: str, rows: Sequence[Row]) -> dict[SplitName, Split]:
    """Seeded split of one file; rows with one text or one cluster stay together."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.item.cluster or _question(row.item), []).append(row)
    keys = sorted(families)
    random.Random(spec.seed).shuffle(keys)
    bounds = (spec.split[0] * len(rows), (spec.split[0] + spec.split[1]) * len(rows))
    parts: dict[SplitName, list[Row]] = {name: [] for name in SPLITS}
    placed = 0
    for key in keys:
        name = SPLITS[sum(placed >= bound for bound in bounds)]
        parts[name].extend(families[key])
        placed += len(families[key])
    return {name: Split(name, file, tuple(part[: spec.limit.get(name)])) for name, part in parts.items()}


def _shared_instruction(splits: dict[SplitName, Split]) -> tuple[str, dict[SplitName, Split]]:
    """Lift a system message that every row carries out of the rows: it is the task's own instruction."""
    firsts = {
        row.item.messages[0].content if row.item.messages[0].role == "system" else ""
        for split in splits.values()
        for row in split.rows
    }
    if len(firsts) != 1 or firsts == {""}:
        return "", splits

    def strip(row: Row) -> Row:
        return Row(row.item.model_copy(update={"messages": row.item.messages[1:]}), row.line)

    return firsts.pop(), {n: Split(n, s.file, tuple(map(strip, s.rows))) for n, s in splits.items()}


# -------------------------------------------------------------------------- audit


def _question(item: Item) -> str:
    """What is asked, folded: rows equal in it are the same question."""
    turns = (turn.content for turn in item.messages if turn.role != "system")
    return " ".join(" ".join(turns).casefold().split())


def audit(data: Data) -> DataRecord:
    """Fingerprints and findings. Does not raise: the caller decides what an error finding means."""
    findings = [*_leaks(data), *_repetitions(data.train), *_contradictions(data.train)]
    findings.sort(key=lambda f: (f.severity != "error", f.file, f.line))
    majority, score = _majority(data)
    return DataRecord(
        format=data.format,
        splits={s.name: SplitRecord(file=s.file, rows=len(s.rows), fingerprint=s.fingerprint) for s in data.splits},
        findings=tuple(findings),
        majority_answer=majority,
        majority_score=score,
    )


def refuse_errors(record: DataRecord) -> None:
    """Raise DataError when the audit found what would make the verdict a lie."""
    errors = [finding for finding in record.findings if finding.severity == "error"]
    if errors:
        raise DataError([Problem(f"{f.file}:{f.line}" if f.line else f.file, f.message) for f in errors])


def _leaks(data: Data) -> list[Finding]:
    """The same question in two splits: the verdict would rest on memory."""
    findings = []
    order = (data.test, data.dev, data.train)
    for position, kept in enumerate(order):
        known = {_question(row.item): row for row in kept.rows}
        for other in order[position + 1 :]:
            for row in other.rows:
                twin = known.get(_question(row.item))
                if twin is not None:
                    message = (
                        f"the same question stands in {kept.name} ({kept.file}:{twin.line}, id {twin.item.id}); "
                        f"remove it from {other.name}"
                    )
                    findings.append(
                        Finding(rule="leak_exact", severity="error", file=other.file, line=row.line, message=message)
                    )
    return findings


def _repetitions(train: Split) -> list[Finding]:
    first: dict[tuple[str, str], int] = {}
    findings = []
    for row in train.rows:
        key = (_question(row.item), row.item.target.strip())
        if key in first:
            message = f"repeats line {first[key]}"
            findings.append(
                Finding(rule="duplicate_exact", severity="warning", file=train.file, line=row.line, message=message)
            )
        first.setdefault(key, row.line)
    return findings


def _contradictions(train: Split) -> list[Finding]:
    answers: dict[str, Row] = {}
    findings = []
    for row in train.rows:
        twin = answers.setdefault(_question(row.item), row)
        if twin.item.target.strip() != row.item.target.strip():
            message = f"the same question has another answer on line {twin.line}"
            findings.append(
                Finding(rule="contradiction", severity="warning", file=train.file, line=row.line, message=message)
            )
    return findings


def _majority(data: Data) -> tuple[str | None, float | None]:
    """The most frequent train answer and its share of test, where answers form a closed set."""
    counts = Counter(item.target.strip() for item in data.train.items)
    if len(counts) > max(20, len(data.train.rows) // 5):
        return None, None
    answer = counts.most_common(1)[0][0]
    return answer, sum(item.target.strip() == answer for item in data.test.items) / len(data.test.rows)
