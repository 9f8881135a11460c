"""What dpo, orpo and kto share: preferences as TRL reads them, in the planned order, and what is learned from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.chat import chat
from harness.records import Item, Preference, Prompt, Supervision
from harness.trainers.base import Job
from harness.trainers.objectives import Loaded
from harness.trainers.order import plan, rows_an_epoch
from harness.trainers.setup import steps_of
from harness.trainers.supervision import Learned, supervision_of

Row = dict[str, Any]
Unpack = Callable[[dict[str, Any]], Sequence[tuple[list[int], list[int]]]]
"""From a collated batch to tokens and labels of each of its answers, without padding: chosen ones, then rejected."""

BETA = 0.1
"""Strength of the tie to the reference (DPO, Rafailov et al. 2023; KTO, Ethayarajh et al. 2024), and the weight of the
odds ratio (ORPO, Hong et al. 2024): all three papers' own choice."""


def answers(pair: Preference) -> Iterator[tuple[str, bool]]:
    """The answers of a preference, and whether each is a good one."""
    if pair.chosen is not None:
        yield pair.chosen, True
    if pair.rejected is not None:
        yield pair.rejected, False


def prompt_of(pair: Preference, prompt: Prompt) -> list[dict[str, str]]:
    """The turns that the candidate will be asked with."""
    item = Item(id=pair.id, messages=pair.messages, target="")
    return [turn.model_dump() for turn in chat(prompt, item)]


def said(answer: str | None) -> list[dict[str, str]]:
    """An answer as a turn."""
    return [{"role": "assistant", "content": answer or ""}]


def paired(job: Job) -> list[Row]:
    """The pairs as TRL reads them."""
    return [
        {"prompt": prompt_of(pair, job.prompt), "chosen": said(pair.chosen), "rejected": said(pair.rejected)}
        for pair in job.pairs
    ]


def order(lengths: Sequence[int], job: Job) -> list[int]:
    """Indices of the pairs (kto: answers) for the whole training."""
    steps = steps_of(job.spec, rows_an_epoch(job))
    return plan(lengths, job.spec.batch_size, steps, job.seed)


def evidence(
    trainer: Any, features: Sequence[Row], rows: Sequence[Item], job: Job, loaded: Loaded, unpack: Unpack
) -> Supervision:
    """What is learned, read off the tensors: every answer is a row, its end of turn counted, bad ones too.

    features: one of TRL's rows after the other; rows: their answers, in the order in which `unpack` gives them.
    """
    seen = [one for feature in features for one in unpack(trainer.data_collator([feature]))]
    learned = [Learned(item, *one) for item, one in zip(rows, seen, strict=True)]
    config = trainer.model.config.get_text_config()
    most = job.spec.max_length or job.model.context_length
    lost = _lost_to_padding(trainer, features, unpack)
    return supervision_of(learned, loaded.tokenizer, config, job.prompt, most, lost, served=job.model.path)


def rows_of(pairs: Sequence[Preference]) -> list[Item]:
    """Every answer of the pairs as a row of evidence."""
    return [
        Item(id=f"{pair.id} ({'chosen' if good else 'rejected'})", messages=pair.messages, target=text)
        for pair in pairs
        for text, good in answers(pair)
    ]


def masked(batch: dict[str, Any], name: str = "input_ids") -> list[tuple[list[int], list[int]]]:
    """`Unpack` where a batch says of each token whether it belongs to the answer (dpo, kto)."""
    found = []
    for ids, there, learned in zip(batch[name], batch["attention_mask"], batch["completion_mask"], strict=True):
        tokens = [int(token) for token, one in zip(ids, there, strict=True) if one]
        mask = [bool(one) for one, is_there in zip(learned, there, strict=True) if is_there]
        found.append((tokens, [token if one else -100 for token, one in zip(tokens, mask, strict=True)]))
    return found


def _lost_to_padding(trainer: Any, features: Sequence[Row], unpack: Unpack) -> list[str]:
    """The shortest row by its number, where it teaches other tokens beside the longest row than alone."""
    alone = [unpack(trainer.data_collator([feature])) for feature in features]
    sizes = [sum(len(ids) for ids, _ in one) for one in alone]
    short, long = sizes.index(min(sizes)), sizes.index(max(sizes))
    beside = unpack(trainer.data_collator([features[short], features[long]]))
    kept = [learned for at, learned in enumerate(beside) if at % 2 == 0]
    return [] if kept == list(alone[short]) else [f"row {short + 1}"]
