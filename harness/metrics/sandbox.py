"""Runs a Python program that nobody has read, and tells whether it came to its end. The limits: docs/metrics.md.

A child process in a folder of its own, the only place where it may write, without network, under limits of
time, memory, file size and processes; it is killed with its children.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import HarnessError, Problem

MEMORY = 512 * 2**20
FILE_BYTES = 16 * 2**20
PROCESSES = 32
WEAK = "HARNESS_SANDBOX"
"""Environment variable: `weak` runs answers also where the kernel cannot hold them."""
START_S = 60.0
"""Seconds that a child may take to lock itself in, which is no time of the program's."""
_JAIL = Path(__file__).with_name("jail.py")


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a program."""

    finished: bool
    """It came to its end, so every assertion in it held."""
    why: str
    """Why it did not: the last line of its error output, or the limit that it met."""
    network: str
    """What kept it from the network: `namespace`, or a weaker thing by name."""
    files: str
    """What kept it from files: `landlock N`, or `none`."""

    @property
    def held(self) -> bool:
        """Whether the kernel itself kept it from the network and from writing outside its folder."""
        return self.network.startswith("namespace") and self.files != "none"


def run(program: str, seconds: float = 10.0) -> Ran:
    """Run a program. seconds: of wall time from when it is locked in; of CPU time as many, rounded up.

    Raises HarnessError when the sandbox itself cannot start.
    """
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="harness-answer-", ignore_cleanup_errors=True) as folder:
        orders = {
            "folder": folder, "readable": _readable(), "token": token, "program": program,
            "seconds": int(seconds) + 1, "memory": MEMORY, "file_bytes": FILE_BYTES, "processes": PROCESSES,
        }  # fmt: skip
        report, said, code = _child(json.dumps(orders), folder, seconds)
    first, _, last = report.partition("\n")
    if not first:
        raise HarnessError(Problem("sandbox", f"did not start: {_last_line(said) or f'exit {code}'}"))
    held = json.loads(first)
    finished = last == token
    why = "" if finished else _why(code, said, seconds)
    return Ran(finished, why, held["network"], held["files"])


def _child(orders: str, folder: str, seconds: float) -> tuple[str, str, int | None]:
    """Run the jail: what it reported, what it wrote to its error output, and its exit code (None: out of time)."""
    reader, writer = os.pipe()
    errors = Path(folder) / "stderr"
    code = None
    with open(reader, "rb", buffering=0) as reports, errors.open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_JAIL), str(writer)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, pass_fds=(writer,), cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        try:
            assert child.stdin is not None  # noqa: S101  for the type checker
            with contextlib.suppress(BrokenPipeError), child.stdin as stdin:
                stdin.write(orders.encode())
            _await_start(reader)
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        os.set_blocking(reader, False)  # a child that got away may hold the pipe open
        report = reports.read(4096) or b""
    with errors.open("rb") as said:
        return report.decode(errors="replace"), said.read(FILE_BYTES).decode(errors="replace"), code


def _await_start(reader: int) -> None:
    """Until the child has said what holds it, or has ended."""
    reports = select.poll()
    reports.register(reader, select.POLLIN)
    reports.poll(START_S * 1000)


def _readable() -> list[str]:
    """Python's own files and the system libraries."""
    own = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), f"{sys.base_prefix}/lib", str(_JAIL)}
    return sorted({*own, "/usr/lib", "/lib", "/lib64", "/usr/lib64", "/etc/ld.so.cache", "/dev/urandom"})


def _why(code: int | None, said: str, seconds: float) -> str:
    if code is None:
        return f"took longer than {seconds:g} s"
    return _last_line(said) or f"ended with exit code {code} before its end"


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1][:300] if lines else ""


@cache
def protection() -> Ran:
    """What holds a program on this machine, found by running an empty one."""
    return run("")


def refuse_unless_held() -> None:
    """HarnessError where the kernel cannot keep a program from network and files, unless `HARNESS_SANDBOX=weak`."""
    found = protection()
    if not found.held and os.environ.get(WEAK) != "weak":
        what = f"this machine cannot hold answers that are run (network: {found.network}; files: {found.files})"
        hint = f"Use Linux 5.13 or later with user namespaces, or a throw-away machine with {WEAK}=weak"
        raise HarnessError(Problem("sandbox", what, next=hint))
