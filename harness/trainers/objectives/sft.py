"""Supervised fine-tuning with TRL's SFTTrainer: loss falls on the gold answer and its end of turn alone."""

from __future__ import annotations

from typing import Any

from harness.chat import chat
from harness.records import Item, Prompt, Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.objectives import Loaded
from harness.trainers.objectives.weighted import CODE, Weighting, weighting
from harness.trainers.order import plan, rows_an_epoch
from harness.trainers.setup import configured, steps_of
from harness.trainers.supervision import read_supervision

GENERAL = Prompt(name="general", instruction="")
"""Put before general rows: nothing."""


def build(job: Job, loaded: Loaded, scorer: Scorer) -> tuple[Any, Supervision]:
    """See `Builder`. Rows go in as prompt and completion."""
    from trl import SFTConfig, SFTTrainer

    more = {
        "max_length": None,  # nothing is cut: read_supervision refuses rows that are too long
        "completion_only_loss": True,
        "packing": False,
    }
    arguments = configured(SFTConfig, job.spec, loaded.arguments | more)
    kind = weighting(SFTTrainer, job)
    trainer = made(kind, job, loaded, arguments)
    most = job.spec.max_length or job.model.context_length
    rows = [asked(item, job.prompt) for item in job.rows] + [asked(item, GENERAL) for item in job.replay]
    supervision = read_supervision(trainer, loaded.tokenizer, rows, GENERAL, most, served=job.model.path)
    lengths = [len(tokens) for tokens in trainer.train_dataset["input_ids"]]
    steps = steps_of(job.spec, rows_an_epoch(job))
    if issubclass(kind, Weighting):
        trainer.train_dataset = trainer.train_dataset.add_column(CODE, list(range(1, len(rows) + 1)))
    trainer.train_dataset = trainer.train_dataset.select(plan(lengths, job.spec.batch_size, steps, job.seed, job))
    return trainer, supervision


def made(kind: Any, job: Job, loaded: Loaded, arguments: Any) -> Any:
    """TRL's trainer over the job's rows."""
    from datasets import Dataset

    return kind(
        model=loaded.base,
        args=arguments,
        train_dataset=Dataset.from_list(
            [as_row(item, job.prompt) for item in job.rows] + [as_row(item, GENERAL) for item in job.replay]
        ),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter,
    )


def asked(item: Item, prompt: Prompt) -> Item:
    """An item with the prompt's turns in it already."""
    return item.model_copy(update={"messages": chat(prompt, item)})


def as_row(item: Item, prompt: Prompt) -> dict[str, list[dict[str, str]]]:
    """One row as TRL reads it: the turns that the candidate will be asked with, then the answer to learn."""
    return {
        "prompt": [turn.model_dump() for turn in chat(prompt, item)],
        "completion": [{"role": "assistant", "content": item.target}],
    }
