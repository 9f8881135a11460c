"""`method: existing`: a candidate that was trained elsewhere and lies in a folder, gated in the same way."""

from __future__ import annotations

from harness import artifacts
from harness.models import quiet
from harness.progress import Progress
from harness.records import SeedTraining, Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.setup import origin
from harness.trainers.taking import take


def take_existing(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    """See `harness.trainers.base.Trainer`; nothing is trained."""
    folder = job.near / str(job.spec.adapter)
    key = job.key(origin(job.spec.method))[:16]
    with artifacts.lock(f"taking-{key}"), quiet():
        progress.note(f"checking {job.spec.adapter}, trained elsewhere")
        return take(folder, job, artifacts.workspace("taking", key))
