"""Log-likelihood suites: this harness and lm-eval score the same choices of the same items with the same library.

Both load SmolLM2-135M-Instruct through transformers, float32, once; what is timed is the evaluation alone, from task
files to scores. lm-eval is given the fastest of several batch sizes, found on the first items; this harness has its
default. Chosen answers are compared item by item, so that nobody is fast by being wrong.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
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
from harness.suites import Suite, load_suite

TRIED = 16
"""Items on which lm-eval's batch sizes are tried."""
SUITES = Path(__file__).resolve().parent.parent.parent / "suites"


@dataclass(frozen=True)
class Scoring:
    """One pass over all items by one program."""

    client: str
    items: int
    choices: int
    batch_size: int | None
    seconds: float
    right: dict[str, float]
    """Score of each item, by task and id."""

    def alike(self, other: Scoring) -> int:
        """Items to which both gave one score."""
        return sum(other.right.get(key) == value for key, value in self.right.items())


def ours(model: LocalModel, file: Path, engine: TransformersEngine) -> Scoring:
    """One pass by this harness, samples and manifest on disk."""
    raw = Prompt(name="raw", instruction="")
    candidate = Candidate(name="base", model=model.ref, prompt=raw, decoding=Decoding())
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        tasks = load_suite(str(file)).tasks
        suite = Suite("choices", "regression", "test", tuple(tasks))
        store = Store(Path(folder)).create("bench--00000000", "name: bench\n")
        run = evaluate(candidate, suite, engine, store, Silent())
        seconds = time.monotonic() - started
        right = {f"{s.task}/{s.id}": float(s.scores["acc"] or 0.0) for s in store.samples(run.id)}
    choices = sum(len(item.choices or ()) for task in tasks for item in task.items)
    return Scoring("harness", suite.size, choices, None, seconds, right)


def theirs(lm: Any, file: Path, batch_size: int, limit: int | None = None) -> Scoring:
    """One pass by lm-eval's `simple_evaluate`, samples kept; of the first `limit` items."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    names = [task.name for task in load_suite(str(file)).tasks]
    lm.batch_size_per_gpu = batch_size
    started = time.monotonic()
    found = simple_evaluate(
        model=lm,
        tasks=names,
        task_manager=TaskManager(include_path=str(file.parent), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
        limit=limit,
    )
    seconds = time.monotonic() - started
    samples = [(name, sample) for name, rows in found["samples"].items() for sample in rows]
    right = {f"{name}/{sample['doc']['id']}": float(sample["acc"]) for name, sample in samples}
    choices = sum(len(sample["resps"]) for _, sample in samples)
    return Scoring("lm-eval", len(right), choices, batch_size, seconds, right)


def lm_eval_model(model: LocalModel) -> Any:
    """lm-eval's own wrapper of the same weights."""
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    return HFLM(pretrained=str(model.path), device="cpu", dtype="float32", batch_size=1)


def first_items(name: str, data: Path, items: int, folder: Path) -> Path:
    """The first items of a published suite in a folder of their own; returns the task's file."""
    for file in data.glob(f"{name}*.jsonl"):
        few = file.name.endswith(".fewshot.jsonl")
        lines = file.read_text(encoding="utf-8").split("\n")
        (folder / file.name).write_text("\n".join(lines if few else lines[:items]) + "\n", encoding="utf-8")
    return Path(shutil.copy(SUITES / "published" / f"{name}.yaml", folder))


def measure(
    model: LocalModel, name: str, data: Path, items: int, batch_sizes: Sequence[int], rounds: int
) -> list[Scoring]:
    """Both programs `rounds` times in turn on the first items of a published suite."""
    found: list[Scoring] = []
    lm = lm_eval_model(model)
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work), TransformersEngine(model) as engine:
        file = first_items(name, data, items, Path(work))
        tried = {size: theirs(lm, file, size, TRIED).seconds for size in batch_sizes}
        best = min(tried, key=tried.__getitem__)
        for number in range(rounds):
            clients = [lambda: ours(model, file, engine), lambda: theirs(lm, file, best)]
            for client in clients if number % 2 == 0 else clients[::-1]:
                found.append(client())
                print(found[-1].client, found[-1].items, f"{found[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    return found
