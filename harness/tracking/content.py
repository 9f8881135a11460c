"""What other trackers are told of an experiment: parameters, metrics with their interval ends, tags, files.

Nothing is computed here, and what was not measured is left out, never 0. Texts of models go as files alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness import evidence, report, trainers
from harness.errors import Problem, UsageError
from harness.records import Candidate, Interval, VerdictRecord
from harness.store import ExperimentStore

FILES: Final = (
    "report.html",
    "report.md",
    "junit.xml",
    "model_card.md",
    "data_card.md",
    "spec.yaml",
    "verdict.json",
    "provenance.json",
    "training.json",
)
"""Of an experiment's folder, as far as they are there."""
IDENTITY: Final = "harness.identity"
"""Tag that tells a second export of the same verdict from a new one."""


@dataclass(frozen=True, slots=True)
class Content:
    """One experiment as trackers take it."""

    experiment: str
    name: str
    """The experiment's name, without its digest."""
    identity: str
    """Experiment and verdict: another verdict is another run."""
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: tuple[Path, ...]
    weights: Path | None
    """Folder of the candidate's own weights, where it has any and they were asked for."""


def content(folder: ExperimentStore, candidate: Candidate, weights: bool = False) -> Content:
    """Everything told of an experiment that has its verdict.

    Raises UsageError without one; StoreError for weights that are not here, or not those that were judged.
    """
    known = evidence.gather(folder)
    if known.verdict is None:
        missing = f"it has no {', no '.join(known.missing)}"
        raise UsageError(Problem(folder.id, f"is unfinished: {missing}", next="Go on with `harness run`"))
    if not (folder.path / "report.html").exists():
        report.write_reports(folder)
    verdict = folder.file_digest(VerdictRecord) or ""
    told = known.verdict
    return Content(
        experiment=folder.id,
        name=folder.name,
        identity=f"{folder.id}@{verdict[:16]}",
        parameters={key: value[:500] for key, value in sorted(_parameters(folder, candidate).items())},
        metrics=dict(_metrics(known)),
        tags={
            IDENTITY: f"{folder.id}@{verdict[:16]}",
            "harness.experiment": folder.id,
            "harness.decision": told.decision,
            "harness.candidate": told.candidate,
            "harness.candidate_digest": candidate.digest,
            "harness.reason": told.reason[:500],
        },
        files=tuple(folder.path / name for name in FILES if (folder.path / name).is_file()),
        weights=_weights(folder, candidate) if weights else None,
    )


def _weights(folder: ExperimentStore, candidate: Candidate) -> Path | None:
    adapter = candidate.adapter
    if adapter is None or adapter.kind == "remote":
        return None
    return trainers.weights_of(adapter, f"{folder.id}: {candidate.name}")


def _parameters(folder: ExperimentStore, candidate: Candidate) -> dict[str, str]:
    spec = folder.spec()
    kept: dict[str, Any] = {
        key: spec[key] for key in ("task", "train", "serve", "policy", "suites", "finalists") if key in spec
    }
    told: dict[str, Any] = {
        "model": candidate.model.name,
        "model_digest": candidate.model.digest[:16],
        "prompt": candidate.prompt.name,
        "decoding": candidate.decoding.model_dump(mode="json", exclude_none=True),
        **kept,
    }
    if candidate.adapter is not None:
        told["adapter"] = candidate.adapter.model_dump(mode="json")
    return dict(_flat(told))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested values under dotted names; a list of plain values is one value; texts for a model are left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in ("instruction", "instructions", "templates", "notes"):
                yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        for at, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{at}")
    elif value is not None:
        yield _name(path), ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _metrics(known: evidence.Evidence) -> Iterator[tuple[str, float]]:
    for run in known.runs:
        if run.split != "test":
            continue
        for metric in run.metrics:
            place = "all" if metric.task == "*" else metric.task
            name = _name(f"{run.candidate.name}/{run.suite}/{place}/{metric.metric}")
            yield from _interval(name, metric.estimate)
        for field in ("latency_p50_s", "latency_p95_s", "tokens_in", "tokens_out"):
            if (value := getattr(run, field)) is not None:
                yield _name(f"{run.candidate.name}/{run.suite}/{field}"), float(value)
    for at, gate in enumerate(known.gates):
        name = _name(f"gate/{at}/{gate.candidate}/{gate.suite}/{gate.metric}")
        if gate.comparison is not None:
            yield from _interval(f"{name}/difference", gate.comparison.difference)
        for field in ("low", "high", "min_delta", "limit"):
            if (value := getattr(gate, field)) is not None:
                yield f"{name}/judged_{field}", float(value)


def _interval(name: str, interval: Interval) -> Iterator[tuple[str, float]]:
    """A number with its ends and its n; nothing at all where nothing was measured."""
    if interval.value is None:
        return
    yield name, interval.value
    for end in ("low", "high"):
        if (value := getattr(interval, end)) is not None:
            yield f"{name}.{end}", value
    yield f"{name}.n", float(interval.n)


def _name(text: str) -> str:
    """A name that every tracker takes."""
    return re.sub(r"[^A-Za-z0-9_./-]+", "_", text)[:240]
