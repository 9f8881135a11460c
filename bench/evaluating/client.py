"""This harness as a client: chat questions to a server, every sample durable, a finished run at the end.

python -m evaluating.client PORT REQUESTS CONCURRENCY FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.engines import open_endpoint
from harness.evaluate import evaluate
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, ModelRef, Prompt
from harness.store import Store
from harness.suites import Suite, Task


def main(port: str, requests: str, concurrency: str, folder: str) -> None:
    """Ask them all."""
    decoding = Decoding(max_tokens=8)
    items = tuple(
        Item(
            id=str(n),
            messages=(Message(role="user", content=f"Question {n}: what is the capital of France?"),),
            target="Paris",
        )
        for n in range(int(requests))
    )
    suite = Suite("bench", "task", "test", (Task("bench", "generate", items, ("exact_match",), decoding),))
    model = ModelRef(name="instant", digest="0" * 64)
    candidate = Candidate(name="base", model=model, prompt=Prompt(name="raw", instruction=""), decoding=decoding)
    store = Store(Path(folder) / "reports").create("bench--00000000", "name: bench\n")
    with open_endpoint(f"http://127.0.0.1:{port}", "instant", concurrency=int(concurrency)) as engine:
        run = evaluate(candidate, suite, engine, store, Silent())
    assert run.n == len(items)
    assert run.metrics[0].estimate.value == 1.0


if __name__ == "__main__":
    main(*sys.argv[1:5])
