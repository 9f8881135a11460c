"""Jobs at Fireworks, through the package `fireworks-ai`.

Fireworks has retired these calls (see docs/training.md); whoever it still answers is served, others are told.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

from harness.errors import Problem, TrainingError
from harness.trainers.managed.base import RETRIES, Asked, Away, Ended, Line, Look, Refused, Sent

OWN: Final = frozenset({
    "account_id", "dataset", "supervised_fine_tuning_job_id", "base_model", "evaluation_dataset", "output_model",
    "display_name", "aws_s3_config", "azure_blob_storage_config", "metrics_file_signed_url", "wandb_config",
    "extra_headers", "extra_query", "extra_body", "timeout",
})  # fmt: skip
"""Arguments of its call that are set from elsewhere, or hold secrets."""
CLOSED: Final = (
    "Fireworks takes no new managed jobs (docs.fireworks.ai, Migrate from Managed Training). Train over its Training "
    "API with method: command, or at another service"
)


class FireworksJobs:
    """See `harness.trainers.managed.base.Service`. The harness names files and jobs itself, so it finds them again."""

    def __init__(self, line: Line) -> None:
        import fireworks

        self._line, self._package = line, fireworks
        self._client = fireworks.Fireworks(
            api_key=line.key, account_id=line.account, base_url=line.url, max_retries=RETRIES
        )

    def upload(self, file: Path, name: str) -> str:
        """See `Service.upload`."""
        known = name.removesuffix(".jsonl")
        rows = file.read_bytes().count(b"\n")
        try:
            with self._line.telling(self._package, "new dataset"):
                self._client.datasets.create(
                    dataset_id=known, dataset={"user_uploaded": {}, "format": "CHAT", "example_count": str(rows)}
                )
        except Away as fault:
            if fault.status != 409:  # it was made before, by a run that was killed
                raise
        except Refused as fault:
            raise _closed(fault) from None
        with self._line.telling(self._package, "upload"):
            self._client.datasets.upload(known, file=(name, file.read_bytes()))
        return f"accounts/{self._line.account}/datasets/{known}"

    def start(self, asked: Asked, sent: Sent) -> str:
        """See `Service.start`."""
        more: dict[str, Any] = dict(asked.hyperparameters)
        more |= {"evaluation_dataset": sent.validation} if sent.validation else {}
        try:
            with self._line.telling(self._package, "start"):
                self._client.with_options(max_retries=0).supervised_fine_tuning_jobs.create(
                    dataset=sent.train,
                    base_model=asked.model,
                    supervised_fine_tuning_job_id=_name(asked),
                    output_model="-".join(part for part in (asked.suffix, _name(asked)) if part),
                    **more,
                )
        except Refused as fault:
            raise _closed(fault) from None
        return _name(asked)

    def find(self, asked: Asked, sent: Sent) -> str | None:
        """See `Service.find`."""
        try:
            with self._line.telling(self._package, "job"):
                self._client.supervised_fine_tuning_jobs.get(_name(asked))
        except Refused as fault:
            if fault.status == 404:
                return None
            raise
        return _name(asked)

    def price(self, asked: Asked, sent: Sent) -> float | None:
        """See `Service.price`."""
        return None

    def look(self, job: str) -> Look:
        """See `Service.look`."""
        with self._line.telling(self._package, f"job {job}"):
            told = self._client.supervised_fine_tuning_jobs.get(job)
        word = (told.state or "").removeprefix("JOB_STATE_")
        ends: dict[str, Any] = {"FAILED": "failed", "EXPIRED": "failed", "CANCELLED": "cancelled"}
        ends |= {"COMPLETED": "succeeded", "EARLY_STOPPED": "succeeded"}
        state = ends.get(word, "running")
        why = (told.status.message if told.status is not None else "") or ""
        done, begun, cost = told.completed_time, told.create_time, told.estimated_cost
        return Look(
            state=state,
            words=why if state == "failed" and why else word.lower().replace("_", " "),
            model=_model(told.output_model or job, self._line.account) if state == "succeeded" else None,
            percent=told.job_progress.percent if told.job_progress is not None else None,
            cost=None if cost is None else int(cost.units or 0) + (cost.nanos or 0) / 1e9,
            seconds=None if done is None or begun is None else (done - begun).total_seconds(),
        )

    def ended(self, job: str) -> Ended:
        """See `Service.ended`; it tells no figures by step."""
        return Ended()

    def cancel(self, job: str) -> None:
        """See `Service.cancel`."""
        with self._line.telling(self._package, f"cancel {job}"):
            self._client.supervised_fine_tuning_jobs.cancel(job, body={})

    def close(self) -> None:
        """See `Service.close`."""
        self._client.close()


def hyperparameters(objective: str) -> set[str]:
    """Names that its call takes."""
    from fireworks.resources.supervised_fine_tuning_jobs import SupervisedFineTuningJobsResource

    return set(inspect.signature(SupervisedFineTuningJobsResource.create).parameters) - OWN - {"self"}


def _closed(fault: Refused) -> TrainingError:
    """A refusal, with what to do where Fireworks says that the call is no more."""
    if fault.status in (404, 410, 501):
        return TrainingError([*fault.problems, Problem("train.managed", "the service is closed for this", next=CLOSED)])
    return fault


def _name(asked: Asked) -> str:
    return f"harness-{asked.mark[:16]}"


def _model(name: str, account: str) -> str:
    return name if name.startswith("accounts/") else f"accounts/{account}/models/{name}"
