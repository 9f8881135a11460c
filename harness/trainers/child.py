"""One training in a process of its own: memory is surely freed, and a kill for want of memory is an error, not the end.

    harness  --job, then scores-->  python -m harness.trainers.child  --progress, answers to score, result-->  harness

Both ways go JSON lines: the child tells progress and asks for scores of answers, and ends with a result or a fault.

The child ignores Ctrl-C, which its parent answers by killing it, and ends by itself
when its parent is gone.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness import artifacts, errors
from harness.errors import HarnessError, Problem, StoreError, TrainingError
from harness.models import LocalModel
from harness.progress import Bar, Progress
from harness.records import (
    AdapterRef,
    Decoding,
    DevPoint,
    Item,
    ModelRef,
    Preference,
    Prompt,
    Record,
    SeedTraining,
    Supervision,
)
from harness.trainers.base import LESS_MEMORY, Answered, Job, Scorer, TrainSpec, looked

Result = tuple[SeedTraining, Supervision]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says of a disk without room."""
WATCH_S = 0.2
"""How often the child looks whether its parent still lives."""


# ------------------------------------------------------------------------- parent


def train_in_child(job: Job, scorer: Scorer, progress: Progress) -> Result:
    """See `harness.trainers.base.Trainer`."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.trainers.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # The child finds what this process finds, however the harness was started.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        ) as child,
    ):
        assert child.stdin is not None  # noqa: S101  for the type checker
        assert child.stdout is not None  # noqa: S101
        try:
            _say(child.stdin, as_json(job))
            result = _follow(child.stdout, child.stdin, scorer, progress)
            if result is None:
                raise _died(child.wait(), log)
            return result
        finally:
            child.kill()


def _say(channel: IO[bytes], told: Any) -> None:
    """One line to the child. One that has ended is noticed where its own words are read."""
    with suppress(BrokenPipeError):
        channel.write(json.dumps(told).encode() + b"\n")
        channel.flush()


def as_json(job: Job) -> dict[str, Any]:
    """A job as it goes to the child."""
    return {
        "spec": job.spec.model_dump(mode="json"),
        "prompt": job.prompt.model_dump(mode="json"),
        "model": {
            "ref": job.model.ref.model_dump(mode="json"),
            "path": str(job.model.path),
            "context_length": job.model.context_length,
        },
        "seed": job.seed,
        "rows": _dumped(job.rows),
        "pairs": _dumped(job.pairs),
        "dev": _dumped(job.dev),
        "replay": _dumped(job.replay),
        "decoding": job.decoding.model_dump(mode="json"),
        "start": job.start and job.start.model_dump(mode="json"),
        "near": str(job.near),
        "experiment": job.experiment,
    }


def from_json(told: dict[str, Any]) -> Job:
    """The inverse of `as_json`."""
    return Job(
        spec=TrainSpec.model_validate(told["spec"]),
        prompt=Prompt.model_validate(told["prompt"]),
        model=LocalModel(
            ref=ModelRef.model_validate(told["model"]["ref"]),
            path=Path(told["model"]["path"]),
            context_length=told["model"]["context_length"],
        ),
        seed=told["seed"],
        rows=_items(told["rows"]),
        pairs=tuple(Preference.model_validate(one) for one in told["pairs"]),
        dev=_items(told["dev"]),
        replay=_items(told["replay"]),
        decoding=Decoding.model_validate(told["decoding"]),
        start=told["start"] and AdapterRef.model_validate(told["start"]),
        near=Path(told["near"]),
        experiment=told["experiment"],
    )


def _dumped(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json") for one in records]


def _items(told: Sequence[dict[str, Any]]) -> tuple[Item, ...]:
    return tuple(Item.model_validate(one) for one in told)


def _follow(lines: Iterable[bytes], answers: IO[bytes], scorer: Scorer, progress: Progress) -> Result | None:
    """Show what the child tells, and score what it asks. None when it ended without a result; raises its fault."""
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
                case {"score": [split, given]}:
                    asked = [(at, one if isinstance(one, str) else tuple(one)) for at, one in given]
                    _say(answers, scorer(split, asked))
                case {"look": point}:
                    looked(scorer, DevPoint.model_validate(point))
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


class _Asking:
    """The parent's scorer, through the channel."""

    def __init__(self, told: _Told) -> None:
        self._told = told

    def __call__(self, split: str, answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        self._told.tell(score=[split, list(answers)])
        scores: list[float | None] = json.loads(sys.stdin.readline())
        return scores

    def looked(self, point: DevPoint) -> None:
        self._told.tell(look=point.model_dump(mode="json"))


def main(parent: int) -> None:
    """Do the job that comes on stdin and tell how it goes on stdout, which nobody else gets to write to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    told = _Told(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    job = from_json(json.loads(sys.stdin.readline()))
    from harness.trainers import METHODS

    try:
        training, supervision = METHODS[job.spec.method](job, _Asking(told), told)
    except HarnessError as fault:
        told.tell(fault={"kind": type(fault).__name__, "problems": [asdict(one) for one in fault.problems]})
    except OSError as fault:
        if fault.errno not in FULL:
            raise
        where = str(fault.filename2 or fault.filename or artifacts.home())
        problem = Problem(where, f"cannot write: {fault.strerror}", next="Free some disk and run again")
        told.tell(fault={"kind": StoreError.__name__, "problems": [asdict(problem)]})
    else:
        told.tell(result=[training.model_dump(mode="json"), supervision.model_dump(mode="json")])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
