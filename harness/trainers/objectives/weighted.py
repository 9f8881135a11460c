"""Rows that do not count alike: weights against class imbalance, and general rows tied to the base model by KL.

TRL's loss of a batch is the sum over its learned tokens of -log p, divided by their number. Here a token's term is
weighted by its row; a token of a general row under `replay.kl` has in its place the weight times KL(base || model)
over the whole vocabulary at that place: what forgetting is measured by (`harness.forgetting`), as a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from harness.trainers import balance
from harness.trainers.base import Job

CODE = "row_code"
"""Column of the data set, and key of a batch: which row a token is of, as its index plus 1."""
POSITIONS = 256
"""Places at which both models' distributions are held at once."""


class Weighting:
    """Marks a trainer that counts rows unlike."""


def row_weights(job: Job) -> tuple[list[float], list[float]] | None:
    """For each of `[*job.rows, *job.replay]` its weight in the loss, and that of its KL; None where all count alike."""
    kl = job.spec.replay.kl if job.spec.replay is not None and job.replay else 0.0
    if job.spec.balance != "weighted_loss" and not kl:
        return None
    own = balance.weights(job.rows) if job.spec.balance == "weighted_loss" else [1.0] * len(job.rows)
    plain = 0.0 if kl else 1.0
    return own + [plain] * len(job.replay), [0.0] * len(job.rows) + [kl] * len(job.replay)


def weighting(kind: Any, job: Job) -> Any:
    """TRL's trainer class, with the job's weights in its loss; itself where all rows count alike."""
    both = row_weights(job)
    if both is None:
        return kind
    counted, tied = both

    import torch

    class Weighted(Weighting, kind):  # type: ignore[misc]
        """Its batches name each token's row; see the module."""

        weights, ties = torch.tensor([0.0, *counted]), torch.tensor([0.0, *tied])
        _signature_columns: list[str] | None

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            if CODE not in (columns := self._signature_columns or []):
                self._signature_columns = [*columns, CODE]

        def get_train_dataloader(self) -> Any:
            with _naming_rows(self):
                return super().get_train_dataloader()

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            codes = inputs.pop(CODE, None)
            if codes is None:  # dev rows, if TRL is asked for a loss of its own on them
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            width = outputs.log_probs.shape[1]  # a learned prompt comes before: from the end
            codes = torch.nn.functional.pad(codes, (width, 0))[:, -width:].clamp(min=0).to(outputs.log_probs.device)
            total = -(outputs.log_probs * self.weights.to(codes.device)[codes]).sum()
            ties = self.ties.to(codes.device)[codes] * outputs.label_mask
            if bool(ties.any()):
                total = total + _tied(model, inputs, ties)
            count = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
            loss = total / torch.as_tensor(count).clamp(min=1)
            return (loss, outputs) if return_outputs else loss

    return Weighted


@contextmanager
def _naming_rows(trainer: Any) -> Any:
    """While a loader is made, it is given a collator that names each token's row."""
    inner = trainer.data_collator

    def collate(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        codes = [{**one, "labels": [one[CODE]] * len(one["input_ids"])} for one in examples]
        return {**inner(list(examples)), CODE: inner(codes)["labels"]}

    trainer.data_collator = collate
    try:
        yield
    finally:
        trainer.data_collator = inner


def _tied(model: Any, inputs: Any, ties: Any) -> Any:
    """The sum over places of tie times KL(base || model), in nats."""
    import torch

    rows = ties.any(dim=1)
    asked = {
        name: value[rows] if getattr(value, "shape", ())[:1] == rows.shape else value
        for name, value in inputs.items()
        if name != "labels"
    }
    ties = ties[rows]
    places = ties.nonzero(as_tuple=True)
    with torch.no_grad(), _unwrapped(model).disable_adapter():
        base = model(**asked, use_cache=False).logits
    base = base[:, -ties.shape[1] - 1 :][:, :-1][places].detach()
    tuned = model(**asked, use_cache=False).logits[:, -ties.shape[1] - 1 :][:, :-1][places]
    total = tuned.new_zeros((), dtype=torch.float32)
    for at in range(0, len(base), POSITIONS):
        wanted = base[at : at + POSITIONS].float().log_softmax(-1)
        got = tuned[at : at + POSITIONS].float().log_softmax(-1)
        apart = (wanted.exp() * (wanted - got)).sum(-1)
        total = total + (apart * ties[places][at : at + POSITIONS]).sum()
    return total


def _unwrapped(model: Any) -> Any:
    return getattr(model, "module", model)
