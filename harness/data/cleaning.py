"""`harness data clean`: the repaired file, and beside it every row that was dropped or changed, with its reason.

The audit is repeated over what it left until it changes nothing: a repaired row may turn out to be a duplicate, and
without a duplicate another rule may see the file otherwise. So cleaning a clean file changes nothing.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.data.answering import unfenced
from harness.data.files import held_out, open_rows
from harness.data.formats import Row, as_conversation, detect
from harness.data.lines import RawRow
from harness.data.personal import ALL_RULES, masked, redact
from harness.data.policy import AuditSpec
from harness.data.repetition import Hit
from harness.data.scan import Shape, Source, found_by, scan, shape_of
from harness.data.tables import rows_of
from harness.data.textual import FIXES
from harness.errors import DataError, Problem
from harness.records import Finding

TABLES = (".csv", ".tsv", ".parquet", ".json")
"""Names under which the written lines would be read as something else."""

ROUNDS = 20
"""Most repetitions of the audit; each but the last drops or changes at least one row."""

CONTENT = (
    "messages",
    "conversations",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "instruction",
    "input",
    "output",
    "system",
)
"""Fields whose texts a model reads; only these are repaired."""

NAMES = ("role", "from", "name", "id", "tool_call_id", "tool_calls", "function_call", "type")
"""Keys inside them that are no text."""


@dataclass(frozen=True, slots=True)
class CleanReport:
    """What cleaning did."""

    target: Path
    log: Path
    rows: int
    """Rows of the input."""
    kept: int
    dropped: int
    changed: int
    reasons: dict[str, int]
    """Rows dropped or changed, by rule."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        keys = ("rows", "kept", "dropped", "changed", "reasons")
        return {"target": str(self.target), "log": str(self.log), **{key: getattr(self, key) for key in keys}}


