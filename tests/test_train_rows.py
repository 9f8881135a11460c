"""Rows that are not the train split as it stands: balanced, mixed with general ones, tied to the base model."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from small_training import PROMPT, QUICK, ROWS, Notes, job, tiny

from harness.errors import TrainingError
from harness.models import LocalModel, quiet
from harness.records import Item, Message
from harness.trainers import Job, TrainSpec, balance, no_scorer
from harness.trainers.base import Origin
from harness.trainers.lifecycle import build, train_here
from harness.trainers.order import endless, plan, rows_an_epoch

ORIGIN = Origin(device="cpu", dtype="float32", packages={})
UNEVEN = ("yes",) * 6 + ("no", "no")
SKEWED = tuple(item.model_copy(update={"target": answer}) for item, answer in zip(ROWS, UNEVEN, strict=True))
GENERAL = tuple(
    Item(id=f"g{n}", messages=(Message(role="user", content=f"Name a fruit, number {n}."),), target="An apple.")
    for n in range(3)
)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def spec(**changes: Any) -> TrainSpec:
    return TrainSpec.model_validate(QUICK.model_dump(exclude_defaults=True) | changes)


def trainer_of(job: Job, folder: Path) -> Any:
    with quiet():
        return build(job, no_scorer, ORIGIN, folder)[0]


def test_weights_are_inverse_to_the_frequency_of_answers_with_mean_one() -> None:
    weights = balance.weights(SKEWED)
    assert weights[0] == pytest.approx(8 / (2 * 6))
    assert weights[-1] == pytest.approx(8 / (2 * 2))
    assert sum(weights) / len(weights) == pytest.approx(1)


def test_answers_that_are_no_classes_are_not_balanced() -> None:
    with pytest.raises(TrainingError, match="8 different gold answers in 8 rows are no classes"):
        balance.weights(ROWS)


def test_resampling_draws_every_answer_equally_often_and_every_row_of_an_answer_before_any_again() -> None:
    drawn = list(islice(balance.resampled(SKEWED, random.Random(0)), 24))
    assert Counter(SKEWED[at].target for at in drawn) == {"yes": 12, "no": 12}
    assert {drawn.count(at) for at in range(6)} == {2}
    assert {drawn.count(at) for at in (6, 7)} == {6}


def test_general_rows_are_mixed_in_by_ratio_beside_as_many_passes_over_the_tasks_rows(model: LocalModel) -> None:
    mixed = job(model, spec(replay={"file": "x", "ratio": 0.2}), replay=GENERAL)
    assert rows_an_epoch(mixed) == 10
    drawn = list(islice(endless(mixed, random.Random(1)), 100))
    assert sum(at >= len(ROWS) for at in drawn) == 20
    assert {drawn.count(at) for at in range(len(ROWS))} == {10}
    lengths = [5] * (len(ROWS) + len(GENERAL))
    assert sum(at >= len(ROWS) for at in plan(lengths, 5, 20, 0, mixed)) == 20


def test_general_rows_are_learned_without_the_tasks_instruction(model: LocalModel, tmp_path: Path) -> None:
    made = trainer_of(job(model, spec(replay={"file": "x", "ratio": 0.5}), replay=GENERAL), tmp_path)
    texts = {made.processing_class.decode(row) for row in made.train_dataset["input_ids"]}
    assert {"Name a fruit" in text for text in texts if PROMPT.instruction not in text} == {True}
    assert {"What comes after" in text for text in texts if PROMPT.instruction in text} == {True}


def _losses(trainer: Any, weights: Sequence[float]) -> tuple[float, float]:
    """The loss of one batch as the trainer has it, and by hand from the model's logits."""
    import torch

    batch = next(iter(trainer.get_train_dataloader()))
    codes = batch["row_code"]
    own = torch.tensor([0.0, *weights])[codes.clamp(min=0)][:, 1:]
    logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    told = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    mask = labels != -100
    by_hand = -(told * own * mask).sum() / mask.sum()
    return float(trainer.compute_loss(trainer.model.train(), batch)), float(by_hand)


def test_the_weighted_loss_is_trls_with_each_rows_tokens_weighted(model: LocalModel, tmp_path: Path) -> None:
    made = trainer_of(job(model, spec(balance="weighted_loss", dropout=0.0, batch_size=8), rows=SKEWED), tmp_path)
    with quiet():
        got, by_hand = _losses(made, balance.weights(SKEWED))
    assert got == pytest.approx(by_hand, rel=1e-5)


def test_the_kl_of_general_rows_is_zero_at_the_start_and_grows_as_the_model_moves(
    model: LocalModel, tmp_path: Path
) -> None:
    import torch

    tied = spec(replay={"file": "x", "ratio": 0.5, "kl": 3.0}, dropout=0.0, batch_size=8)
    made = trainer_of(job(model, tied, replay=GENERAL), tmp_path)
    with quiet():
        got, by_hand = _losses(made, [1.0] * len(ROWS) + [0.0] * len(GENERAL))
        assert got == pytest.approx(by_hand, rel=1e-5)
        for name, weights in made.model.named_parameters():
            if "lora_B" in name:
                weights.data += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(0))
        moved, without = _losses(made, [1.0] * len(ROWS) + [0.0] * len(GENERAL))
    assert moved > without * (1 + 1e-4)


def test_full_fine_tuning_has_no_base_model_to_be_tied_to() -> None:
    with pytest.raises(ValidationError, match=r"replay.kl: needs the base model beside the trained one, and full"):
        spec(method="full", replay={"file": "x", "kl": 1.0})


@pytest.mark.parametrize(
    "changes",
    [
        {"balance": "weighted_loss"},
        {"balance": "resample"},
        {"replay": {"file": "x", "ratio": 0.25, "kl": 0.5}},
        {"balance": "weighted_loss", "replay": {"file": "x", "ratio": 0.25}},
    ],
    ids=["weighted", "resampled", "tied", "both"],
)
def test_such_trainings_learn_and_go_on_after_a_kill_in_the_same_bits(
    model: LocalModel, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = GENERAL if "replay" in changes else ()
    one = job(model, spec(**changes), rows=SKEWED, replay=replay)
    with quiet():
        whole, _ = train_here(one, no_scorer, Notes())
        monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "other"))
        with pytest.raises(KeyboardInterrupt):
            train_here(one, no_scorer, Notes(stop_at=7))
        resumed, _ = train_here(one, no_scorer, Notes())
    assert whole.curve[-1].loss < whole.curve[0].loss
    assert math.isfinite(whole.curve[-1].loss)
    assert resumed.resumed == 1
    assert resumed.adapter == whole.adapter
