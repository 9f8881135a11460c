"""One engine for an experiment, under one set of conditions over all its sittings."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import artifacts
from harness.errors import NotComparableError, StoreError
from harness.records import AdapterRef, Conditions
from harness.serving import Serving
from harness.store import ExperimentStore, Store

BEGUN = Conditions(engine="vllm", engine_version="0.32.0", dtype="float32", device="cpu", chat_template_digest="c")


def pin(folder: ExperimentStore, conditions: Conditions) -> None:
    Serving(None, None, max_adapters=1, rank=1, folder=folder, progress=None)._pin_conditions(conditions)  # type: ignore[arg-type]


def test_a_later_sitting_under_the_same_conditions_goes_on(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    pin(folder, BEGUN)
    pin(folder, BEGUN)
    assert folder.read(Conditions) == BEGUN


def test_a_later_sitting_under_other_conditions_is_refused_with_both_values(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    pin(folder, BEGUN)
    with pytest.raises(
        NotComparableError, match=r"conditions\.engine: 'transformers' now, but it was begun with 'vllm'"
    ):
        pin(folder, BEGUN.model_copy(update={"engine": "transformers"}))


def test_an_adapter_that_was_changed_after_training_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    staging = tmp_path / "adapter"
    staging.mkdir()
    (staging / "adapter_model.safetensors").write_text("weights")
    (staging / "adapter_config.json").write_text("{}")
    ref = AdapterRef(digest=artifacts.publish("adapters", staging), method="lora", seed=0)
    folder = Store(tmp_path).create("x--1", "name: x\n")
    serving = Serving(None, None, max_adapters=1, rank=1, folder=folder, progress=None)  # type: ignore[arg-type]
    serving.add("tuned-seed0", ref)
    (artifacts.folder("adapters", ref.digest) / "adapter_config.json").write_text('{"r": 1}')
    with pytest.raises(StoreError, match="was changed after training"):
        serving.add("tuned-seed0", ref)
