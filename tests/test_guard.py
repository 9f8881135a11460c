"""A guarded child never outlives the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.guard import GuardedProcess

TREE = [sys.executable, "-c", "import subprocess; print('up', flush=True); subprocess.run(['sleep', '600'])"]
STUBBORN = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); "
            "time.sleep(600)"]  # fmt: skip


def alive(group: int) -> bool:
    """Whether any process of the group is more than a zombie."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return any(int(pgid) == group and not state.startswith("Z") for pgid, state in rows)


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true, however busy this machine is."""
    deadline = time.monotonic() + 60
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


def start(command: list[str], log: Path, grace_s: float = 1) -> GuardedProcess:
    process = GuardedProcess(command, env=os.environ, log=log, grace_s=grace_s)
    assert wait_until(lambda: "up" in process.tail())
    return process


@pytest.mark.parametrize("command", [TREE, STUBBORN], ids=["a tree", "one that ignores TERM"])
def test_stop_ends_the_whole_tree(command: list[str], tmp_path: Path) -> None:
    process = start(command, tmp_path / "log")
    assert alive(process.group)
    process.stop()
    process.stop()
    assert wait_until(lambda: not alive(process.group))  # a busy machine takes a moment to bury what was killed


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_harness_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    harness = textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from harness.guard import GuardedProcess
        process = GuardedProcess({TREE!r}, env=os.environ, log=Path({str(tmp_path / "log")!r}), grace_s=1)
        worker = os.fork()
        if worker == 0:  # it holds a copy of the pipe, and lives on
            os.close(1)
            time.sleep(600)
            os._exit(0)
        while "up" not in process.tail():
            time.sleep(0.05)
        print(process.group, worker, flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", harness], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        group, worker = map(int, child.stdout.readline().split())
        try:
            assert alive(group)
            child.send_signal(how)
            assert wait_until(lambda: not alive(group))
        finally:
            os.kill(worker, signal.SIGKILL)


def test_stop_ends_the_tree_when_the_guard_was_killed(tmp_path: Path) -> None:
    process = start(TREE, tmp_path / "log")
    os.kill(process.group, signal.SIGKILL)
    process.stop()
    assert wait_until(lambda: not alive(process.group))


def test_a_command_that_ends_tells_its_last_lines(tmp_path: Path) -> None:
    process = GuardedProcess([sys.executable, "-c", "print('boom'); raise SystemExit(3)"], env=os.environ,
                             log=tmp_path / "sub" / "log")  # fmt: skip
    assert wait_until(lambda: not process.running())
    process.stop()
    assert "boom" in process.tail()
    assert "exit code 3" in process.tail()


def test_the_tail_leaves_out_what_was_logged_before(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an older run\n")
    process = start(TREE, tmp_path / "log")
    process.stop()
    assert "older" not in process.tail()
    assert (tmp_path / "log").read_text().startswith("an older run")
