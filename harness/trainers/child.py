"""One training in a process of its own: memory is surely freed, and a kill for want of memory is an error, not the end.

    harness  --job-->  python -m harness.trainers.child  --JSON lines: progress, then result or fault-->  harness

The child ignores Ctrl-C, which its parent answers by killing it, and ends by itself
when its parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness import errors
from harness.errors import HarnessError, Problem, TrainingError
from harness.models import LocalModel
from harness.progress import Bar, Progress
from harness.records import Item, ModelRef, Prompt, SeedTraining, Supervision
from harness.trainers.base import LESS_MEMORY, TrainSpec

Result = tuple[SeedTraining, Supervision]

WATCH_S = 0.2
"""How often the child looks whether its parent still lives."""


# ------------------------------------------------------------------------- parent


def train_in_child(
    spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int, progress: Progress
) -> Result:
    """See `harness.trainers.base.Trainer`."""
    with tempfile.TemporaryFile() as job, tempfile.TemporaryFile() as log:
        job.write(_job(spec, rows, prompt, model, seed).encode())
        job.seek(0)
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.trainers.child", str(os.getpid())],
            stdin=job,
            stdout=subprocess.PIPE,
            stderr=log,
            # The child finds what this process finds, however the harness was started.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        ) as child:
            assert child.stdout is not None  # noqa: S101  for the type checker
            try:
                result = _follow(child.stdout, progress)
                if result is None:
                    raise _died(child.wait(), log)
                return result
            finally:
                child.kill()


def _job(spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int) -> str:
    return json.dumps(
        {
            "spec": spec.model_dump(mode="json"),
            "rows": [row.model_dump(mode="json") for row in rows],
            "prompt": prompt.model_dump(mode="json"),
            "model": {
                "ref": model.ref.model_dump(mode="json"),
                "path": str(model.path),
                "context_length": model.context_length,
            },
            "seed": seed,
        }
    )


def _follow(lines: Iterable[bytes], progress: Progress) -> Result | None:
    """Show what the child tells. None when it ended without a result; raises the fault that it met."""
    bar: Bar | None = None
    with ExitStack() as shown:
        for line in lines:
            match json.loads(line):
                case {"stage": title}:
                    progress.stage(title)
                case {"note": text}:
                    progress.note(text)
                case {"bar": [label, total, done]}:
                    bar = shown.enter_context(progress.bar(label, total, done))
                case {"advance": [steps, note]} if bar is not None:
                    bar.advance(steps, note)
                case {"end_of_bar": _}:
                    shown.close()
                case {"fault": {"kind": kind, "problems": problems}}:
                    raise getattr(errors, kind, TrainingError)([Problem(**problem) for problem in problems])
                case {"result": [training, supervision]}:
                    return SeedTraining.model_validate(training), Supervision.model_validate(supervision)
    return None


def _died(code: int, log: IO[bytes]) -> TrainingError:
    """What to say of a child that ended without result or fault."""
    if code == -signal.SIGKILL:
        what = "the training process was killed (SIGKILL), most often because memory ran out"
        return TrainingError(Problem("train", what, next=LESS_MEMORY))
    log.seek(0)
    words = "\n".join(log.read().decode(errors="replace").rstrip().splitlines()[-20:])
    ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return TrainingError(Problem("train", f"the training process ended {ended}", next=f"Its last words:\n{words}"))


# -------------------------------------------------------------------------- child


class _Told:
    """Progress as JSON lines to the parent."""

    def __init__(self, channel: IO[str]) -> None:
        self._channel = channel

    def tell(self, **message: Any) -> None:
        self._channel.write(json.dumps(message) + "\n")
        self._channel.flush()

    def stage(self, title: str) -> None:
        self.tell(stage=title)

    def note(self, text: str) -> None:
        self.tell(note=text)

    @contextmanager
    def bar(self, label: str, total: int, done: int = 0) -> Iterator[Bar]:
        self.tell(bar=[label, total, done])
        yield self
        self.tell(end_of_bar=True)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.tell(advance=[steps, note])


def main(parent: int) -> None:
    """Do the job on stdin and tell how it goes on stdout, which nobody else gets to write to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    told = _Told(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    spec = TrainSpec.model_validate(job["spec"])
    from harness.trainers import METHODS

    try:
        training, supervision = METHODS[spec.method](
            spec,
            [Item.model_validate(row) for row in job["rows"]],
            Prompt.model_validate(job["prompt"]),
            LocalModel(
                ref=ModelRef.model_validate(job["model"]["ref"]),
                path=Path(job["model"]["path"]),
                context_length=job["model"]["context_length"],
            ),
            job["seed"],
            told,
        )
    except HarnessError as fault:
        told.tell(fault={"kind": type(fault).__name__, "problems": [asdict(one) for one in fault.problems]})
    else:
        told.tell(result=[training.model_dump(mode="json"), supervision.model_dump(mode="json")])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