def clean_file(
    source: str,
    target: Path,
    spec: AuditSpec | None = None,
    held: Mapping[str, Sequence[str]] | None = None,
    suites: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> CleanReport:
    """Write the repaired rows of `source` to `target` and what became of the others to `target.changes.jsonl`.

    Rows of rules with the action `error` or `drop` are left out, those with `fix` repaired, all others written as they
    are. Both files appear whole at the end or not at all. Raises DataError when a file cannot be read, or `target`
    exists, is no JSON lines or cannot be written.
    """
    log = target.with_name(target.name + ".changes.jsonl")
    _refuse_target(target, log)
    work = _Work(open_rows(source, columns), spec or AuditSpec(), *held_out(source, held or {}, suites))
    with _folder_beside(target) as folder:
        rows = work.run(Path(folder))
        log_made = Path(folder) / "changes.jsonl"
        with log_made.open("w", encoding="utf-8") as file:
            reasons = work.write_log(file)
        log_made.replace(log)
        work.result.replace(target)
    dropped = sum(not change.kept for change in work.changes.values())
    return CleanReport(target, log, rows, rows - dropped, dropped, len(work.changes) - dropped, reasons)


def _refuse_target(target: Path, log: Path) -> None:
    if target.suffix.lower() in TABLES:
        raise DataError(Problem(str(target), "what is written is JSON lines", next="Name a .jsonl file"))
    for path in (target, log):
        if path.exists():
            raise DataError(Problem(str(path), "exists", next="Name another file, or remove it"))


def _folder_beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the target's own disk, from which a finished file can be moved in one step."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".clean-", dir=target.parent)
    except OSError as fault:
        hint = "Look at the path, the permissions and the free space"
        raise DataError(Problem(str(target), f"cannot write: {fault.strerror}", next=hint)) from fault


@dataclass(slots=True)
class _Change:
    """What became of one row of the input."""

    findings: list[Finding]
    before: str
    """The row as it was, personal values replaced."""
    kept: bool = True


class _Work:
    """The rounds of one cleaning."""

    def __init__(self, source: Source, spec: AuditSpec, held: Any, answers: frozenset[str]) -> None:
        self.spec, self.held, self.answers = spec, held, answers
        self.changes: dict[int, _Change] = {}
        self.result = Path()
        self._source = source
        self._shape = shape_of(source())

    def run(self, folder: Path) -> int:
        """All rounds; `result` is the last file. Returns the number of input rows."""
        source, origin, rows = self._source, array("q"), 0
        for number in range(ROUNDS):
            found = scan(source, "rows", self.spec, self.held, self.answers)
            rows = rows or found.rows
            written = folder / f"{number}.jsonl"
            origin, acted = self._round(source, found.findings, written, origin)
            self.result, source = written, lambda path=written: rows_of(str(path))  # type: ignore[misc]
            if not acted:
                break
        return rows

    def _round(
        self, source: Source, findings: Sequence[Finding], path: Path, origin: array[int]
    ) -> tuple[array[int], bool]:
        """Apply one audit. Returns the input line of every row written to `path`, and whether anything was done."""
        by_line: dict[int, list[Finding]] = defaultdict(list)
        for finding in findings:
            if finding.line and finding.action in ("error", "drop", "fix"):
                by_line[finding.line].append(finding)
        written, acted = array("q"), False
        with path.open("w", encoding="utf-8", newline="\n") as out:
            for raw in source():
                line = origin[raw.line - 1] if origin else raw.line
                kept = self._kept(raw, by_line.get(raw.line, []), line)
                acted |= kept is None or kept != raw.value
                if kept is not None:
                    out.write(json.dumps(kept, ensure_ascii=False) + "\n")
                    written.append(line)
        return written, acted

    def _kept(self, raw: RawRow, findings: list[Finding], line: int) -> Row | None:
        """The row as it stays, or None; what was done is noted."""
        if raw.value is None or any(finding.action in ("error", "drop") for finding in findings):
            self._note(raw, findings or self._unread(raw), line).kept = False
            return None
        made = repaired(raw.value, {finding.rule for finding in findings}, self._shape)
        if made != raw.value:
            self._note(raw, [f for f in findings if f.action == "fix"], line)
        return made

    def _unread(self, raw: RawRow) -> Sequence[Finding]:
        """Why there is no row to write, where the policy says nothing of it."""
        return found_by((Hit(raw.line, fault.rule, fault.message) for fault in raw.faults), "rows", AuditSpec())

    def _note(self, raw: RawRow, findings: Sequence[Finding], line: int) -> _Change:
        before = masked(raw.text if raw.value is None else json.dumps(raw.value, ensure_ascii=False))
        change = self.changes.setdefault(line, _Change([], before))
        change.findings += findings
        return change

    def write_log(self, file: IO[str]) -> dict[str, int]:
        """One line a row dropped or changed. Returns how often each rule was the reason."""
        reasons: Counter[str] = Counter()
        for line, change in sorted(self.changes.items()):
            reasons.update({finding.rule for finding in change.findings})
            entry = {
                "line": line,
                "done": "changed" if change.kept else "dropped",
                "reasons": [{"rule": f.rule, "message": f.message} for f in change.findings],
                "before": change.before,
            }
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        return dict(reasons)


# ------------------------------------------------------------------------ repairs


def repaired(row: Row, rules: set[str], shape: Shape) -> Row:
    """The row with the faults of these rules repaired."""
    if "mixed_format" in rules:
        row = reformatted(row, shape)
    fixes: list[Callable[[str], str]] = [fix for rule, fix in FIXES.items() if rule in rules]
    if "fenced_json_answer" in rules:
        fixes.append(unfenced)
    personal = frozenset(rules & ALL_RULES)
    if personal:
        fixes.append(lambda text: redact(text, personal))
    if not fixes:
        return row
    return {name: _mapped(value, fixes) if name in CONTENT else value for name, value in row.items()}


def _mapped(value: Any, fixes: Sequence[Callable[[str], str]]) -> Any:
    if isinstance(value, str):
        for fix in fixes:
            value = fix(value)
        return value
    if isinstance(value, list):
        return [_mapped(inner, fixes) for inner in value]
    if isinstance(value, dict):
        return {name: inner if name in NAMES else _mapped(inner, fixes) for name, inner in value.items()}
    return value


def reformatted(row: Row, shape: Shape) -> Row:
    """The row in the format of its file."""
    format = detect(row)
    if format is None or format == shape.format:
        return row
    chat = as_conversation(row, format, shape.system)
    if format == "prompt/completion":
        prompt, completion = row["prompt"], row["completion"]
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        turns = turns + (completion if isinstance(completion, list) else [{"role": "assistant", "content": completion}])
        chat = {"messages": turns, **{k: v for k, v in row.items() if k not in ("prompt", "completion")}}
    return _from_messages(chat, shape)


def _from_messages(chat: Row, shape: Shape) -> Row:
    turns, rest = chat["messages"], {name: value for name, value in chat.items() if name != "messages"}
    if shape.format == "sharegpt":
        said = {"user": "human", "assistant": "gpt"}
        return {
            "conversations": [{"from": said.get(t["role"], t["role"]), "value": t["content"]} for t in turns],
            **rest,
        }
    if shape.format == "prompt/completion":
        plain = len(turns) == 2 and isinstance(turns[0]["content"], str)
        if plain:
            return {"prompt": turns[0]["content"], "completion": turns[1]["content"], **rest}
        return {"prompt": turns[:-1], "completion": turns[-1:], **rest}
    if shape.format == "alpaca" and [turn["role"] for turn in turns] == ["user", "assistant"]:
        return {"instruction": turns[0]["content"], "input": "", "output": turns[1]["content"], **rest}
    return chat
