"""Answers that are run: they pass or fail their tests, and are held while they run."""

import contextlib
import json
import os
import sys
from pathlib import Path

import pytest

from harness import metrics
from harness.errors import HarnessError, UsageError
from harness.metrics import sandbox, tools
from harness.metrics.code import pass_at_k

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox holds on Linux")
held = pytest.mark.skipif(
    sys.platform != "linux" or not sandbox.protection().held, reason="this kernel lacks Landlock or user namespaces"
)
TARGET = json.dumps({"before": "def add(a, b):\n", "tests": "assert add(1, 2) == 3", "solution": "    return a + b"})


def test_code_is_not_run_unless_it_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"not allowed.*allow_code_execution: true"):
        metrics.score_text("code_passes", "    return a + b", TARGET)


@held
@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("    return a + b", 1),
        ("    return a - b", 0),
        ("    return a +", 0),
        ("    import sys; sys.exit(0)", 0),
        ("    import os; os._exit(0)", 0),
        ("    pass\n\nSure:\n```python\ndef add(a, b):\n    return a + b\n```\nThat is all.", 0),
        ("", 0),
    ],
)
def test_an_answer_passes_when_its_tests_do(answer: str, score: float) -> None:
    with metrics.using(tools.Tools(run_code=True)):
        assert metrics.score_text("code_passes", answer, TARGET) == score


@held
def test_gold_code_passes_and_a_code_fence_is_taken_out() -> None:
    with metrics.using(tools.Tools(run_code=True)):
        assert metrics.score_text("code_passes", str(metrics.gold_answer("code_passes", TARGET)), TARGET) == 1
        whole = json.dumps({"tests": "assert f() == 2"})
        assert metrics.score_text("code_passes", "Here:\n```python\ndef f():\n    return 2\n```\nDone.", whole) == 1


@held
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 1), 2)", "Permission|refused|unreachable"),
        ("import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'x', ('8.8.8.8', 53))", "unreachable"),
        ("open({outside!r}, 'w')", "Permission denied"),
        ("open({inside!r}).read()", "Permission denied"),
        ("import os; os.remove({inside!r})", "Permission denied"),
        ("import os; os.listdir('/proc')", "Permission denied"),
        ("import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])", "Permission denied"),
        ("x = bytearray(2**33)", "MemoryError"),
        ("f = open('big', 'wb')\nwhile True: f.write(b'x' * 2**20)", "File too large"),
        ("import os; os.environ['PATH']; os.environ['SECRET']", "KeyError: 'SECRET'"),
        ("while True: pass", "longer than 1 s|exit code 119"),  # by the clock, or by its CPU where that comes first
    ],
)
def test_a_program_is_held(program: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "swordfish")
    kept = tmp_path / "kept"
    kept.write_text("mine")
    seconds = 1 if program == "while True: pass" else 60
    ran = sandbox.run(program.format(outside=str(tmp_path / "new"), inside=str(kept)), seconds)
    assert not ran.finished
    assert any(part in ran.why for part in why.split("|"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@held
def test_the_time_of_a_program_begins_when_it_is_locked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, jail, await_start = tmp_path / "go", tmp_path / "jail.py", sandbox._await_start
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n"
    text = sandbox._JAIL.read_text().replace("import ctypes\n", f"{waits}import ctypes\n")
    jail.write_text(text)

    def slow(reader: int) -> None:
        go.touch()  # not before it is waited for
        await_start(reader)

    monkeypatch.setattr(sandbox, "_JAIL", jail)
    monkeypatch.setattr(sandbox, "_await_start", slow)
    assert sandbox.run("pass").finished


@held
def test_a_program_may_write_in_its_own_folder() -> None:
    assert sandbox.run("open('a', 'w').write('b'); assert open('a').read() == 'b'").finished


@held
def test_children_end_with_the_program_also_detached_ones() -> None:
    mark = f"harness-left-{os.getpid()}"
    left = f"import ctypes; ctypes.CDLL(None).prctl(15, b'{mark[-15:]}', 0, 0, 0)\n"
    forks = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(600)\n  os._exit(0)\n"
    assert sandbox.run(left + forks).finished
    assert mark[-15:] not in _names()


def _names() -> set[str]:
    """What the processes of this machine call themselves."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.add(path.read_text().strip())
    return found


def test_a_machine_that_cannot_hold_answers_refuses_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = sandbox.Ran(True, "", "a hook on sockets", "none")
    monkeypatch.setattr(sandbox, "protection", lambda: weak)
    with pytest.raises(HarnessError, match=r"network: a hook on sockets; files: none.*HARNESS_SANDBOX=weak"):
        sandbox.refuse_unless_held()
    monkeypatch.setenv("HARNESS_SANDBOX", "weak")
    sandbox.refuse_unless_held()


def test_a_sandbox_that_does_not_start_is_no_wrong_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "_JAIL", tmp_path / "gone.py")
    with pytest.raises(HarnessError, match="sandbox: did not start"):
        sandbox.run("pass")


def test_pass_at_k_is_the_chance_over_all_draws() -> None:
    # Of 4 answers 1 passes: of the 6 pairs 3 hold it.
    assert pass_at_k(4, 1, 1) == pytest.approx(1 / 4)
    assert pass_at_k(4, 1, 2) == pytest.approx(3 / 6)
    assert pass_at_k(4, 1, 4) == 1
    assert pass_at_k(200, 0, 100) == 0
    with pytest.raises(ValueError, match="k = 5"):
        pass_at_k(4, 1, 5)
