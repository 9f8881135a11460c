"""What is learned: read off the tensors before the first step, and refused where it would spoil the model.

A row must be seen in training exactly as the candidate will be asked: the tokens
without loss are the prompt that engines send, and the tokens with loss are the gold
answer and the end of the turn.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.models import chat_template, turns
from harness.records import Item, LengthBin, Prompt, Supervision

MOST_BINS = 20
"""Of the lengths of rows."""

EXAMPLES = 3
"""Rows that are shown decoded."""

SHOWN = 60
"""Characters of a difference that are shown."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One row as the trainer sees it."""

    id: str
    tokens: int
    learned: int
    ends: bool
    """Whether the last token that is learned, white space apart, ends a turn."""
    context: tuple[str, str] | None
    """Where the prompt differs: as trained, as served."""
    answer: tuple[str, str] | None
    """Where the answer differs: as trained, the gold answer."""
    text: str
    """The row with the learned span between [[ and ]]."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One row's tokens as a trainer learns from them."""

    item: Item
    """The question, and as its target the answer that these tokens hold."""
    ids: list[int]
    labels: list[int]
    """The token where it carries loss, else -100."""


def read_supervision(
    trainer: Any, tokenizer: Any, rows: Sequence[Item], prompt: Prompt, max_length: int, served: Path | None = None
) -> Supervision:
    """Read what the trainer will learn from off the collated tensors.

    served: the model's folder, from which engines take the chat template.
    Raises TrainingError naming the first rows at fault and what differs.
    """
    batches = (trainer.data_collator([features]) for features in trainer.train_dataset)
    learned = (
        Learned(item, batch["input_ids"][0].tolist(), batch["labels"][0].tolist())
        for item, batch in zip(rows, batches, strict=True)
    )
    config = trainer.model.config.get_text_config()
    return supervision_of(learned, tokenizer, config, prompt, max_length, _lost_to_padding(trainer), served)


def supervision_of(
    learned: Iterable[Learned],
    tokenizer: Any,
    config: Any,
    prompt: Prompt,
    max_length: int,
    lost: Sequence[str],
    served: Path | None = None,
) -> Supervision:
    """The evidence of rows as a trainer learns from them, whatever its objective.

    lost: rows that teach other tokens when they are padded. Raises TrainingError as `read_supervision`.
    """
    template = check_template(tokenizer, served)
    ends = turns.end_tokens(tokenizer, config)
    seen = [_look(one, prompt, tokenizer, ends) for one in learned]
    long = [row.id for row in seen if row.tokens > max_length]
    silent = [row.id for row in seen if not row.learned]
    endless = [row.id for row in seen if not row.ends]
    elsewhere = {row.id: row.context for row in seen if row.context}
    otherwise = {row.id: row.answer for row in seen if row.answer}
    refuse_long(long, max_length)
    _refuse(silent, "have no token to learn from", "Give each a non-empty answer")
    refuse_elsewhere(elsewhere)
    _refuse(endless, "do not teach the end of turn", "Check the model's chat template and eos token")
    what = "would teach something else than their answer"
    hint = "The chat template must add nothing to a last answer but the end of its turn"
    _refuse(list(otherwise), what + _difference(otherwise, "the answer is"), hint)
    _refuse(lost, "lose what they teach when they are padded", "Give the tokenizer a pad token of its own")
    return Supervision(
        rows=len(seen),
        tokens=sum(row.tokens for row in seen),
        supervised_tokens=sum(row.learned for row in seen),
        rows_without_loss=len(silent),
        rows_truncated=len(long),
        rows_with_end_of_turn=len(seen) - len(endless),
        prompt_matches_serving=len(seen) - len(elsewhere),
        longest=max(row.tokens for row in seen),
        lengths=lengths_of([row.tokens for row in seen]),
        example=seen[0].text,
        more_examples=tuple(row.text for row in seen[1:EXAMPLES]),
        chat_template=template_digest(template),
        padding_keeps_learned=True,
    )


