"""Which rows are learned from: the train split as it stands, and one job a seed."""

from __future__ import annotations

from pathlib import Path

from harness.data import Split
from harness.models import LocalModel
from harness.records import Decoding, Prompt
from harness.trainers import Job, TrainSpec


def jobs(
    spec: TrainSpec, train: Split, dev: Split, prompt: Prompt, model: LocalModel, decoding: Decoding, near: Path
) -> tuple[Job, ...]:
    """One job a seed. Raises ValueError when it is handed the test split."""
    rows, looked = train.to_learn_from(), dev.to_learn_from()
    return tuple(
        Job(
            spec=spec,
            prompt=prompt,
            model=model,
            seed=seed,
            rows=rows,
            dev=looked[: spec.select.items] if spec.select.by == "task" else (),
            decoding=decoding,
        )
        for seed in spec.seeds
    )
