"""kill -9 in the prompt race, in training and in evaluation; the same command goes on to the same verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_experiment

from harness import artifacts
from harness.models import LocalModel
from harness.records import PromptRecord, TrainingRecord, VerdictRecord
from harness.store import ExperimentStore, Store

pytestmark = [pytest.mark.model, pytest.mark.slow]


def home_with_model(folder: Path) -> Path:
    """A HARNESS_HOME of its own that borrows the converted model, so that nothing trained before is taken over."""
    folder.mkdir()
    (folder / "models").symlink_to(artifacts.home() / "models")
    for name in ("index.json", "digests.json"):
        (folder / name).write_text((artifacts.home() / name).read_text())
    return folder


def kill_when(spec: Path, reports: Path, home: Path, ready: Callable[[], bool]) -> None:
    """Start the experiment and SIGKILL it as soon as `ready` says so; it must not have ended by itself."""
    environment = {**os.environ, "HARNESS_HOME": str(home), "HARNESS_VLLM_PYTHON": ""}
    child = subprocess.Popen(
        small_experiment.command(spec, reports),
        cwd=small_experiment.ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    while not ready():
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()


def lines(pattern: str, root: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in root.glob(pattern))


def verdict_of(folder: ExperimentStore) -> dict[str, object]:
    """What must be the same, whatever was killed: decision, numbers, winner, weights."""
    verdict, prompt, training = folder.read(VerdictRecord), folder.read(PromptRecord), folder.read(TrainingRecord)
    assert verdict
    assert prompt
    assert training
    return {
        "decision": verdict.decision,
        "gates": [gate.model_dump() for gate in verdict.gates],
        "prompt": prompt.model_dump(),
        "adapter": training.seeds[0].adapter.digest,
    }


def test_killed_three_times_it_comes_to_the_same_verdict(small_model: LocalModel, tmp_path: Path) -> None:
    spec = small_experiment.write(tmp_path / "experiment")
    whole = small_experiment.run(
        spec, tmp_path / "whole", HARNESS_HOME=str(home_with_model(tmp_path / "home-a")), HARNESS_VLLM_PYTHON=""
    )
    expected = verdict_of(Store(tmp_path / "whole").find(json.loads(whole.stdout)["experiment"]))

    reports, home = tmp_path / "killed", home_with_model(tmp_path / "home-b")
    kill_when(spec, reports, home, lambda: lines("*/journal/prompt.jsonl", reports) >= 10)
    kill_when(spec, reports, home, lambda: any(home.glob("work/training/*/checkpoint-*/whole.json")))
    kill_when(spec, reports, home, lambda: lines("*/runs/tuned-seed0--task--test/samples.jsonl", reports) >= 1)
    again = small_experiment.run(spec, reports, HARNESS_HOME=str(home), HARNESS_VLLM_PYTHON="")
    folder = Store(reports).find(json.loads(again.stdout)["experiment"])
    assert verdict_of(folder) == expected
    training = folder.read(TrainingRecord)
    assert training
    assert training.seeds[0].resumed == 1