def lengths_of(tokens: Sequence[int]) -> tuple[LengthBin, ...]:
    """Rows by length, at most `MOST_BINS` bins of one width (1, 2 or 5 times a power of ten, or tokens where few).

    tokens: of each row.
    """
    low, high = min(tokens), max(tokens)
    widths = (step * 10**power for power in itertools.count() for step in (1, 2, 5))
    width = next(w for w in widths if high // w - low // w < MOST_BINS)
    counted = Counter(count // width for count in tokens)
    return tuple(
        LengthBin(shortest=at * width, longest=(at + 1) * width - 1, rows=counted[at])
        for at in range(low // width, high // width + 1)
    )


def check_template(tokenizer: Any, served: Path | None) -> str:
    """The chat template that is trained with; TrainingError where engines serve with another."""
    template = str(tokenizer.get_chat_template())
    if served is not None and template != chat_template(served):
        what, hint = (
            "would be trained with another chat template than the one that is served",
            "Load both from one folder",
        )
        raise TrainingError(Problem("train", what, next=hint))
    return template


def template_digest(template: str) -> str:
    """sha256 of a chat template, as `Supervision.chat_template` holds it."""
    return hashlib.sha256(template.encode()).hexdigest()


def refuse_long(ids: Sequence[str], max_length: int) -> None:
    """Raise TrainingError for rows that would be cut."""
    _refuse(ids, f"are longer than max_length {max_length} and would be cut", "Raise train.max_length or shorten them")


def refuse_elsewhere(rows: dict[str, tuple[str, str]]) -> None:
    """Raise TrainingError for rows whose prompt is another in training (first of the pair) than when served."""
    what = "would be trained after another prompt than the one that is served"
    hint = "The chat template must render a prompt alike with and without its answer"
    _refuse(list(rows), what + _difference(rows, "served"), hint)


def _lost_to_padding(trainer: Any) -> list[str]:
    """The shortest row by its number, where it teaches other tokens beside the longest row than alone.

    A pad token that is the end of the turn too may take the end with it when padding is masked.
    """
    features = sorted(range(len(trainer.train_dataset)), key=lambda at: len(trainer.train_dataset[at]["input_ids"]))
    short, long = features[0], features[-1]
    alone = trainer.data_collator([trainer.train_dataset[short]])
    beside = trainer.data_collator([trainer.train_dataset[short], trainer.train_dataset[long]])
    taught = [[int(label) for label in batch["labels"][0] if label != -100] for batch in (alone, beside)]
    return [] if taught[0] == taught[1] else [f"row {short + 1}"]


def _look(one: Learned, prompt: Prompt, tokenizer: Any, ends: Collection[int]) -> _Seen:
    item, ids, labels = one.item, one.ids, one.labels
    context = ids[: next((at for at, label in enumerate(labels) if label != -100), len(ids))]
    learned = [token for token, label in zip(ids, labels, strict=True) if label != -100]
    served = turns.render(tokenizer, chat(prompt, item))
    same = context == tokenizer(served, add_special_tokens=False)["input_ids"]
    body = len(learned)
    while body and (learned[body - 1] in ends or not _text(tokenizer, learned[body - 1 : body]).strip()):
        body -= 1
    tail = [token for token in learned[body:] if token in ends or _text(tokenizer, [token]).strip()]
    return _Seen(
        id=item.id,
        tokens=len(ids),
        learned=len(learned),
        ends=bool(tail),
        context=None if same else apart(_text(tokenizer, context), served),
        answer=_other_answer(_text(tokenizer, learned[:body]).strip(), item.target.strip(), tokenizer),
        text=f"{_text(tokenizer, context)}[[{_text(tokenizer, learned)}]]",
    )


def _other_answer(taught: str, gold: str, tokenizer: Any) -> tuple[str, str] | None:
    """None when the gold answer is taught, white space around it apart.

    Some tokenizers cannot give back every text; then what they make of the gold answer counts.
    """
    if taught == gold or taught == _text(tokenizer, tokenizer(gold, add_special_tokens=False)["input_ids"]).strip():
        return None
    return apart(taught, gold)


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def apart(one: str, other: str) -> tuple[str, str]:
    """Both texts from a little before where they part."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, same - SHOWN // 3)
    return one[start : start + SHOWN], other[start : start + SHOWN]


def _difference(rows: dict[str, tuple[str, str]], expected: str) -> str:
    """The first row's difference in words."""
    if not rows:
        return ""
    got, right = next(iter(rows.values()))
    return f" (trained {got!r}, {expected} {right!r})"


def _refuse(ids: Sequence[str], what: str, hint: str) -> None:
    if ids:
        named = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise TrainingError(Problem("train", f"{len(ids)} rows {what}: {named}", next=hint))
