"""One training by TRL and PEFT from its job to a published adapter: taken over, resumed, followed, published.

A killed training goes on from its last whole checkpoint and comes to the same weights; a finished one is taken over.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.models import quiet
from harness.probes import PROBES_DIGEST
from harness.progress import Bar, Progress
from harness.records import SeedTraining, Supervision, TrainingPoint
from harness.store import write_file
from harness.trainers import checkpoints
from harness.trainers.base import LESS_MEMORY, Job, Origin, Scorer
from harness.trainers.checkpoints import Checkpoint
from harness.trainers.objectives import Loaded, builder
from harness.trainers.parameters import adapter_config
from harness.trainers.probing import read_probes
from harness.trainers.publish import publish
from harness.trainers.setup import arguments, load_base, origin

DONE = "done.json"


def train_here(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    """See `harness.trainers.base.Trainer`; in the calling process."""
    on = origin(job.spec.method)
    folder = artifacts.workspace("training", job.key(on)[:16])
    with artifacts.lock(f"training-{folder.name}"):
        done = _finished(folder)
        if done is not None:
            progress.note(f"seed {job.seed}: trained before, adapter {done[0].adapter.digest[:8]} is taken over")
            if done[0].probes is None or done[0].probes.probes != PROBES_DIGEST:
                done = _probed(done[0], job, on), done[1]
                _keep(folder, done)
            return done
        result = _train(job, scorer, on, folder, progress)
        _keep(folder, result)
        checkpoints.clear(folder)
    return result


def _keep(folder: Path, result: tuple[SeedTraining, Supervision]) -> None:
    write_file(folder / DONE, json.dumps([part.model_dump(mode="json") for part in result], indent=1))


def _probed(done: SeedTraining, job: Job, on: Origin) -> SeedTraining:
    """A training taken over, with the probes' numbers that it did not leave: its adapter is loaded for them again."""
    from peft import PeftModel

    with _quiet(), _told_when_full():
        base, tokenizer = load_base(job.spec, job.model, on)
        tuned = PeftModel.from_pretrained(base, str(artifacts.folder("adapters", done.adapter.digest)))
        return done.model_copy(update={"probes": read_probes(tuned, tokenizer, job.model.context_length)})


def _finished(folder: Path) -> tuple[SeedTraining, Supervision] | None:
    """An earlier result, when its adapter still lies where it should."""
    if not (folder / DONE).exists():
        return None
    training, supervision = json.loads((folder / DONE).read_text(encoding="utf-8"))
    result = SeedTraining.model_validate(training), Supervision.model_validate(supervision)
    return result if artifacts.folder("adapters", result[0].adapter.digest).is_dir() else None


def build(job: Job, scorer: Scorer, on: Origin, folder: Path) -> tuple[Any, Any, Supervision]:
    """TRL's trainer, ready to go, the tokenizer, and what will be learned. Raises TrainingError."""
    from transformers import PrinterCallback, set_seed

    set_seed(job.seed)
    try:
        base, tokenizer = load_base(job.spec, job.model, on)
        loaded = Loaded(base, tokenizer, adapter_config(job.spec), arguments(job, len(job.rows), on, folder))
        trainer, supervision = builder(job.spec.objective)(job, loaded, scorer)
    except (OSError, ValueError) as fault:  # weights that cannot be read, layers that the model does not have
        raise TrainingError(Problem("train", f"cannot be set up: {fault}")) from fault
    for weights in trainer.model.parameters():
        if weights.requires_grad:  # TRL makes them bfloat16 on a quantised base, PEFT float32 again when it resumes
            weights.data = weights.data.float()
    trainer.remove_callback(PrinterCallback)  # it prints to stdout
    return trainer, tokenizer, supervision


def _train(job: Job, scorer: Scorer, on: Origin, folder: Path, progress: Progress) -> tuple[SeedTraining, Supervision]:
    started = time.monotonic()
    earlier = checkpoints.last(folder)
    with _quiet(), _told_when_full():
        trainer, tokenizer, supervision = build(job, scorer, on, folder)
        if earlier.path is not None:
            progress.note(f"seed {job.seed}: going on from step {earlier.step}")
        with progress.bar(f"training, seed {job.seed}", trainer.args.max_steps, earlier.step) as bar:
            trainer.add_callback(_follower(bar, folder, earlier, started))
            trainer.train(resume_from_checkpoint=None if earlier.path is None else str(earlier.path))
        adapter = publish(trainer.model, job, folder)
        probes = read_probes(trainer.model, tokenizer, job.model.context_length)
    now = _so_far(earlier, started)
    return SeedTraining(
        seed=job.seed,
        adapter=adapter,
        steps=trainer.state.global_step,
        curve=_curve(trainer.state.log_history),
        seconds=round(sum(now.sittings), 1),
        peak_memory_bytes=now.peak_memory_bytes,
        resumed=len(earlier.sittings),
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        device=on.device,
        dtype=on.dtype,
        packages=dict(on.packages),
        probes=probes,
    ), supervision


def _follower(bar: Bar, folder: Path, earlier: Checkpoint, started: float) -> Any:
    """A callback that moves the bar, stops on a broken loss and marks checkpoints as whole."""
    from transformers import TrainerCallback

    class Follower(TrainerCallback):  # type: ignore[misc]
        note = ""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            loss = (logs or {}).get("loss")
            if loss is None:
                return
            if not math.isfinite(loss):
                what = f"the loss is {loss} at step {state.global_step}"
                hint = "Lower train.learning_rate, or check data and base model"
                raise TrainingError(Problem("train", what, next=hint))
            self.note = f"loss {loss:.3f}"

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            bar.advance(1, self.note)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            made = folder / f"checkpoint-{state.global_step}"
            checkpoints.mark(replace(_so_far(earlier, started), path=made))

    return Follower()


def _so_far(earlier: Checkpoint, started: float) -> Checkpoint:
    """What the sittings took until now."""
    sittings = (*earlier.sittings, time.monotonic() - started)
    return Checkpoint(None, sittings, max(earlier.peak_memory_bytes, _peak_memory()))


def _curve(history: Sequence[dict[str, Any]]) -> tuple[TrainingPoint, ...]:
    return tuple(
        TrainingPoint(step=point["step"], loss=point["loss"], learning_rate=point.get("learning_rate"))
        for point in history
        if "loss" in point
    )


def _peak_memory() -> int:
    """Peak of device memory on a GPU, else of this process's resident memory, in bytes."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells here begins at the peak of the process that started this one
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else peak_rss * 1024


@contextmanager
def _told_when_full() -> Iterator[None]:
    """Memory that ran out as a TrainingError."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as fault:
        raise TrainingError(Problem("train", f"out of memory: {fault}", next=LESS_MEMORY)) from fault


@contextmanager
def _quiet() -> Iterator[None]:
    """Libraries' chatter kept off the terminal; what matters is checked and said by this package."""
    import datasets

    datasets.disable_progress_bars()
    bitsandbytes = logging.getLogger("bitsandbytes")  # warns of optional kernels as soon as PEFT imports it
    bitsandbytes.setLevel(logging.ERROR)
    with quiet():
        yield
