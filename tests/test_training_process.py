"""A training in a process of its own: same bits, same faults, and it never outlives the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_training import ROWS, THINKING, Notes, job, tiny

from harness import trainers
from harness.errors import TrainingError
from harness.models import LocalModel
from harness.progress import Silent
from harness.trainers import METHODS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing trained elsewhere is taken over."""
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def children(parent: int) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


def alive(pid: int) -> bool:
    """Whether a process is more than a zombie; it may end while it is looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


reads_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")


@reads_proc
def test_a_training_in_its_own_process_gives_the_same_bits_and_tells_how_it_goes(model: LocalModel) -> None:
    notes, before = Notes(), children(os.getpid())
    training, seen = trainers.train(job(model), notes)
    assert (notes.begun, notes.steps) == ([(0, 12)], 12)
    taken_over, the_same = METHODS["lora"](job(model), trainers.no_scorer, notes)
    assert notes.notes == [f"seed 0: trained before, adapter {training.adapter.digest[:8]} is taken over"]
    assert (taken_over, the_same) == (training, seen)
    assert training.peak_memory_bytes
    assert children(os.getpid()) <= before


def test_a_fault_in_its_own_process_is_the_same_fault_here(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="would teach something else") as fault:
        trainers.train(job(tiny(tmp_path / "model", THINKING)), Silent())
    assert fault.value.problems[0].where == "train"


def test_a_process_that_breaks_is_told_with_its_last_words(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", "/dev/null")
    with pytest.raises(TrainingError, match=r"ended with exit code 1. Its last words:\n(?s:.*)NotADirectoryError"):
        trainers.train(job(model), Silent())


SCRIPT = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
sys.path.insert(0, {tests!r})
import small_training as t
from harness import trainers
model = t.describe({model!r}, pathlib.Path({model!r}), None)
trainers.train(t.job(model, t.QUICK.model_copy(update=dict(epochs=20000))), t.Silent())
"""


@reads_proc
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_no_training_outlives_the_harness(kill: signal.Signals, model: LocalModel, own_home: Path) -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parent), model=str(model.path))
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(own_home.glob("work/training/*/checkpoint-*")):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (child,) = children(parent.pid)
    parent.send_signal(kill)
    parent.wait(120)
    deadline = time.monotonic() + 120
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@reads_proc
def test_a_process_killed_for_want_of_memory_is_an_error_that_says_so(model: LocalModel) -> None:
    before = children(os.getpid())

    def killer(split: str, answers: Sequence[tuple[int, Any]]) -> list[float | None]:
        (child,) = children(os.getpid()) - before  # it waits for the scores
        os.kill(child, signal.SIGKILL)
        return [0.0] * len(answers)

    with pytest.raises(TrainingError, match=r"was killed \(SIGKILL\), most often because memory ran out. Set train"):
        trainers.train(job(model, dev=ROWS[:2]), Silent(), killer)


def test_a_child_whose_parent_is_another_ends_even_while_it_has_nothing_to_say() -> None:
    command = [sys.executable, "-m", "harness.trainers.child", str(os.getpid() + 1)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:  # it waits for its job
        assert child.wait(60) == 1
