"""`method: managed`: a fine-tuning job at a service, paid for once, and its tuned model as a candidate.

    services   which there are, and what each needs
    base       what a service is asked, and the protocol of those who speak to one
    openai_jobs, together_jobs, fireworks_jobs   each through the service's own package
    files      the rows that are sent
    pricing    what it will cost, and what it did
    journal    what was sent and started, on disk before it is followed

The work folder is known by all that makes the job, so the same rows and arguments are one job for every experiment.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.progress import Progress
from harness.records import AdapterRef, ManagedJob, SeedTraining, Supervision, digest
from harness.store import write_file
from harness.trainers.base import Job, Scorer
from harness.trainers.managed import files, pricing
from harness.trainers.managed.base import Asked, Away, Look, Sent, Service
from harness.trainers.managed.journal import DONE, Journal, read, unfinished
from harness.trainers.managed.services import PACKAGES, exposed, opened, reached, unready
from harness.trainers.parts import ManagedSpec
from harness.trainers.taking import NOTHING_SEEN

__all__ = ["cancel", "train_managed", "unfinished", "unready"]

SILENT: Final = 30
"""Looks in a row without an answer after which the job is left alone, to be followed again later."""
TURNED_AWAY: Final = 10
"""How often a start is tried that the service turns away for its rate limit."""
DISTRIBUTIONS: Final = {"fireworks": "fireworks-ai"}
"""Where a package has another name than its module."""


def train_managed(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    """See `harness.trainers.base.Trainer`; in the calling process, since all the work is done elsewhere.

    Killed at any point and called again with the same rows and arguments, it goes on with the job that was started.
    """
    managed = job.spec.managed
    assert managed is not None  # noqa: S101  the spec's own check
    begun, asked = _asked(job, managed)
    with artifacts.lock(f"managed-{asked.mark}"):
        folder = artifacts.workspace("managed", asked.mark)
        done = folder / DONE
        if done.exists():
            progress.note(f"seed {job.seed}: trained before at {managed.service}, its model is taken over")
            training, seen = json.loads(done.read_text(encoding="utf-8"))
            return SeedTraining.model_validate(training), Supervision.model_validate(seen)
        earlier = read(folder)
        begun = begun if earlier is None else replace(earlier, key_env=begun.key_env)
        validated = files.write(job, folder)
        if begun.job is None:
            _within_budget(job, managed, folder, validated, progress)
        with closing(opened(begun)) as service:
            if begun.job is not None:
                progress.note(f"job {begun.job} at {begun.service} was started before: it is followed, not repeated")
            else:
                begun = _start(begun, asked, validated, service, folder, managed, len(job.spec.seeds), progress)
            result = _published(job, managed, begun, _follow(begun, service, folder, managed, progress), service)
        write_file(done, json.dumps([part.model_dump(mode="json") for part in result], indent=1))
    return result


def _asked(job: Job, managed: ManagedSpec) -> tuple[Journal, Asked]:
    """How the service is reached, and what is asked of it; its mark is the identity of the job."""
    model = managed.model or job.model.remote_name
    if model is None:
        hint = "Give train.managed.model, or name the base model by it (model: openai:NAME)"
        raise TrainingError(Problem("train.managed.model", "is missing", next=hint))
    begun = reached(job.spec, model)
    told = {
        "service": [begun.service, begun.url, begun.account],
        "model": model,
        "objective": job.spec.objective,
        "beta": job.spec.preference.beta,
        "suffix": managed.suffix,
        "hyperparameters": managed.hyperparameters,
        "prompt": job.prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"}),
        "rows": [row.digest for row in (*job.rows, *job.replay)],
        "replayed": len(job.replay),
        "pairs": [digest(pair.model_dump(mode="json", exclude={"id"})) for pair in job.pairs],
        "dev": [row.digest for row in job.dev] if files.validates(job) else [],
        "seed": job.seed,
    }
    return begun, Asked(
        model=model,
        objective="dpo" if job.spec.objective == "dpo" else "sft",
        seed=job.seed,
        mark=digest(told)[:32],
        suffix=managed.suffix,
        hyperparameters=managed.hyperparameters,
        beta=job.spec.preference.beta,
    )


# ------------------------------------------------------------------------- start


def _within_budget(job: Job, managed: ManagedSpec, folder: Path, validated: bool, progress: Progress) -> None:
    """Say what it will cost, as far as can be told; raises TrainingError above `max_cost`."""
    counted = pricing.tokens(job, managed, folder, validated)
    price = pricing.forecast(managed, counted)
    if counted is not None:
        told = "" if price is None else f", {price:.2f} by the stated price"
        progress.note(f"seed {job.seed}: about {counted:,} tokens will be trained at {managed.service}{told}")
    pricing.refuse(managed, price, len(job.spec.seeds), "its forecast")


def _start(
    begun: Journal, asked: Asked, validated: bool, service: Service, folder: Path, managed: ManagedSpec, seeds: int,
    progress: Progress,
) -> Journal:  # fmt: skip
    """Send what is not sent, and start the job unless one of this mark runs already; every step is on disk first."""
    begun.write(folder)
    if warning := exposed(begun.url):
        progress.note(warning)
    name = f"harness-{asked.mark[:16]}"
    if begun.train is None:
        begun = replace(begun, train=service.upload(folder / files.TRAIN, f"{name}-train.jsonl")).write(folder)
    if begun.validation is None and validated:
        sent_as = f"{name}-validation.jsonl"
        begun = replace(begun, validation=service.upload(folder / files.VALIDATION, sent_as)).write(folder)
    sent = Sent(begun.train or "", begun.validation)
    found = service.find(asked, sent) if begun.starting else None
    if found is None:
        if managed.max_cost is not None:
            pricing.refuse(managed, service.price(asked, sent), seeds, f"{managed.service}'s own estimate")
        begun = replace(begun, starting=True, started=time.time()).write(folder)
        found = _started(asked, sent, service, managed, progress)
    progress.note(f"job {found} at {begun.service}: it goes on there whatever happens here")
    return replace(begun, job=found).write(folder)


def _started(asked: Asked, sent: Sent, service: Service, managed: ManagedSpec, progress: Progress) -> str:
    """Ask for the job. Where no clear answer comes, the service is asked whether it has it before anything else."""
    for attempt in range(1, TURNED_AWAY + 1):
        try:
            return service.start(asked, sent)
        except Away as fault:
            found = service.find(asked, sent)
            if found is not None:
                return found
            if fault.status != 429 or attempt == TURNED_AWAY:
                hint = "Run again: the service is asked for this very job before another is started"
                raise TrainingError([*fault.problems, Problem("train.managed", "no job is known", next=hint)]) from None
            progress.note(f"{managed.service} has no room now, trying again: {fault}")
            time.sleep(managed.poll)
    raise AssertionError("the last attempt returns or raises")


# ------------------------------------------------------------------------ follow


def _follow(begun: Journal, service: Service, folder: Path, managed: ManagedSpec, progress: Progress) -> Look:
    """Look at the job until it has ended, with one live line. Raises TrainingError when it did not succeed."""
    job, at, silent = str(begun.job), 0, 0
    try:
        with progress.bar(f"job {job} at {begun.service}", 100) as bar:
            while True:
                try:
                    look, silent = service.look(job), 0
                except Away as fault:
                    silent += 1
                    if silent >= SILENT:
                        hint = f"The job goes on there; the same command follows it again ({_cancelling(job)})"
                        raise TrainingError(
                            [*fault.problems, Problem(f"job {job}", "lost sight of", next=hint)]
                        ) from None
                else:
                    now = int(100 * look.share)
                    bar.advance(max(0, now - at), _told(look))
                    at = max(at, now)
                    if look.state != "running":
                        break
                time.sleep(managed.poll)
    except KeyboardInterrupt:
        progress.note(f"job {job} goes on at {begun.service}: the same command follows it again; {_cancelling(job)}")
        raise
    if look.state == "succeeded" and look.model:
        return look
    ended = {"failed": f"failed: {look.words}", "cancelled": "was cancelled"}.get(look.state, "left no model")
    hint = f"To have another one started, and paid for, delete {folder}"
    raise TrainingError(Problem(f"{begun.service}, job {job}", ended, next=hint))


def _cancelling(job: str) -> str:
    return f"`harness cancel {job}` ends it"


def _told(look: Look) -> str:
    parts = [look.words]
    parts += [f"step {look.step}/{look.steps}"] if look.step is not None and look.steps else []
    parts += [f"loss {look.loss:.3f}"] if look.loss is not None else []
    parts += [f"{look.tokens:,} tokens"] if look.tokens is not None else []
    return ", ".join(parts)


# ----------------------------------------------------------------------- publish


def _published(
    job: Job, managed: ManagedSpec, begun: Journal, look: Look, service: Service
) -> tuple[SeedTraining, Supervision]:
    """What came out, as a candidate that is asked by its name at the service."""
    ended, package = service.ended(str(begun.job)), PACKAGES[begun.service]
    distribution = DISTRIBUTIONS.get(package, package)
    seconds = look.seconds if look.seconds is not None else time.time() - (begun.started or time.time())
    return SeedTraining(
        seed=job.seed,
        adapter=AdapterRef(
            digest=digest({"service": begun.url, "model": look.model}),
            method="managed",
            seed=job.seed,
            kind="remote",
            remote=look.model,
        ),
        steps=ended.curve[-1].step if ended.curve else look.steps or 0,
        curve=ended.curve,
        seconds=round(seconds, 1),
        peak_memory_bytes=None,
        resumed=0,
        trainable_parameters=None,
        device="remote",
        packages={distribution: version(distribution)},
        curves={"valid_loss": ended.validation} if ended.validation else {},
        managed=ManagedJob(
            service=begun.service,
            job=str(begun.job),
            base=begun.model,
            files=tuple(one for one in (begun.train, begun.validation) if one),
            tokens=look.tokens,
            cost=pricing.cost(managed, look),
        ),
    ), NOTHING_SEEN


def cancel(wanted: str) -> Journal:
    """Ask the service to end a job that was started from this HARNESS_HOME. Raises TrainingError for an unknown one."""
    known = {str(begun.job): begun for _, begun in unfinished()}
    if wanted not in known:
        hint = f"Those that were not seen to end: {', '.join(known) or 'none'}"
        raise TrainingError(Problem("harness cancel", f"no job {wanted!r} was started from here", hint))
    with closing(opened(known[wanted])) as service:
        service.cancel(wanted)
    return known[wanted]
