"""One training by TRL and PEFT from its job to a published adapter: taken over, resumed, followed, published.

A killed training goes on from its last whole checkpoint and comes to the same weights; a finished one is taken over.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.models import quiet
from harness.probes import PROBES_DIGEST
from harness.progress import Progress
from harness.records import SeedTraining, Supervision, TrainingFinding
from harness.store import write_file
from harness.trainers import checkpoints
from harness.trainers.base import LESS_MEMORY, Job, Origin, Scorer
from harness.trainers.checkpoints import Checkpoint
from harness.trainers.following import curve, follower, further_curves
from harness.trainers.head import score_learned_alone
from harness.trainers.objectives import Loaded, builder
from harness.trainers.order import rows_an_epoch
from harness.trainers.overfitting import findings
from harness.trainers.parameters import BASE_CHANGES, adapted, settle
from harness.trainers.probing import Scores, read_base, read_probes
from harness.trainers.publish import folder_of, initial, publish
from harness.trainers.reporting import reporting, tell_taken_over
from harness.trainers.selection import Selection
from harness.trainers.setup import arguments, load_base, origin, with_published
from harness.trainers.starting import started

DONE = "done.json"


@dataclass(frozen=True, slots=True)
class Before:
    """What there was before the first step, and is not told by the trained model."""

    tokenizer: Any
    weights: dict[str, Any] | None
    """Copy of the weights that are trained (`harness.trainers.publish.initial`)."""
    base: Scores | None
    """The base model's scores of the probes, where the method changes it."""


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
            tell_taken_over(done[0], job, on, folder, progress)
            return done
        result = _train(job, scorer, on, folder, progress)
        _keep(folder, result)
        checkpoints.clear(folder)
    return result


def _keep(folder: Path, result: tuple[SeedTraining, Supervision]) -> None:
    write_file(folder / DONE, json.dumps([part.model_dump(mode="json") for part in result], indent=1))


def _probed(done: SeedTraining, job: Job, on: Origin) -> SeedTraining:
    """A training taken over, with the probes' numbers that it did not leave: its adapter is loaded for them again."""
    with _quiet(), _told_when_full():
        base, tokenizer = load_base(job.spec, job.model, on)
        tuned, known = with_published(base, tokenizer, job, done.adapter, on)
        return done.model_copy(update={"probes": read_probes(tuned, tokenizer, job.model.context_length, known)})


def _finished(folder: Path) -> tuple[SeedTraining, Supervision] | None:
    """An earlier result, when its adapter still lies where it should."""
    if not (folder / DONE).exists():
        return None
    training, supervision = json.loads((folder / DONE).read_text(encoding="utf-8"))
    result = SeedTraining.model_validate(training), Supervision.model_validate(supervision)
    return result if folder_of(result[0].adapter).is_dir() else None


def build(job: Job, scorer: Scorer, on: Origin, folder: Path) -> tuple[Any, Supervision, Before]:
    """TRL's trainer, ready to go, what will be learned, and what there was before. Raises TrainingError."""
    from transformers import PrinterCallback, set_seed

    set_seed(job.seed)
    score_learned_alone(on.device)
    try:
        base, tokenizer = load_base(job.spec, job.model, on)
        changed = job.spec.method in BASE_CHANGES
        scores = read_base(base, tokenizer, job.model.context_length) if changed else None
        base, adapter = (started(base, job), None) if job.start else adapted(base, job.spec, folder)
        loaded = Loaded(base, tokenizer, adapter, arguments(job, rows_an_epoch(job), on, folder))
        trainer, supervision = builder(job.spec.objective)(job, loaded, scorer)
    except (OSError, ValueError) as fault:  # weights that cannot be read, layers that the model does not have
        raise TrainingError(Problem("train", f"cannot be set up: {fault}")) from fault
    settle(trainer.model)
    trainer.remove_callback(PrinterCallback)  # it prints to stdout
    return trainer, supervision, Before(tokenizer, initial(trainer.model), scores)


