"""What is judged is what was trained: the engine's log-likelihoods are held against the training process's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_training import CHATML, OTHER_PROMPT, job, tiny

from harness import artifacts, models, parity
from harness.engines import vllm
from harness.engines.base import Adapter, Engine
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import EngineError
from harness.models import LocalModel
from harness.probes import PROBES
from harness.progress import Silent
from harness.records import AdapterRef, ProbeScores, SeedTraining
from harness.trainers import METHODS, no_scorer
from harness.trainers.probing import read_probes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"), CHATML)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HARNESS_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def training(model: LocalModel, home: Path) -> SeedTraining:
    return METHODS["lora"](job(model), no_scorer, Silent())[0]


@pytest.fixture
def adapter(training: SeedTraining, home: Path) -> Adapter:
    return Adapter("tuned-seed0", str(artifacts.folder("adapters", training.adapter.digest)))


def scores(training: SeedTraining) -> ProbeScores:
    assert training.probes is not None
    return training.probes


def test_training_leaves_its_numbers_for_every_probe_that_fits(training: SeedTraining) -> None:
    probes = scores(training)
    asked = [probe.name for probe, tokens in zip(PROBES, probes.tokens, strict=True) if tokens]
    assert asked == [probe.name for probe in PROBES if probe.name != "long text"]  # 512 bytes hold all but this
    assert probes.base != probes.tuned
    assert not probes.quantized


def test_an_engine_that_serves_what_was_trained_agrees(
    model: LocalModel, training: SeedTraining, adapter: Adapter
) -> None:
    with TransformersEngine(model, [adapter]) as engine:
        found = parity.check(engine, {adapter.name: training})
    (row,) = found.adapters
    assert found.engine.startswith("transformers ")
    assert row.prompts == len(PROBES) - 1
    assert row.tokens == sum(map(sum, scores(training).tokens))
    assert row.base is not None
    assert row.tuned is not None
    assert row.tolerance == parity.TOLERANCE["float32"]
    assert max(row.base, row.tuned) < row.tolerance / 10


def test_a_training_of_an_earlier_version_is_taken_over_and_probed(
    model: LocalModel, training: SeedTraining, home: Path
) -> None:
    (done,) = home.glob("**/done.json")
    whole = json.loads(done.read_text())
    done.write_text(json.dumps([whole[0] | {"probes": None}, whole[1]]))
    again = METHODS["lora"](job(model), no_scorer, Silent())[0]
    assert again.model_copy(update={"probes": training.probes}) == training
    assert scores(again).tokens == scores(training).tokens
    for one, other in ((scores(again).base, scores(training).base), (scores(again).tuned, scores(training).tuned)):
        assert [value for row in one for value in row] == pytest.approx([value for row in other for value in row])
    assert json.loads(done.read_text())[0]["probes"] is not None


def test_weights_that_were_changed_after_training_are_found(
    model: LocalModel, training: SeedTraining, adapter: Adapter, tmp_path: Path
) -> None:
    changed = shutil.copytree(adapter.path, tmp_path / "changed")
    config = changed / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 9}))
    with (
        TransformersEngine(model, [Adapter("tuned-seed0", str(changed))]) as engine,
        pytest.raises(EngineError, match=r"the adapter answers otherwise in transformers .* nats per token") as fault,
    ):
        parity.check(engine, {"tuned-seed0": training})
    assert fault.value.problems[0].where == "parity of tuned-seed0"
    assert fault.value.problems[0].allowed == "At most 0.001"


def test_another_chat_template_is_found_by_the_chat_probes(
    training: SeedTraining, adapter: Adapter, tmp_path: Path
) -> None:
    with (
        TransformersEngine(tiny(tmp_path / "other", OTHER_PROMPT), [adapter]) as engine,
        pytest.raises(EngineError, match=r"the base model answers otherwise .* most on 'chat"),
    ):
        parity.check(engine, {adapter.name: training})


def test_what_was_trained_on_a_quantised_base_is_told_and_bound_by_nothing(
    model: LocalModel, training: SeedTraining, adapter: Adapter
) -> None:
    far = tuple(tuple(value - 50 for value in row) for row in scores(training).base)
    probes = scores(training).model_copy(update={"quantized": True, "base": far})
    with TransformersEngine(model, [adapter]) as engine:
        (row,) = parity.check(engine, {adapter.name: training.model_copy(update={"probes": probes})}).adapters
    assert row.tolerance is None
    assert row.base is not None
    assert row.base > 1
    assert "quantised" in row.reason


def test_a_training_without_numbers_is_said_to_have_none(
    model: LocalModel, training: SeedTraining, adapter: Adapter
) -> None:
    with TransformersEngine(model, [adapter]) as engine:
        older = training.model_copy(update={"probes": None})
        (row,) = parity.check(engine, {adapter.name: older}).adapters
    assert (row.base, row.tuned, row.prompts) == (None, None, 0)
    assert row.reason == "no probe was scored when it was trained; train it again to have it compared"


def test_the_coarser_number_type_sets_the_tolerance() -> None:
    assert parity._tolerance("float32", "bfloat16") == parity.TOLERANCE["bfloat16"]
    assert parity._tolerance("float32", None) == max(parity.TOLERANCE.values())


@pytest.fixture(scope="module")
def disturbed(small_model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapter, SeedTraining]:
    """The small real model with an adapter of random weights, and what peft says of both."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    with models.quiet():
        base = AutoModelForCausalLM.from_pretrained(small_model.path, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(small_model.path)
        tuned = get_peft_model(base, LoraConfig(r=8, target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"]))
        for name, weights in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.05)
        folder = tmp_path_factory.mktemp("disturbed")
        tuned.save_pretrained(folder)
    made = SeedTraining(
        seed=0,
        adapter=AdapterRef(digest="ad" * 32, method="lora", seed=0),
        steps=1,
        curve=(),
        seconds=0.0,
        peak_memory_bytes=None,
        resumed=0,
        trainable_parameters=1,
        dtype="float32",
        probes=read_probes(tuned, tokenizer, small_model.context_length),
    )
    return Adapter("tuned-seed0", str(folder)), made


def holds(engine: Engine, training: SeedTraining) -> None:
    """All eight prompts agree, and the adapter's numbers would not do for the base model."""
    (row,) = parity.check(engine, {"tuned-seed0": training}).adapters
    assert row.prompts == len(PROBES)
    assert row.base is not None
    assert row.tuned is not None
    assert max(row.base, row.tuned) <= parity.TOLERANCE["float32"]
    probes = scores(training)
    swapped = training.model_copy(update={"probes": probes.model_copy(update={"tuned": probes.base})})
    with pytest.raises(EngineError, match="the adapter answers otherwise"):
        parity.check(engine, {"tuned-seed0": swapped})


@pytest.mark.model
def test_the_real_model_is_the_same_in_peft_and_in_process(
    small_model: LocalModel, disturbed: tuple[Adapter, SeedTraining]
) -> None:
    with TransformersEngine(small_model, disturbed[:1]) as engine:
        holds(engine, disturbed[1])


@pytest.mark.vllm
def test_the_real_model_is_the_same_in_peft_and_on_vllm(
    small_model: LocalModel, disturbed: tuple[Adapter, SeedTraining], tmp_path: Path
) -> None:
    found = vllm.find()
    if found.python is None:
        pytest.skip(f"no vLLM to test: {found.reason}. {vllm.INSTALL}")
    settings = vllm.Settings(device=found.device, dtype="float32", max_model_len=1024, max_adapters=1, adapter_rank=8)
    log = tmp_path / "engine.log"
    with vllm.VllmEngine(small_model, disturbed[:1], python=found.python, log=log, settings=settings) as engine:
        holds(engine, disturbed[1])
