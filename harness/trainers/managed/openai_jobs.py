"""Jobs at OpenAI, or at any service with its calls for files and fine-tuning, through the package `openai`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from harness.errors import TrainingError
from harness.records import CurvePoint, TrainingPoint
from harness.trainers.managed.base import RETRIES, Asked, Ended, Line, Look, Sent

MARK: Final = "harness"
"""Key of a job's metadata that holds its mark."""
LATEST: Final = 20
"""Events that are read at each look."""
MOST_JOBS: Final = 200
"""Jobs, newest first, among which one that was started is looked for."""


class OpenAIJobs:
    """See `harness.trainers.managed.base.Service`."""

    def __init__(self, line: Line) -> None:
        import openai

        self._line, self._package = line, openai
        self._client = openai.OpenAI(api_key=line.key, base_url=line.url, max_retries=RETRIES)

    def upload(self, file: Path, name: str) -> str:
        """See `Service.upload`."""
        with self._line.telling(self._package, "upload"):
            return self._client.files.create(file=(name, file.read_bytes()), purpose="fine-tune").id

    def start(self, asked: Asked, sent: Sent) -> str:
        """See `Service.start`. A compatible service may not know metadata: its files are the job's own all the same."""
        kind: Any = "dpo" if asked.objective == "dpo" else "supervised"
        given = dict(asked.hyperparameters) | ({} if asked.beta is None else {"beta": asked.beta})
        more: dict[str, Any] = {"metadata": {MARK: asked.mark}} if self._line.service == "openai" else {}
        more |= {"validation_file": sent.validation} if sent.validation else {}
        more |= {"suffix": asked.suffix} if asked.suffix else {}
        more |= {"method": {"type": kind, kind: {"hyperparameters": given}}}
        with self._line.telling(self._package, "start"):
            return (
                self._client.with_options(max_retries=0)
                .fine_tuning.jobs.create(
                    model=asked.model,
                    training_file=sent.train,
                    seed=asked.seed,
                    **more,
                )
                .id
            )

    def find(self, asked: Asked, sent: Sent) -> str | None:
        """See `Service.find`."""
        with self._line.telling(self._package, "list of jobs"):
            for number, job in enumerate(self._client.fine_tuning.jobs.list(limit=100)):
                if job.training_file == sent.train or (job.metadata or {}).get(MARK) == asked.mark:
                    return job.id
                if number >= MOST_JOBS:
                    break
        return None

    def price(self, asked: Asked, sent: Sent) -> float | None:
        """See `Service.price`."""
        return None

    def look(self, job: str) -> Look:
        """See `Service.look`."""
        with self._line.telling(self._package, f"job {job}"):
            told = self._client.fine_tuning.jobs.retrieve(job)
        ends: dict[str, Any] = {"succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}
        state = ends.get(told.status, "running")
        error = told.error.message if told.error is not None else ""
        metrics = [] if state != "running" else self._metrics(job, LATEST)
        last: dict[str, Any] = metrics[-1] if metrics else {}
        return Look(
            state=state,
            words=(error if state == "failed" and error else told.status).replace("_", " "),
            model=told.fine_tuned_model,
            step=_whole(last.get("step")),
            steps=_whole(last.get("total_steps")),
            loss=_number(last.get("train_loss")),
            tokens=told.trained_tokens,
            seconds=None if told.finished_at is None else float(told.finished_at - told.created_at),
        )

    def ended(self, job: str) -> Ended:
        """See `Service.ended`."""
        curve, validation = [], []
        for one in self._metrics(job, None):
            step, loss = _whole(one.get("step")), _number(one.get("train_loss"))
            if step is not None and loss is not None:
                curve.append(TrainingPoint(step=step, loss=loss))
            valid = _number(one.get("full_valid_loss"))
            if step is not None and (valid := _number(one.get("valid_loss")) if valid is None else valid) is not None:
                validation.append(CurvePoint(step=step, value=valid))
        return Ended(tuple(curve), tuple(validation))

    def cancel(self, job: str) -> None:
        """See `Service.cancel`."""
        with self._line.telling(self._package, f"cancel {job}"):
            self._client.fine_tuning.jobs.cancel(job)

    def close(self) -> None:
        """See `Service.close`."""
        self._client.close()

    def _metrics(self, job: str, latest: int | None) -> list[dict[str, Any]]:
        """Figures among the job's events, by step; none where a service has no events."""
        found: list[dict[str, Any]] = []
        try:
            with self._line.telling(self._package, f"events of {job}"):
                for number, event in enumerate(self._client.fine_tuning.jobs.list_events(job, limit=latest or 100)):
                    if event.type == "metrics" and isinstance(event.data, dict):
                        found.append(event.data)
                    if latest is not None and number + 1 >= latest:
                        break
        except TrainingError:  # they only tell how it goes: a job is not given up for want of them
            return []
        return sorted(found, key=lambda one: _whole(one.get("step")) or 0)


def hyperparameters(objective: str) -> set[str]:
    """Names that OpenAI knows."""
    from openai.types.fine_tuning.dpo_hyperparameters_param import DpoHyperparametersParam
    from openai.types.fine_tuning.supervised_hyperparameters_param import SupervisedHyperparametersParam

    kind: Any = DpoHyperparametersParam if objective == "dpo" else SupervisedHyperparametersParam
    return set(kind.__annotations__) - {"beta"}


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
