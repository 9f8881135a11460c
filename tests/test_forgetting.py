"""Forgetting as numbers of its own: general text under base and tuned model, and KL on the base model's answers."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from scripted import Scripted

from harness import forgetting, models
from harness.engines.base import Adapter, Answer, Request
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import EngineError, SuiteError
from harness.models import LocalModel
from harness.progress import Silent
from harness.records import AdapterRef

FOLDER = forgetting.FOLDER
ADAPTER = AdapterRef(digest="ad" * 32, method="lora", seed=0)


def texts() -> forgetting.GeneralTexts:
    found = forgetting.load()
    assert found is not None
    return found


class Two(Scripted):
    """A base model at -1 nat per byte, and tuned ones that lose a fixed share of a nat per byte more."""

    def __init__(self, **lost: float) -> None:
        super().__init__(lambda request: Answer())
        self.lost: dict[str | None, float] = {None: 0.0, **lost}
        self.broken: tuple[str, ...] = ()

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for index, request in enumerate(requests):
            said = request.choices[0] if request.choices else ""
            if said.startswith(self.broken) if self.broken else False:
                yield index, Answer(error="out of room")
            elif said:
                yield index, Answer(logprobs=(-(1 + self.lost[request.adapter]) * len(said.encode()),))
            else:
                yield index, Answer(text="ten bytes.", tokens_out=5)


def test_what_is_lost_is_told_per_byte_and_per_token_with_every_text() -> None:
    record = forgetting.measure(Two(one=0.25, same=0.0), {"one": ADAPTER, "same": ADAPTER}, texts(), Silent())
    one, same = record.adapters
    assert one.text.value == pytest.approx(0.25)
    assert one.base_text == pytest.approx(1.0)
    assert one.kl.value == pytest.approx(0.5)  # ten bytes in five tokens
    assert (one.text.n, one.kl.n) == (61, 30)
    assert set(one.kinds) == {passage.kind for passage in texts().passages}
    assert one.kinds["German"] == pytest.approx(0.25)
    assert (same.text.value, same.kl.value) == (0.0, 0.0)
    assert record.texts == texts().digest


def test_a_failed_call_is_left_out_and_counted() -> None:
    engine = Two(one=0.25)
    engine.broken = (texts().passages[0].text[:20],)
    (one,) = forgetting.measure(engine, {"one": ADAPTER}, texts(), Silent()).adapters
    assert one.text.n == 60
    assert one.passages[0].base is None
    assert one.text.value == pytest.approx(0.25)


def test_an_engine_that_cannot_score_is_an_error() -> None:
    engine = Two(one=0.25)
    engine.broken = ("",)
    with pytest.raises(EngineError, match="calls failed, the last with: out of room"):
        forgetting.measure(engine, {"one": ADAPTER}, texts(), Silent())


def test_the_interval_holds_the_truth_over_texts_of_unlike_sizes() -> None:
    sizes = [100, 200, 300, 400]
    lost = [0.1, 0.3, 0.2, 0.2]
    rows = [
        forgetting.PassageLikelihood(id=str(i), kind="prose", size=size, base=0.0, tuned=-size * share)
        for i, (size, share) in enumerate(zip(sizes, lost, strict=True))
    ]
    found = forgetting.lost_per_unit(rows)
    assert found.value == pytest.approx(210 / 1000)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.21 < found.high


def test_the_generator_reproduces_the_committed_files() -> None:
    spec = importlib.util.spec_from_file_location("general_text", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, content in module.files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == content


def test_the_texts_are_many_short_and_different() -> None:
    found = texts()
    for group, most in ((found.passages, 600), (found.prompts, 200)):
        assert len({one.id for one in group}) == len({one.text for one in group}) == len(group)
        assert all(0 < len(one.text.encode()) <= most for one in group)
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"| {len(found.passages)} |" in card
    assert f"| {len(found.prompts)} |" in card


def test_texts_that_are_not_there_are_none_and_torn_ones_an_error(tmp_path: Path) -> None:
    assert forgetting.load(tmp_path / "none") is None
    (tmp_path / "passages.jsonl").write_text('{"id": "a"')
    with pytest.raises(SuiteError, match=r"passages\.jsonl: cannot be read"):
        forgetting.load(tmp_path)


@pytest.mark.model
def test_a_disturbed_real_model_forgets_and_moves(small_model: LocalModel, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with models.quiet():
        base = AutoModelForCausalLM.from_pretrained(small_model.path, dtype=torch.float32)
        tuned = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
        for name, weights in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.05)
        tuned.save_pretrained(tmp_path)
    whole = texts()
    few = forgetting.GeneralTexts(whole.passages[:40:4], whole.prompts[::4])
    with TransformersEngine(small_model, [Adapter("tuned", str(tmp_path))]) as engine:
        (found,) = forgetting.measure(engine, {"tuned": ADAPTER}, few, Silent()).adapters
    assert found.base_text is not None
    assert 0.3 < found.base_text < math.log(256)
    assert found.text.low is not None
    assert found.text.low > 0
    assert found.kl.value is not None
    assert found.kl.value > 0
    assert json.loads(found.model_dump_json())["answers"][0]["size"] <= forgetting.SAMPLED.max_tokens
