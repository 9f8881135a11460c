"""A child process that never outlives the harness, SIGKILL included.

Both ends of one pipe live here. `GuardedProcess` runs in the harness and holds
the writing end, which the operating system closes however the harness ends.
`main` runs this same file as a tiny script between the harness and the command, a server or a training:

    harness --pipe--> guard (leads a session and process group of its own)
                        └── command └── the command's own workers

When the pipe ends, or the guard's parent changes, the guard sends TERM to the
whole group and, after a grace period, KILL. The guard is in the group that it
kills, so nothing is left. PR_SET_PDEATHSIG would be shorter, but it is Linux
only, does not reach grandchildren, and fires when the *thread* that forked ends.

Standard library only: the script runs isolated, without the harness's packages.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

POLL_S: Final = 0.25
"""How often the guard looks whether command and harness still live."""
ENDED: Final = "The process ended with exit code "
"""How the guard's last line in the log begins, when the command ended by itself."""


class GuardedProcess:
    """A command under a guard, its output in a log file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        grace_s: float = 5.0,
        cwd: Path | None = None,
    ) -> None:
        """cwd: the folder it runs in; by default this process's own."""
        self.log = log
        self._grace_s = grace_s
        log.parent.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(grace_s), *command]
        with log.open("ab") as output:
            self._start = output.tell()
            self._guard = subprocess.Popen(
                guard,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def group(self) -> int:
        """Process group of the guard and of all that it started."""
        return self._guard.pid

    def running(self) -> bool:
        """Whether the command still runs."""
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """With which code the command ended by itself (a signal's number negated); None while it runs."""
        last = self.tail(1)
        return int(last.removeprefix(ENDED).rstrip(".")) if not self.running() and last.startswith(ENDED) else None

    def tail(self, lines: int = 20) -> str:
        """The last lines that this command wrote."""
        try:
            with self.log.open("rb") as file:
                file.seek(self._start)
                text = file.read().decode("utf-8", errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """End the command and all its children. Safe to call twice."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            self._guard.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(self._grace_s + 5)
        # The guard has killed its group by now, unless it was killed itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        self._guard.wait()


def main(argv: Sequence[str]) -> None:
    """Run `argv[2:]` until it ends or until the harness (process `argv[0]`) is gone."""
    parent, grace_s, command = int(argv[0]), float(argv[1]), list(argv[2:])
    asked_to_stop = False

    def on_term(_signal: int, _frame: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, on_term)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # A forked child of the harness may hold a copy of the pipe's end, so the parent is watched too.
    while child.poll() is None and os.getppid() == parent and not asked_to_stop:
        readable, _, _ = select.select([0], [], [], POLL_S)
        if readable and not os.read(0, 1):
            break
    if child.returncode is not None:
        sys.stderr.write(f"\n{ENDED}{child.returncode}.\n")
        sys.stderr.flush()
    _end_group(child, grace_s)


def _end_group(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """TERM, a grace period, then KILL for everyone in the group, this process too."""
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
