"""Log-likelihood suites: this harness and lm-eval score the same choices of the same items with the same library.

Both load SmolLM2-135M-Instruct through transformers, float32, once; what is timed is the evaluation alone, from task
files to scores. Chosen answers are compared item by item, so that nobody is fast by being wrong.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engines.transformers_engine import TransformersEngine
from harness.evaluate import evaluate
from harness.models import LocalModel
from harness.progress import Silent
from harness.records import Candidate, Decoding, Prompt
from harness.store import Store
from harness.suites import Suite, Task, load_suite

SUITES = Path(__file__).resolve().parent.parent.parent / "suites"


@dataclass(frozen=True)
class Scoring:
    """One pass over all tasks by one program."""

    client: str
    items: int
    choices: int
    seconds: float
    right: dict[str, float]
    """Score of each item, by task and id."""


def ours(model: LocalModel, tasks: Sequence[Task], engine: TransformersEngine) -> Scoring:
    """One pass by this harness, samples and manifest on disk."""
    suite = Suite("choices", "regression", "test", tuple(tasks))
    raw = Prompt(name="raw", instruction="")
    candidate = Candidate(name="base", model=model.ref, prompt=raw, decoding=Decoding())
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder)).create("bench--00000000", "name: bench\n")
        started = time.monotonic()
        run = evaluate(candidate, suite, engine, store, Silent())
        seconds = time.monotonic() - started
        right = {f"{s.task}/{s.id}": float(s.scores["acc"] or 0.0) for s in store.samples(run.id)}
    choices = sum(len(item.choices or ()) for task in tasks for item in task.items)
    return Scoring("harness", suite.size, choices, seconds, right)


def theirs(lm: Any, tasks: Sequence[Task], include: Path) -> Scoring:
    """One pass by lm-eval's `simple_evaluate`, samples kept."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    started = time.monotonic()
    found = simple_evaluate(
        model=lm,
        tasks=[task.name for task in tasks],
        task_manager=TaskManager(include_path=str(include), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    seconds = time.monotonic() - started
    right = {
        f"{name}/{sample['doc']['id']}": float(sample["acc"])
        for name, samples in found["samples"].items()
        for sample in samples
    }
    choices = sum(len(item.choices or ()) for task in tasks for item in task.items)
    return Scoring("lm-eval", len(right), choices, seconds, right)


def lm_eval_model(model: LocalModel, batch_size: str) -> Any:
    """lm-eval's own wrapper of the same weights."""
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    return HFLM(pretrained=str(model.path), device="cpu", dtype="float32", batch_size=batch_size)


def measure(model: LocalModel, name: str, data: Path, items: int, batch_size: str, rounds: int) -> list[Scoring]:
    """Both programs `rounds` times in turn on the first items of a published suite."""
    found: list[Scoring] = []
    lm = lm_eval_model(model, batch_size)
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work), TransformersEngine(model) as engine:
        folder = Path(work)
        shutil.copy(SUITES / "published" / f"{name}.yaml", folder)
        for file in data.glob(f"{name}*.jsonl"):
            few = file.name.endswith(".fewshot.jsonl")
            lines = file.read_text(encoding="utf-8").split("\n")
            (folder / file.name).write_text("\n".join(lines if few else lines[:items]) + "\n", encoding="utf-8")
        tasks = load_suite(str(folder / f"{name}.yaml")).tasks
        for number in range(rounds):
            clients = [lambda: ours(model, tasks, engine), lambda: theirs(lm, tasks, folder)]
            found += [client() for client in (clients if number % 2 == 0 else clients[::-1])]
    return found
