"""Which rows are learned from: the train split as it stands, and one job a seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data import Split
from harness.models import LocalModel
from harness.records import Decoding, Item, Prompt
from harness.trainers import Job, TrainSpec


def spread(items: Sequence[Item], most: int) -> tuple[Item, ...]:
    """So many of them at most, evenly spread: files are often sorted, by label too."""
    count = min(most, len(items))
    return tuple(items[at * len(items) // count] for at in range(count))


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
            dev=spread(looked, spec.select.items) if spec.select.by == "task" else (),
            decoding=decoding,
        )
        for seed in spec.seeds
    )
