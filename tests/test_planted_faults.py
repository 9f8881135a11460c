"""Faults that spoil a fine-tune, planted one by one: each is caught by its name, and a clean run raises nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_training import CHATML, NO_NEWLINE, PROMPT, QUICK, ROWS, Notes, job, tiny

from harness import artifacts, parity
from harness.data import Data, DataSpec, audit, load, refuse_errors
from harness.engines.base import Adapter
from harness.engines.probe import check_adapter_acts
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import DataError, EngineError, TrainingError
from harness.evaluate import TaskSpec
from harness.learning.scoring import TaskScorer
from harness.models import LocalModel, quiet
from harness.records import Decoding, SeedTraining
from harness.trainers import METHODS, Job, TrainSpec, no_scorer
from harness.trainers.base import Origin
from harness.trainers.lifecycle import build
from harness.trainers.parts import SelectSpec
from harness.trainers.publish import check_adapter
from harness.trainers.supervision import read_supervision

COLOURS = {"a": "red", "b": "blue", "c": "green"}
SPEC = TrainSpec(learning_rate=0.01, rank=8, batch_size=8, epochs=6, save_steps=100, select=SelectSpec(every=18))
ORIGIN = Origin("cpu", "float32", {})


def question(dice: random.Random, sign: str) -> str:
    return f"{dice.randrange(10**6)} {sign * 3} {dice.randrange(10**6)}"


def rows(name: str, count: int) -> list[dict[str, str]]:
    """Questions among whose digits a letter stands, and the colour that goes with the letter."""
    dice = random.Random(name)
    signs = ["abc"[at % 3] for at in range(count)]
    return [{"prompt": question(dice, sign), "completion": COLOURS[sign]} for sign in signs]


SPLITS = {"train": rows("train", 48), "dev": rows("dev", 30), "test": rows("test", 30)}


def loaded(folder: Path, **changed: list[dict[str, str]]) -> Data:
    for name, given in (SPLITS | changed).items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    return load(DataSpec.model_validate({name: f"{name}.jsonl" for name in SPLITS}), folder)


def asked(model: LocalModel, data: Data, spec: TrainSpec = SPEC) -> Job:
    train, dev = data.train.to_learn_from(), data.dev.to_learn_from()
    return job(model, spec, rows=train, dev=dev, decoding=Decoding(max_tokens=8))


def trained(wanted: Job) -> tuple[SeedTraining, Notes]:
    notes = Notes()
    scorer = TaskScorer(TaskSpec(metric="exact_match"), wanted.rows, wanted.dev)
    return METHODS["lora"](wanted, scorer, notes)[0], notes


@dataclass(frozen=True)
class Clean:
    """A run without a fault."""

    model: LocalModel
    training: SeedTraining
    notes: Notes
    home: Path


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clean]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HARNESS_HOME", str(home))
        model = tiny(tmp_path_factory.mktemp("model"))
        yield Clean(model, *trained(asked(model, loaded(tmp_path_factory.mktemp("data")))), home)


def folder_of(run: Clean) -> Path:
    return artifacts.folder("adapters", run.training.adapter.digest)


def test_a_clean_run_raises_nothing(clean: Clean, tmp_path: Path) -> None:
    record = audit(loaded(tmp_path))
    refuse_errors(record)
    assert [finding.rule for finding in record.findings] == []
    assert clean.training.findings == ()
    best = max(point.score or 0 for point in clean.training.dev)
    assert best > 0.8
    with TransformersEngine(clean.model, [Adapter("tuned", str(folder_of(clean)))]) as engine:
        check_adapter_acts(engine, "tuned")
        (row,) = parity.check(engine, {"tuned": clean.training}).adapters
    assert row.reason == ""


def test_dev_leaked_into_train_is_caught_by_the_audit(tmp_path: Path) -> None:
    leaked = loaded(tmp_path, train=[*SPLITS["train"], *SPLITS["dev"][:3]])
    record = audit(leaked)
    assert {finding.rule for finding in record.findings if finding.severity == "error"} == {"leak_exact"}
    with pytest.raises(DataError, match="leak_exact"):
        refuse_errors(record)


def test_a_wrong_chat_template_is_caught_before_the_first_step_and_when_it_is_served(
    clean: Clean, tmp_path: Path
) -> None:
    served = tiny(tmp_path / "served", NO_NEWLINE)
    with quiet():
        trainer, _, before = build(job(clean.model), no_scorer, ORIGIN, tmp_path)
    with pytest.raises(TrainingError, match="another chat template than the one that is served"):
        read_supervision(trainer, before.tokenizer, ROWS, PROMPT, clean.model.context_length, served=served.path)
    other = tiny(tmp_path / "other", CHATML.replace("<|im_start|>{{ m.role }}", "<|im_start|>{{ m.role }}:"))
    with (
        TransformersEngine(other, [Adapter("tuned", str(folder_of(clean)))]) as engine,
        pytest.raises(EngineError, match=r"parity of tuned: .*answers otherwise.*chat"),
    ):
        parity.check(engine, {"tuned": clean.training})


def test_an_end_of_turn_without_loss_is_caught_by_the_evidence(clean: Clean, tmp_path: Path) -> None:
    with quiet():
        spec = QUICK.model_copy(update={"batch_size": 1, "max_steps": 1})
        trainer, _, before = build(job(clean.model, spec, rows=ROWS[:1]), no_scorer, ORIGIN, tmp_path)
    plain, end = trainer.data_collator, before.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def masked(features: Any) -> Any:
        batch = plain(features)
        batch["labels"][batch["labels"] == end] = -100
        return batch

    trainer.data_collator = masked
    with pytest.raises(TrainingError, match="do not teach the end of turn"):
        read_supervision(trainer, before.tokenizer, ROWS[:1], PROMPT, clean.model.context_length)


def test_a_zeroed_adapter_is_not_published_and_not_judged(clean: Clean, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with quiet():
        base = AutoModelForCausalLM.from_pretrained(clean.model.path)
        tuned = PeftModel.from_pretrained(base, str(folder_of(clean)), is_trainable=True)
        for name, weights in tuned.named_parameters():
            if "lora_B" in name:
                weights.data.zero_()
        with pytest.raises(TrainingError, match="nothing was learned: all B matrices of the adapter are zero"):
            check_adapter(tuned)
        tuned.save_pretrained(tmp_path / "zeroed")
    with TransformersEngine(clean.model, [Adapter("tuned", str(tmp_path / "zeroed"))]) as engine:
        with pytest.raises(EngineError, match="the adapter 'tuned' changes nothing"):
            check_adapter_acts(engine, "tuned")
        with pytest.raises(EngineError, match="parity of tuned"):
            parity.check(engine, {"tuned": clean.training})


def test_shuffled_labels_are_caught_by_dev_while_the_training_loss_falls(
    clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    answers = [row["completion"] for row in SPLITS["train"]]
    random.Random(3).shuffle(answers)
    shuffled = [{**row, "completion": answer} for row, answer in zip(SPLITS["train"], answers, strict=True)]
    data = loaded(tmp_path, train=shuffled)
    refuse_errors(audit(data))  # no rule of the audit can know
    training, notes = trained(asked(clean.model, data))
    (finding,) = training.findings
    assert finding.rule == "no_better_than_chance"
    assert training.curve[-1].loss < 0.5 * training.curve[0].loss
    assert any("no better than chance" in note and "shuffled" in note for note in notes.notes)
