"""One cell: one method finds a prompt for one task under one seed, and the prompt meets the test rows once."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.engines.base import Engine
from harness.evaluate import MAX_FAILED, TaskSpec, ask, items_suite
from harness.progress import Silent
from harness.prompts import search
from harness.prompts.meter import JOURNAL, Arm
from harness.records import Item, PromptRecord, SampleRecord, digest
from harness.retrieval import Shelves
from harness.store import ExperimentStore
from harness.store.files import read_lines, write_file
from prompting import tasks
from prompting.methods import BY_NAME
from prompting.summing import leader_at


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cells of a run share."""

    calls: int
    dev: int
    test: int
    model: str
    folder: str
    """Where the tasks are."""
    work: str
    """Where cells are kept."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one task under one seed."""

    task: str
    method: str
    seed: int

    def place(self, setting: Setting) -> Path:
        """Its folder: another setting is another cell."""
        counted = (setting.calls, setting.dev, setting.test, setting.model, BY_NAME[self.method].told)
        return Path(setting.work) / f"{self.task}--{self.method}--{self.seed}--{digest(list(counted))[:8]}"

    def done(self, setting: Setting) -> dict[str, Any] | None:
        """What it came to, if it did."""
        file = self.place(setting) / "cell.json"
        return json.loads(file.read_text()) if file.exists() else None


def run(cell: Cell, setting: Setting, engine: Engine) -> dict[str, Any]:
    """Search, then judge. What was asked before is taken over; a cell that is done is not run again."""
    if (done := cell.done(setting)) is not None:
        return done
    spec = tasks.TASKS[cell.task]
    rows = tasks.rows(cell.task, Path(setting.folder), setting.dev, setting.test, cell.seed)
    shelves = Shelves(rows.train.to_learn_from())
    store = ExperimentStore(cell.place(setting))
    resumed = bool(store.journal_lines(JOURNAL, SampleRecord))
    started, worked = time.perf_counter(), time.process_time()
    prompt = BY_NAME[cell.method].spec(setting.calls, cell.seed)
    record = search(prompt, spec, rows.instruction, rows.train, rows.dev, engine, shelves, store, Silent())
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    assert record.winner_decoding is not None
    winner = Arm(record.winner, record.winner_decoding, "")
    found = {
        **asdict(cell),
        **_told(record),
        "seconds": None if resumed else round(seconds, 1),  # a killed sitting's seconds are lost
        "cpu_seconds": None if resumed else round(cpu, 1),
        "half": _half(record, spec, rows, engine, shelves),
        "test": _judged(winner, spec, rows.test, engine, shelves, Path(setting.work) / "test" / cell.task),
    }
    write_file(store.path / "record.json", record.model_dump_json(indent=1))
    write_file(store.path / "cell.json", json.dumps(found))
    return found


def _told(record: PromptRecord) -> dict[str, Any]:
    """What the document tells of the search."""
    assert record.winner_decoding is not None
    prompt = record.winner
    return {
        "calls": record.calls,
        "tokens": record.tokens,
        "arms": len(record.arms),
        "dev": record.winner_dev.value,
        "dev_n": record.winner_dev.n,
        "winner": prompt.name,
        "instruction": prompt.instruction,
        "demonstrations": prompt.retrieval.count if prompt.retrieval else len(prompt.demonstrations),
        "retrieval": prompt.retrieval.use if prompt.retrieval else None,
        "constrained": record.winner_decoding.constraint is not None,
    }


def _half(
    record: PromptRecord, spec: TaskSpec, rows: tasks.Rows, engine: Engine, shelves: Shelves
) -> dict[str, Any] | None:
    """The prompt that a search stopped at half of its calls would have given, scored on all of dev.

    What it was not asked by the search is asked here and is not counted: it costs the bench, not the method.
    """
    point = leader_at(record.trace, record.calls // 2)
    if point is None:
        return None
    arm = next(arm for arm in record.arms if arm.prompt.name == point.leader)
    assert arm.decoding is not None
    have = dict(zip(arm.asked, arm.scores, strict=True))
    owed = [item for item in rows.dev.items if item.id not in have]
    (task,) = items_suite("dev", owed, spec).tasks
    asked = ask(engine, task, owed, arm.prompt, arm.decoding, library=shelves)
    have |= {sample.id: sample.scores[record.metric] for sample in asked}
    scored = [score for score in have.values() if score is not None]
    return {"leader": point.leader, "calls": point.calls, "dev": sum(scored) / len(scored) if scored else None}


def _judged(
    arm: Arm, spec: TaskSpec, items: tuple[Item, ...], engine: Engine, shelves: Shelves, folder: Path
) -> dict[str, Any]:
    """The winner's scores on the test rows. A prompt that two cells found is asked once."""
    file = folder / f"{arm.key[:16]}-{len(items)}.jsonl"
    samples = read_lines(file, SampleRecord)
    if not samples:
        (task,) = items_suite("test", items, spec).tasks
        samples = list(ask(engine, task, items, arm.prompt, arm.decoding, library=shelves))
        write_file(file, "".join(sample.model_dump_json() + "\n" for sample in samples))
    by_id = {sample.id: sample for sample in samples}
    ordered = [by_id[item.id] for item in items]
    failed = [sample.error for sample in ordered if sample.error]
    if len(failed) > MAX_FAILED * len(ordered):
        raise RuntimeError(f"{len(failed)} of {len(ordered)} test calls failed: {failed[-1]}")
    return {
        "scores": {name: [sample.scores[name] for sample in ordered] for name in ordered[0].scores},
        "tokens_in": sum(sample.tokens_in or 0 for sample in ordered),
        "tokens_out": sum(sample.tokens_out or 0 for sample in ordered),
    }
