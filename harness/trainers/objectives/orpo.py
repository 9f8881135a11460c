"""Odds ratio preference optimisation (Hong et al. 2024) with TRL's ORPOTrainer: there is no reference model.

Its likelihood loss falls on the chosen answer alone, as in the paper's equation: TRL's falls on the prompt too.
"""

from __future__ import annotations

from typing import Any

from harness.records import Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.objectives import Loaded
from harness.trainers.objectives.pairs import BETA, evidence, order, paired, rows_of
from harness.trainers.setup import configured

UNCUT = 1 << 30
"""A length that no row has: TRL cuts at it, and pairs that are too long are refused."""
SIDES = ("chosen", "rejected")


def build(job: Job, loaded: Loaded, scorer: Scorer) -> tuple[Any, Supervision]:
    """See `Builder`. Pairs go in as prompt, chosen and rejected."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig

    given = job.spec.preference.beta
    more = {
        "max_length": UNCUT,
        "beta": BETA if given is None else given,
        "disable_dropout": job.spec.dropout == 0,
        "remove_unused_columns": False,  # its collator wants them
    }
    trainer = _on_answers()(
        model=loaded.base,
        args=configured(ORPOConfig, job.spec, loaded.arguments | more),
        train_dataset=Dataset.from_list(paired(job)),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter,
    )
    rows = trainer.train_dataset.map(_ending_as_served, fn_kwargs={"tokenizer": loaded.tokenizer})
    supervision = evidence(trainer, list(rows), rows_of(job.pairs), job, loaded, _unpacked)
    lengths = [max(len(row["chosen_input_ids"]), len(row["rejected_input_ids"])) for row in rows]
    trainer.train_dataset = rows.select(order(lengths, job))
    return trainer, supervision


def _on_answers() -> type[Any]:
    """TRL's trainer, its mean likelihood loss of chosen rows taken over the tokens of their answers."""
    from trl.experimental.orpo import ORPOTrainer

    class OnAnswers(ORPOTrainer):  # type: ignore[misc]  # TRL has no types
        def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
            """As in TRL, whose fifth value is that loss; the first is an answer's mean log-probability a token."""
            chosen, *others = super().concatenated_forward(model, batch)
            tokens = (batch["chosen_labels"][:, 1:] != -100).sum(-1).to(chosen.device)
            others[3] = -(chosen * tokens).sum() / tokens.sum()
            return chosen, *others

    return OnAnswers


def _ending_as_served(row: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """A row without the end of sequence that TRL puts after an answer whose end of turn is another token."""
    for side in SIDES:
        whole = tokenizer(row["prompt"] + row[side], add_special_tokens=False)["input_ids"]
        ids = row[f"{side}_input_ids"]
        if ids == [*whole, tokenizer.eos_token_id]:
            for name in ("input_ids", "attention_mask", "labels"):
                row[f"{side}_{name}"] = row[f"{side}_{name}"][:-1]
    return row


def _unpacked(batch: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    found = []
    for side in SIDES:
        kept = [batch[f"{side}_{name}"].tolist() for name in ("attention_mask", "input_ids", "labels")]
        for there, ids, labels in zip(*kept, strict=True):
            real = [at for at, one in enumerate(there) if one]
            found.append(([ids[at] for at in real], [labels[at] for at in real]))
    return found
