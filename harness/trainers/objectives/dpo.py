"""Direct preference optimisation (Rafailov et al. 2023) with TRL's DPOTrainer.

The reference is what training begins from: the base model, or with `train.start` the base model with that adapter.
TRL keeps it as a second, frozen adapter beside the trained one; without an adapter to begin with it switches the
trained one off.
"""

from __future__ import annotations

from typing import Any

from harness.records import Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.objectives import Loaded
from harness.trainers.objectives.pairs import BETA, evidence, masked, order, paired, rows_of
from harness.trainers.setup import configured


def build(job: Job, loaded: Loaded, scorer: Scorer) -> tuple[Any, Supervision]:
    """See `Builder`. Pairs go in as prompt, chosen and rejected."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    loss, given = job.spec.preference.loss, job.spec.preference.beta
    more = {
        "max_length": None,  # nothing is cut: pairs that are too long are refused
        "beta": BETA if given is None else given,
        "disable_dropout": True,  # policy and reference are compared as they are
        **({} if loss is None else {"loss_type": [loss] if isinstance(loss, str) else list(loss)}),
    }
    trainer = DPOTrainer(
        model=loaded.base,
        args=configured(DPOConfig, job.spec, loaded.arguments | more),
        train_dataset=Dataset.from_list(paired(job)),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter,
    )
    rows = trainer.train_dataset
    supervision = evidence(trainer, list(rows), rows_of(job.pairs), job, loaded, masked)
    lengths = [len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows]
    trainer.train_dataset = rows.select(order(lengths, job))
    return trainer, supervision
