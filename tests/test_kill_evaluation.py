"""An evaluation killed at any point, and its server too: nothing is lost, asked twice or counted twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from answering_server import answering, reserved

from harness.records import RunRecord, SampleRecord
from harness.store import ExperimentStore, Store

ITEMS, IN_FLIGHT, KILLS = 400, 8, 10

CLIENT = """
import sys
from pathlib import Path
from harness.engines import open_endpoint
from harness.evaluate import evaluate
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, ModelRef, Prompt
from harness.store import Store
from harness.suites import Suite, Task

url, root, items, in_flight = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
asked = tuple(
    Item(id=str(n), messages=(Message(role="user", content=f"say number {n}"),), target=str(n)) for n in range(items)
)
suite = Suite("count", "task", "test", (Task("count", "generate", asked, ("exact_match",), Decoding()),))
model, raw = ModelRef(name="small", digest="0" * 64), Prompt(name="raw", instruction="")
who = Candidate(name="base", model=model, prompt=raw, decoding=Decoding())
with open_endpoint(url, "small", concurrency=in_flight) as engine:
    evaluate(who, suite, engine, Store(root).create("x--00000000", "name: x\\n"), Silent())
"""


def start(port: int, root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CLIENT, f"http://127.0.0.1:{port}", str(root), str(ITEMS), str(IN_FLIGHT)]
    with told(root).open("wb") as log:
        return subprocess.Popen(command, env=os.environ | {"HARNESS_HOME": str(root / "home")}, stderr=log)


def told(root: Path) -> Path:
    return root / "client.log"


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def finished(folder: ExperimentStore) -> tuple[RunRecord, list[SampleRecord]]:
    (run,) = folder.runs()
    return run, folder.samples(run.id)


def kill_when_there_are(answers: int, port: int, root: Path, journal: Path) -> None:
    client, ended = start(port, root), False
    while lines(journal) < answers:
        assert not ended, told(root).read_text() or "ended before it was killed"
        ended = client.poll() is not None  # asked before the lines are counted again: it may be done with all of them
        time.sleep(0.002)
    client.send_signal(signal.SIGKILL)
    client.wait()


@pytest.mark.parametrize("seed", [0])
def test_ten_kills_at_random_points_lose_nothing_and_repeat_only_what_was_in_flight(seed: int, tmp_path: Path) -> None:
    journal = tmp_path / "x--00000000" / "runs" / "base--count--test" / "samples.jsonl"
    points = sorted(random.Random(seed).sample(range(1, ITEMS - 20), KILLS))
    log = tmp_path / "asked.log"
    with reserved() as port, answering(port, log):
        for point in points:
            kill_when_there_are(point, port, tmp_path, journal)
        assert start(port, tmp_path).wait() == 0, told(tmp_path).read_text()
    run, samples = finished(Store(tmp_path).at("x--00000000"))
    assert run.n == len(samples) == ITEMS
    assert [sample.scores for sample in samples] == [{"exact_match": 1.0}] * ITEMS
    asked = Counter(log.read_text().splitlines())
    assert len(asked) == ITEMS
    # What was in flight at a kill, and what had come but was not written yet.
    assert sum(asked.values()) - ITEMS <= 2 * KILLS * IN_FLIGHT, "only what was under way at a kill is asked again"


def test_a_server_killed_in_between_ends_it_with_a_reason_and_the_next_sitting_goes_on(tmp_path: Path) -> None:
    journal = tmp_path / "x--00000000" / "runs" / "base--count--test" / "samples.jsonl"
    log, last = tmp_path / "asked.log", ITEMS // 3
    with reserved() as port:
        with answering(port, log, last):
            assert start(port, tmp_path).wait() != 0
            assert "does not answer" in told(tmp_path).read_text()
        kept = {json.loads(line)["id"] for line in journal.read_bytes().splitlines()}
        assert last - IN_FLIGHT <= len(kept) <= last  # what it answered in its last moment may not have come
        log.unlink()
        with answering(port, log):
            assert start(port, tmp_path).wait() == 0
    assert kept.isdisjoint({line.split()[-1] for line in log.read_text().splitlines()})
    run, samples = finished(Store(tmp_path).at("x--00000000"))
    assert run.n == len(samples) == ITEMS
    assert run.unscored == 0
