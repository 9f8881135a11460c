"""The files that a service is sent: train rows, and dev rows to validate with. Never a test row: a job holds none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.records import Item, Prompt
from harness.store import write_file
from harness.trainers.base import Job

TRAIN = "train.jsonl"
VALIDATION = "validation.jsonl"


def write(job: Job, folder: Path) -> bool:
    """Write the rows in the chat form that OpenAI, Together and Fireworks share. Returns whether there is validation.

    Raises TrainingError for a pair without two answers.
    """
    if job.spec.objective == "dpo":
        _lines(folder / TRAIN, _pairs(job))
        return False
    _lines(folder / TRAIN, [*_rows(job.rows, job.prompt), *_rows(job.replay, Prompt(name="general", instruction=""))])
    _lines(folder / VALIDATION, list(_rows(job.dev, job.prompt)))
    return validates(job)


def validates(job: Job) -> bool:
    """Whether dev rows are sent. Under dpo they are not: they hold no pairs.

    Together takes and bills them by the number of evaluations, so they are sent there only where that is stated.
    """
    managed = job.spec.managed
    if managed is None or job.spec.objective == "dpo" or not job.dev:
        return False
    return managed.service != "together" or bool(managed.hyperparameters.get("n_evals"))


def _lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _rows(items: Sequence[Item], prompt: Prompt) -> Iterator[dict[str, Any]]:
    """Rows of which the last answer alone is learned, as here: earlier ones of a conversation weigh nothing."""
    for item in items:
        turns: list[dict[str, Any]] = [turn.model_dump() for turn in chat(prompt, item)]
        asked = [{**turn, "weight": 0} if turn["role"] == "assistant" else turn for turn in turns]
        yield {"messages": [*asked, {"role": "assistant", "content": item.target}]}


def _pairs(job: Job) -> list[dict[str, Any]]:
    """Pairs in the form that OpenAI and Together share."""
    rows = []
    for pair in job.pairs:
        if pair.chosen is None or pair.rejected is None:
            raise TrainingError(Problem("train.objective", f"{pair.id} holds one answer, and dpo learns from two"))
        item = Item(id=pair.id, messages=pair.messages, target="")
        rows.append(
            {
                "input": {"messages": [turn.model_dump() for turn in chat(job.prompt, item)]},
                "preferred_output": [{"role": "assistant", "content": pair.chosen}],
                "non_preferred_output": [{"role": "assistant", "content": pair.rejected}],
            }
        )
    return rows
