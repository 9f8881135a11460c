"""Jobs at Together, through the package `together`."""

from __future__ import annotations

import inspect
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from harness.errors import TrainingError
from harness.records import TrainingPoint
from harness.trainers.managed.base import RETRIES, Asked, Ended, Line, Look, Sent

NANODOLLARS: Final = 1e9
"""Prices of finished jobs are told in billionths of a dollar."""
OWN: Final = frozenset({
    "training_file", "validation_file", "model", "suffix", "random_seed", "training_method", "dpo_beta", "verbose",
    "model_limits", "from_checkpoint", "train_on_inputs", "wandb_api_key", "hf_api_token", "wandb_base_url",
})  # fmt: skip
"""Arguments of its call that are set from elsewhere, or hold secrets."""


class TogetherJobs:
    """See `harness.trainers.managed.base.Service`."""

    def __init__(self, line: Line) -> None:
        import together

        self._line, self._package = line, together
        self._client = together.Together(api_key=line.key, base_url=line.url, max_retries=RETRIES)

    def upload(self, file: Path, name: str) -> str:
        """See `Service.upload`. The package names a file at the service as it is named here."""
        with self._line.telling(self._package, "upload"), tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(file, Path(folder) / name)
            return self._client.files.upload(copy, purpose="fine-tune").id

    def start(self, asked: Asked, sent: Sent) -> str:
        """See `Service.start`. Loss falls on the answers alone."""
        more: dict[str, Any] = dict(asked.hyperparameters)
        more |= {"validation_file": sent.validation} if sent.validation else {}
        more |= {"dpo_beta": asked.beta} if asked.beta is not None else {}
        more |= {"train_on_inputs": False} if asked.objective == "sft" else {}
        with self._line.telling(self._package, "start"):
            job = self._client.with_options(max_retries=0).fine_tuning.create(
                training_file=sent.train,
                model=asked.model,
                suffix=_suffix(asked),
                random_seed=asked.seed,
                training_method=asked.objective,
                **more,
            )
            return job.id

    def find(self, asked: Asked, sent: Sent) -> str | None:
        """See `Service.find`. Equal files share an id there, so the mark stands in the suffix."""
        with self._line.telling(self._package, "list of jobs"):
            for job in self._client.fine_tuning.list().data:
                if _suffix(asked) in (job.suffix or job.x_model_output_name or ""):
                    return job.id
        return None

    def price(self, asked: Asked, sent: Sent) -> float | None:
        """See `Service.price`; it gives none until it has checked the files."""
        more: dict[str, Any] = {"validation_file": sent.validation} if sent.validation else {}
        for name in ("n_epochs", "n_evals"):
            more |= {name: asked.hyperparameters[name]} if name in asked.hyperparameters else {}
        with self._line.telling(self._package, "estimate of the price"):
            told = self._client.fine_tuning.estimate_price(training_file=sent.train, model=asked.model, **more)
        return told.estimated_total_price if told.estimation_available is not False else None

    def look(self, job: str) -> Look:
        """See `Service.look`."""
        with self._line.telling(self._package, f"job {job}"):
            told = self._client.fine_tuning.retrieve(job)
        ends: dict[str, Any] = {"completed": "succeeded", "error": "failed", "cancelled": "cancelled"}
        events = told.events or []
        steps = [event for event in events if event.step is not None]
        wrong = [event.message for event in events if event.level == "error" or "ERROR" in str(event.type)]
        state = ends.get(told.status, "running")
        done, begun = told.updated_at, told.created_at
        return Look(
            state=state,
            words=wrong[-1] if state == "failed" and wrong else told.status.replace("_", " "),
            model=told.x_model_output_name,
            step=steps[-1].step if steps else None,
            steps=steps[-1].total_steps if steps else None,
            tokens=told.token_count,
            cost=None if told.total_price is None else told.total_price / NANODOLLARS,
            seconds=None if state == "running" or done is None or begun is None else (done - begun).total_seconds(),
        )

    def ended(self, job: str) -> Ended:
        """See `Service.ended`."""
        try:
            with self._line.telling(self._package, f"metrics of {job}"):
                told = self._client.fine_tuning.list_metrics(job).metrics or []
        except TrainingError:  # they only tell how it went
            return Ended()
        curve = [
            TrainingPoint(
                step=int(one["train/global_step"]),
                loss=one["train/loss"],
                learning_rate=one.get("train/learning_rate"),
            )
            for one in told
            if "train/global_step" in one and "train/loss" in one
        ]
        return Ended(tuple(curve))

    def cancel(self, job: str) -> None:
        """See `Service.cancel`."""
        with self._line.telling(self._package, f"cancel {job}"):
            self._client.fine_tuning.cancel(job)

    def close(self) -> None:
        """See `Service.close`."""
        self._client.close()


def hyperparameters(objective: str) -> set[str]:
    """Names that its call takes."""
    from together.resources.fine_tuning import FineTuningResource

    return set(inspect.signature(FineTuningResource.create).parameters) - OWN - {"self"}


def _suffix(asked: Asked) -> str:
    return "-".join(part for part in (asked.suffix, asked.mark[:8]) if part)
