"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024) with TRL's KTOTrainer: answers found good or bad, in no pairs.

The reference is that of `dpo`. TRL takes its estimate of the KL divergence from each answer's neighbours in the batch,
so the rows are handed over in the planned order.
"""

from __future__ import annotations

from typing import Any

from harness.errors import Problem, TrainingError
from harness.records import Item, Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.objectives import Loaded
from harness.trainers.objectives.pairs import BETA, Row, answers, evidence, masked, order, prompt_of, rows_of, said
from harness.trainers.setup import configured


def build(job: Job, loaded: Loaded, scorer: Scorer) -> tuple[Any, Supervision]:
    """See `Builder`. Answers go in with their prompt and whether they are good."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    micro = job.spec.micro_batch_size or job.spec.batch_size
    if micro < 2:
        what, hint = "kto takes its KL estimate from the other answers of a batch", "Set micro_batch_size to 2 or more"
        raise TrainingError(Problem("train.micro_batch_size", f"is {micro}: {what}", next=hint))
    rows = [
        {"prompt": prompt_of(pair, job.prompt), "completion": said(text), "label": good}
        for pair in job.pairs
        for text, good in answers(pair)
    ]
    planned = order([_size(row) for row in rows], job)
    given, loss = job.spec.preference.beta, job.spec.preference.loss
    more = {
        "max_length": None,  # nothing is cut: answers that are too long are refused
        "beta": BETA if given is None else given,
        "disable_dropout": True,  # policy and reference are compared as they are
        **_weights(rows),
        **({} if loss is None else {"loss_type": loss}),
    }
    trainer = KTOTrainer(
        model=loaded.base,
        args=configured(KTOConfig, job.spec, loaded.arguments | more),
        train_dataset=Dataset.from_list([rows[at] for at in planned]),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter,
    )
    learned: dict[int, int] = {}
    for place, at in enumerate(planned):
        learned.setdefault(at, place)  # a row that comes again is the same row
    known: list[Item] = rows_of(job.pairs)
    taken = sorted(learned)
    features = [trainer.train_dataset[learned[at]] for at in taken]
    return trainer, evidence(trainer, features, [known[at] for at in taken], job, loaded, masked)


def _size(row: Row) -> int:
    """Characters: the rows are not tokenised yet, and only rows of like length are looked for."""
    return sum(len(turn["content"]) for turn in (*row["prompt"], *row["completion"]))


def _weights(rows: list[Row]) -> dict[str, float]:
    """The rarer kind of answer weighs more, so that both weigh alike in sum: the paper's equation 8, lower end."""
    good = sum(row["label"] for row in rows)
    bad = len(rows) - good
    if not good or not bad:
        what = f"all {len(rows)} answers are {'good' if good else 'bad'} ones"
        raise TrainingError(Problem("train", what, next="kto learns from answers of both kinds"))
    return {"desirable_weight": max(1.0, bad / good), "undesirable_weight": max(1.0, good / bad)}