def _train(job: Job, scorer: Scorer, on: Origin, folder: Path, progress: Progress) -> tuple[SeedTraining, Supervision]:
    started = time.monotonic()
    earlier = checkpoints.last(folder)
    with _quiet(), _told_when_full():
        trainer, supervision, before = build(job, scorer, on, folder)
        selection = Selection(job, scorer, folder, trainer.args.max_steps, earlier) if job.dev else None
        if earlier.path is not None:
            progress.note(f"seed {job.seed}: going on from step {earlier.step}")
        with (
            reporting(trainer, job, folder, progress) as reporter,
            progress.bar(f"training, seed {job.seed}", trainer.args.max_steps, earlier.step) as bar,
        ):
            trainer.add_callback(follower(bar, folder, earlier, started, selection, before.tokenizer, reporter))
            _go_on(trainer, selection, earlier)
        chosen = None if selection is None else selection.restore(trainer.model)
        found = _against(job, selection, trainer)
        probes = read_probes(trainer.model, before.tokenizer, job.model.context_length, before.base)
        trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
        adapter = publish(trainer.model, job, folder, on.dtype, before.weights)
    now, looks = checkpoints.so_far(earlier, started), selection.looks if selection is not None else []
    done = SeedTraining(
        seed=job.seed,
        adapter=adapter,
        steps=trainer.state.global_step,
        curve=curve(trainer.state.log_history),
        seconds=round(sum(now.sittings), 1),
        peak_memory_bytes=now.peak_memory_bytes,
        resumed=len(earlier.sittings),
        trainable_parameters=trainable,
        device=on.device,
        dtype=on.dtype,
        packages=dict(on.packages),
        probes=probes,
        dev=tuple(look.point for look in looks),
        chosen_step=chosen,
        stopped_early=selection is not None and selection.exhausted,
        findings=found,
        dev_seconds=round(sum(look.seconds for look in looks), 1) if looks else None,
        curves=further_curves(trainer.state.log_history),
    )
    _tell(done, progress)
    return done, supervision


def _go_on(trainer: Any, selection: Selection | None, earlier: Checkpoint) -> None:
    """Train to the end from where it was."""
    from transformers import TrainerState
    from transformers.trainer import TRAINER_STATE_NAME

    if earlier.path is not None and selection is not None and selection.exhausted:
        trainer.state = TrainerState.load_from_json(str(earlier.path / TRAINER_STATE_NAME))  # ended, but not published
    else:
        trainer.train(resume_from_checkpoint=None if earlier.path is None else str(earlier.path))


def _against(job: Job, selection: Selection | None, trainer: Any) -> tuple[TrainingFinding, ...]:
    """What the curves say against it. GRPO's loss says nothing of how well it does, so nothing is said there."""
    if job.spec.objective == "grpo":
        return ()
    points = curve(trainer.state.log_history)
    if selection is None:
        return findings(points, (), None, ())
    clusters = [item.cluster or at for at, item in enumerate(job.dev)]
    return findings(points, selection.looks, selection.best, selection.crossed(), clusters)


def _tell(done: SeedTraining, progress: Progress) -> None:
    if done.chosen_step is not None:
        score = next(point.score for point in done.dev if point.step == done.chosen_step)
        share = (done.dev_seconds or 0) / max(done.seconds, 1e-9)
        told = f"seed {done.seed}: step {done.chosen_step} of {done.steps} does best on dev ({score:.3f})"
        ended = ", stopped early" if done.stopped_early else ""
        progress.note(f"{told}{ended}; looks at dev took {share:.0%} of the time")
    for finding in done.findings:
        progress.note(f"seed {done.seed}: {finding.message}")


@contextmanager
def _told_when_full() -> Iterator[None]:
    """Memory that ran out as a TrainingError."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as fault:
        told = ": ".join(filter(None, ("out of memory", ". ".join(str(fault).split(". ")[:3]))))
        raise TrainingError(Problem("train", told, next=LESS_MEMORY)) from fault
    except RuntimeError as fault:
        if "can't allocate memory" not in str(fault):  # what torch says on a CPU
            raise
        wanted = re.search(r"tried to allocate (\d+) bytes", str(fault))
        more = f"{int(wanted[1]) / 2**20:,.0f} MiB more were wanted at once" if wanted else fault
        raise TrainingError(Problem("train", f"out of memory: {more}", next=LESS_MEMORY)) from fault


@contextmanager
def _quiet() -> Iterator[None]:
    """Libraries' chatter kept off the terminal; what matters is checked and said by this package."""
    import datasets

    datasets.disable_progress_bars()
    bitsandbytes = logging.getLogger("bitsandbytes")  # warns of optional kernels as soon as PEFT imports it
    bitsandbytes.setLevel(logging.ERROR)
    with quiet():
        yield
