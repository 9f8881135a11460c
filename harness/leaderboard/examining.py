"""An experiment's data as frames: findings with their rows, splits, balance of the answers, lengths against the limit.

Records say what was found. Rows and the answers of train and dev are in the data files alone, and are shown as long as
these are where the spec names them and hold what was trained on; the test split is never opened here, its gold
answers are those of the stored samples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from harness.data import Data, DataSpec, load
from harness.errors import HarnessError
from harness.evidence import facts_of, gather
from harness.records import DataRecord, LengthBin, TrainingRecord
from harness.store import ExperimentStore

MOST_LABELS: Final = 40
"""More answers than this are no closed set."""
OPEN: Final = f"Answers are open text: more than {MOST_LABELS} different ones."
GONE: Final = "The data files are no longer here, or hold other rows; test answers are open text, or not there yet."
ROW_LENGTH: Final = 20_000
"""Characters of a row that are shown."""
FINDING_COLUMNS: Final = ("severity", "rule", "file", "line", "message", "row")


def examined(experiment: ExperimentStore) -> dict[str, Any]:
    """`splits`, `facts`, `findings` (errors first, with their rows), `labels`, `lengths`, `bins`: a frame each.

    `no_labels` says why `labels` is empty; `limit` is the tokens that a row may have, where the spec has a number.
    """
    record, spec, training = experiment.read(DataRecord), experiment.spec(), experiment.read(TrainingRecord)
    data = _loaded(experiment, spec, record)
    facts = [(what, told) for group, what, told in facts_of(gather(experiment)) if group == "data"]
    facts = [(what, told) for what, told in facts if not what.endswith(" split")]
    return {
        "splits": _splits(record),
        "facts": pd.DataFrame(facts, columns=["what", "value"]),
        "findings": _findings(experiment, spec, record),
        "labels": _labels(experiment, data),
        "no_labels": OPEN if data is not None else GONE,
        "lengths": _lengths(training),
        "bins": _bins(training),
        "limit": _limit(training),
    }


def _splits(record: DataRecord | None) -> pd.DataFrame:
    made = [
        (name, one.rows, "/".join(Path(one.file).parts[-2:]), one.fingerprint[:12])
        for name, one in (record.splits if record else {}).items()
    ]
    return pd.DataFrame(made, columns=["split", "rows", "file", "fingerprint"])


def _findings(experiment: ExperimentStore, spec: Mapping[str, Any], record: DataRecord | None) -> pd.DataFrame:
    found = record.findings if record else ()
    files = _files(experiment, spec, record)
    lines = {file: _lines(path, {one.line for one in found if one.file == file}) for file, path in files.items()}
    made = [
        (one.severity, one.rule, one.file, one.line, one.message, lines.get(one.file, {}).get(one.line))
        for one in found
    ]
    return pd.DataFrame(made, columns=list(FINDING_COLUMNS)).astype({"row": object})


def _files(experiment: ExperimentStore, spec: Mapping[str, Any], record: DataRecord | None) -> dict[str, Path]:
    """File as the user spelled it to where the resolved spec has it; JSON lines alone, a row a line."""
    data = spec.get("data")
    stated = data if isinstance(data, Mapping) else {}
    found = {}
    for name, split in (record.splits if record else {}).items():
        named = stated.get(name) or stated.get("path")
        if isinstance(named, str) and named.endswith(".jsonl"):
            found[split.file] = experiment.path / named
    return found


def _lines(path: Path, wanted: set[int]) -> dict[int, str]:
    """These rows of a file by their line, from 1, for reading; none where it cannot be read."""
    found = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, start=1):
                if number in wanted:
                    found[number] = _written(line.rstrip("\n"))[:ROW_LENGTH]
                if number >= max(wanted, default=0):
                    break
    except OSError:
        return {}
    return found


def _written(line: str) -> str:
    """A row for reading: its turns one below the other, then its other fields; as it stands where it is no object."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            return line
        said = row.get("messages")
        turns = said if isinstance(said, list) else []
        known = all(isinstance(one, dict) and "content" in one for one in turns)
        parts = [f"[{one.get('role')}]\n{_value(one['content'])}\n" for one in turns] if known else []
        return "\n".join([*parts, *(f"{k}: {_value(v)}" for k, v in row.items() if not (parts and k == "messages"))])
    except (ValueError, RecursionError):  # no JSON, or too deep
        return line


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _loaded(experiment: ExperimentStore, spec: Mapping[str, Any], record: DataRecord | None) -> Data | None:
    """The data files, where they are still there and hold what the record says."""
    try:
        data = load(DataSpec.model_validate(spec.get("data")), experiment.path)
    except (HarnessError, ValidationError, OSError):
        return None
    same = record and all(
        name in record.splits and record.splits[name].fingerprint == split.fingerprint
        for name, split in (("train", data.train), ("dev", data.dev))
    )
    return data if same else None


def _labels(experiment: ExperimentStore, data: Data | None) -> pd.DataFrame:
    """`split`, `answer`, `share`, `rows`, the most frequent in the first split first; empty for open answers."""
    counted: dict[str, Counter[str]] = {}
    if data is not None:
        counted = {
            name: Counter(i.target for i in split.items) for name, split in (("train", data.train), ("dev", data.dev))
        }
    test = next((run for run in experiment.run_ids() if run.endswith("--task--test")), None)
    if test is not None:
        counted["test"] = Counter(_once(experiment, test))
    made = [
        (name, answer, rows / sum(counts.values()), rows)
        for name, counts in counted.items()
        for answer, rows in counts.most_common()
    ]
    frame = pd.DataFrame(made, columns=["split", "answer", "share", "rows"])
    closed = 0 < frame["answer"].nunique() <= MOST_LABELS
    return frame if closed else frame.head(0)


def _once(experiment: ExperimentStore, run: str) -> Iterable[str]:
    table = experiment.sample_columns(run, ("task", "id", "target")).to_pandas()
    return list(table.drop_duplicates(["task", "id"])["target"])


def _lengths(training: TrainingRecord | None) -> pd.DataFrame:
    """What the trainer was handed, in tokens, beside the limit, as `what`, `value`."""
    columns = ["what", "value"]
    if training is None:
        return pd.DataFrame(columns=columns)
    seen, limit = training.supervision, _limit(training)
    told = "the model's context (max_length was not set)" if limit is None else f"{limit:,} tokens (max_length)"
    made = [
        ("rows", f"{seen.rows:,}"),
        ("tokens", f"{seen.tokens:,}, of them {seen.supervised_tokens:,} learned from"),
        ("longest row", f"{seen.longest:,} tokens"),
        ("limit", told),
        ("rows cut by it", f"{seen.rows_truncated:,}"),
        ("rows that end their turn", f"{seen.rows_with_end_of_turn:,} of {seen.rows:,}"),
    ]
    return pd.DataFrame(made, columns=columns)


def _bins(training: TrainingRecord | None) -> pd.DataFrame:
    """Rows by their length in tokens: `shortest`, `beyond` (the first that no longer counts), `length`, `rows`."""
    bins = training.supervision.lengths if training else ()
    made = [(one.shortest, one.longest + 1, _length(one), one.rows) for one in bins]
    return pd.DataFrame(made, columns=["shortest", "beyond", "length", "rows"])


def _length(one: LengthBin) -> str:
    return f"{one.shortest:,}" if one.shortest == one.longest else f"{one.shortest:,} to {one.longest:,}"


def _limit(training: TrainingRecord | None) -> int | None:
    limit = training.arguments.get("max_length") if training else None
    return limit if isinstance(limit, int) else None


__all__ = ["FINDING_COLUMNS", "examined"]
