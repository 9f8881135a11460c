"""Memory: what an evaluation takes beyond the items that it is handed, at growing numbers of samples.

    python -m evaluating.memory SAMPLES FOLDER

prints the peak of resident memory before and after, in MiB. One process a size: a peak never falls.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines.base import Adapter, Answer, Engine, Request
from harness.evaluate import evaluate
from harness.progress import Silent
from harness.records import Candidate, Conditions, Decoding, Item, Message, ModelRef, Prompt
from harness.store import Store
from harness.suites import Suite, Task

HERE = Path(__file__).resolve().parent


class Echo(Engine):
    """An engine in process that answers at once: memory is the evaluation's own."""

    conditions = Conditions(engine="echo", engine_version="1", dtype="none", device="none", chat_template_digest=None)
    concurrent = False

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """A text of some 200 characters to each."""
        for index, _ in enumerate(requests):
            text = f"{index} " * 40
            yield index, Answer(text=text[:200], finish="stop", tokens_in=20, tokens_out=50, latency_s=0.1)

    def load_adapter(self, adapter: Adapter) -> None:
        """There are none."""

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Peak:
    """Resident memory of one evaluation, MiB."""

    samples: int
    before: float
    after: float


def peak_mb() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(samples: int, folder: Path) -> None:
    """Evaluate that many items and print the peaks."""
    decoding = Decoding()
    items = tuple(
        Item(id=str(n), messages=(Message(role="user", content=f"Question {n}: " + "words " * 30),), target="x")
        for n in range(samples)
    )
    suite = Suite("bench", "task", "test", (Task("bench", "generate", items, ("exact_match",), decoding),))
    model, raw = ModelRef(name="echo", digest="0" * 64), Prompt(name="raw", instruction="")
    store = Store(folder).create("bench--00000000", "name: bench\n")
    before = peak_mb()
    evaluate(Candidate(name="base", model=model, prompt=raw, decoding=decoding), suite, Echo(), store, Silent())
    print(json.dumps({"samples": samples, "before": before, "after": peak_mb()}))


def measure(sizes: Sequence[int]) -> list[Peak]:
    """One process for each size."""
    peaks = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "evaluating.memory", str(size), folder]
            env = os.environ | {"PYTHONPATH": f"{HERE.parent}:{HERE.parent.parent}"}
            done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
            peaks.append(Peak(**json.loads(done.stdout)))
    return peaks


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
