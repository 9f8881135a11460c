"""A label head over the base model: trained, published, served beside an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted import Scripted, text
from small_training import PROMPT, QUICK, ROWS, Notes, job, tiny

from harness import artifacts
from harness.chat import chat
from harness.engines.base import Adapter, Request
from harness.engines.beside import Beside
from harness.errors import TrainingError
from harness.models import LocalModel, quiet
from harness.records import Decoding, Item
from harness.trainers import TrainSpec, no_scorer, train
from harness.trainers.classifier import train_classifier

LABELLED = tuple(
    item.model_copy(update={"target": "even" if at % 2 == 0 else "odd, surely"}) for at, item in enumerate(ROWS)
)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def spec(**changes: Any) -> TrainSpec:
    quick = QUICK.model_dump(exclude_defaults=True) | {"method": "classifier", "epochs": 20, "learning_rate": 0.02}
    return TrainSpec.model_validate(quick | changes)


def asked(*items: Item, adapter: str | None = "tuned") -> list[Request]:
    return [Request(Decoding(), messages=chat(PROMPT, item), adapter=adapter) for item in items]


@pytest.mark.parametrize("body", ["lora", "frozen"])
@pytest.mark.parametrize("balance", ["none", "weighted_loss"])
def test_a_head_learns_its_labels_and_answers_with_their_texts(model: LocalModel, body: str, balance: str) -> None:
    scored: list[str] = []

    def scorer(split: str, answers: Any) -> list[float | None]:
        scored.extend(answer for _, answer in answers)
        return [float(answer == LABELLED[at].target) for at, answer in answers]

    made = spec(classifier={"body": body}, balance=balance, **({"learning_rate": 0.3} if body == "frozen" else {}))
    training, seen = train_classifier(job(model, made, rows=LABELLED, dev=LABELLED), scorer, Notes())
    assert training.curve[-1].loss < training.curve[0].loss
    assert training.adapter.kind == "classifier"
    assert (seen.supervised_tokens, seen.rows) == (8, 8)
    assert set(scored) <= {"even", "odd, surely"}
    folder = artifacts.folder("adapters", training.adapter.digest)
    with Beside(Scripted(lambda _: text("from the base model")), model) as engine:
        engine.load_adapter(Adapter("tuned", str(folder)))
        answers = dict(engine.answer([*asked(*LABELLED), *asked(LABELLED[0], adapter=None)]))
    assert [answers[at].text for at in range(8)] == scored
    assert answers[8].text == "from the base model"
    right = sum(answers[at].text == item.target for at, item in enumerate(LABELLED))
    assert (training.dev[0].score, training.dev[0].n) == (right / 8, 8)
    if body == "lora":
        assert right > 4  # more than the most frequent answer has


def test_a_head_goes_on_after_a_kill_to_the_same_weights_and_is_not_trained_twice(
    model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(model, spec(epochs=6), rows=LABELLED)
    with quiet():
        whole, _ = train(one, Notes())
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "other"))
    with pytest.raises(KeyboardInterrupt):
        train_classifier(one, no_scorer, Notes(stop_at=7))
    resumed, _ = train_classifier(one, no_scorer, Notes())
    assert (resumed.adapter, resumed.resumed) == (whole.adapter, 1)
    notes = Notes()
    assert train_classifier(one, no_scorer, notes)[0] == resumed
    assert "taken over" in notes.notes[0]


def test_what_is_no_question_in_turns_gets_an_error_never_a_label(model: LocalModel) -> None:
    training, _ = train_classifier(job(model, spec(max_steps=1), rows=LABELLED), no_scorer, Notes())
    folder = artifacts.folder("adapters", training.adapter.digest)
    with Beside(Scripted(lambda _: text("x")), model) as engine:
        engine.load_adapter(Adapter("tuned", str(folder)))
        requests = [Request(Decoding(), text="The capital of", choices=(" a", " b"), adapter="tuned"), *asked(ROWS[0])]
        answers = dict(engine.answer(requests))
    assert answers[0].error is not None
    assert answers[0].text is None
    assert answers[1].error is None


def test_answers_that_are_no_classes_are_refused(model: LocalModel) -> None:
    with pytest.raises(TrainingError, match="8 different gold answers in 8 rows are no classes"):
        train_classifier(job(model, spec()), no_scorer, Notes())
