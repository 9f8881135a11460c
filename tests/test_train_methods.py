"""Methods: every one learns, acts, goes on after a kill in the same bits, and publishes what it trained."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from small_training import PROMPT, QUICK, ROWS, Notes, job, tiny

from harness import trainers
from harness.errors import TrainingError
from harness.models import LocalModel, quiet
from harness.models.folder import describe
from harness.progress import Silent
from harness.records import SeedTraining
from harness.trainers import METHODS, TrainSpec, no_scorer
from harness.trainers.base import Origin
from harness.trainers.parameters import CONFIGS
from harness.trainers.passthrough import CLASSES, OF_METHOD, OF_OBJECTIVE, OWN, REFUSED, fields_of, problems
from harness.trainers.publish import check_adapter, initial, is_plain_lora
from harness.trainers.setup import arguments, load_base

RATES = {"full": 0.01, "pissa": 0.01, "ia3": 0.2, "prompt_tuning": 0.3, "prefix_tuning": 0.1, "adaption_prompt": 0.1}
"""What suits the tiny model; 0.05 suits the others."""

KINDS = {
    "lora": "lora", "rslora": "lora", "qlora": "lora", "pissa": "lora", "loftq": "model", "full": "model",
    "dora": "peft", "ia3": "peft", "prompt_tuning": "peft", "prefix_tuning": "peft", "adaption_prompt": "peft",
}  # fmt: skip
EIGHT_BITS = (("qlora", 8), ("loftq", 8))
HERE = Origin("cpu", "float32", {})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def spec_of(method: str, **changes: Any) -> TrainSpec:
    given = QUICK.model_dump(exclude_defaults=True) | {"method": method, "learning_rate": RATES.get(method, 0.05)}
    return TrainSpec.model_validate(given | changes)


def trained(model: LocalModel, spec: TrainSpec, progress: Any = None) -> SeedTraining:
    return METHODS[spec.method](job(model, spec), no_scorer, progress or Silent())[0]


def apart(one: Any, other: Any) -> float:
    return max(abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


# --------------------------------------------------------- every method's contract


@pytest.mark.parametrize(("method", "bits"), [*((method, 4) for method in CONFIGS), *EIGHT_BITS])
def test_a_method_learns_goes_on_after_a_kill_in_the_same_bits_and_publishes_what_it_trained(
    method: str, bits: int, model: LocalModel, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(method, bits=bits)
    whole = trained(model, spec)
    assert whole.steps == 12
    assert whole.curve[-1].loss < 0.9 * whole.curve[0].loss
    assert whole.probes is not None
    assert apart(whole.probes.base, whole.probes.tuned) > 1
    assert (whole.adapter.method, whole.adapter.kind) == (method, KINDS[method])
    assert {"torch", "transformers", "peft", "trl"} <= set(whole.packages or {})
    published = trainers.folder_of(whole.adapter)
    names = {file.name for file in published.iterdir()}
    if whole.adapter.kind == "model":
        assert describe("tuned", published, None).ref.chat_template_digest == model.ref.chat_template_digest
        assert json.loads((published / "config.json").read_text())["dtype"] == "float32"
    else:
        assert names == {"adapter_config.json", "adapter_model.safetensors", "prompt.json"}
    assert trainers.trained_prompt(published) == PROMPT
    for name in names - {"adapter_model.safetensors", "model.safetensors"}:
        assert str(tmp_path) not in (published / name).read_text()

    (done,) = own_home.glob("work/training/*/done.json")  # without its probes, what was published is loaded for them
    told = json.loads(done.read_text())
    told[0]["probes"] = None
    done.write_text(json.dumps(told))
    again = trained(model, spec).probes
    assert again is not None
    assert apart(again.base, whole.probes.base) < 1e-3
    assert apart(again.tuned, whole.probes.tuned) < 1e-3

    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "killed"))
    with pytest.raises(KeyboardInterrupt):
        trained(model, spec, Notes(stop_at=8))
    notes = Notes()
    resumed = trained(model, spec, notes)
    assert notes.begun[0] == (5, 12)
    assert (resumed.resumed, resumed.adapter.digest) == (1, whole.adapter.digest)
    assert not list((tmp_path / "killed").glob("work/training/*/checkpoint-*"))


def test_a_new_method_has_its_configuration_its_signature_and_its_packages() -> None:
    assert set(KINDS) == set(CONFIGS)
    assert set(CONFIGS) - set(OF_METHOD) == {"full"}
    assert set(CONFIGS) <= set(METHODS)


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "qlora"])
def test_nothing_learned_is_told_by_name(method: str, model: LocalModel) -> None:
    with pytest.raises(TrainingError, match="nothing was learned"):
        trained(model, spec_of(method, learning_rate=1e-300))


@pytest.mark.parametrize("method", ["pissa", "prompt_tuning", "full"])
def test_weights_that_are_what_they_were_are_told_by_name(method: str, model: LocalModel) -> None:
    with pytest.raises(TrainingError, match=r"nothing was learned: all .*weights are"):
        trained(model, spec_of(method, learning_rate=1e-300))


def test_an_adapter_that_acts_by_its_magnitudes_or_whole_layers_is_not_called_inert(model: LocalModel) -> None:
    from peft import LoraConfig, get_peft_model

    with quiet():
        base, _ = load_base(QUICK, model, HERE)
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]))
    before = initial(adapted)
    with pytest.raises(TrainingError, match="what they were before the first step"):
        check_adapter(adapted, before)
    head = next(w for name, w in adapted.named_parameters() if "modules_to_save" in name)
    head.data += 0.1
    check_adapter(adapted, before)


def test_layers_trained_whole_make_an_adapter_that_vllm_cannot_load(model: LocalModel) -> None:
    whole = trained(model, spec_of("lora", max_steps=2, peft_args={"modules_to_save": ["lm_head"]}))
    assert whole.adapter.kind == "peft"
    assert is_plain_lora({"peft_type": "LORA", "r": 64, "use_rslora": True, "bias": "none"})
    assert not is_plain_lora({"peft_type": "LORA", "rank_pattern": {"q_proj": 4}})


# ------------------------------------------------------------------------- merging


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "pissa"])
def test_a_merged_model_answers_as_its_adapter_and_is_made_once(method: str, model: LocalModel) -> None:
    adapter = trained(model, spec_of(method, max_steps=4)).adapter
    first = trainers.merged(adapter, model)
    assert first.drift is not None
    assert 0 < first.drift < 1e-3
    assert describe("merged", first.folder, None).ref.chat_template_digest == model.ref.chat_template_digest
    assert trainers.trained_prompt(first.folder) == PROMPT
    assert trainers.merged(adapter, model) == first
    coarse = trainers.merged(adapter, model, "bfloat16")
    assert coarse.drift is not None
    assert coarse.drift > first.drift


def test_a_whole_model_is_its_own_merged_one(model: LocalModel) -> None:
    adapter = trained(model, spec_of("full", max_steps=2)).adapter
    made = trainers.merged(adapter, model)
    assert (made.digest, made.dtype, made.drift) == (adapter.digest, "float32", None)


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "adaption_prompt"])
def test_learned_tokens_cannot_be_merged_and_say_so(method: str, model: LocalModel) -> None:
    adapter = trained(model, spec_of(method, max_steps=2)).adapter
    with pytest.raises(TrainingError, match=r"cannot be merged: it learned tokens before the text.* transformers"):
        trainers.merged(adapter, model)


# -------------------------------------------------------------- arguments passed through


@pytest.mark.parametrize("name", sorted({*OF_OBJECTIVE.values(), *OF_METHOD.values()}))
def test_fields_read_off_the_source_are_those_of_the_class(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    package, file = CLASSES[name]
    module = importlib.import_module(f"{package}.{file.removesuffix('.py').replace('/', '.')}")
    assert set(fields_of(name)) == {field.name for field in dataclasses.fields(getattr(module, name)) if field.init}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"args": {"neftune_noise_alfa": 5}}, r"no such argument of SFTConfig. Did you mean 'neftune_noise_alpha'"),
        ({"args": {"num_train_epochs": 3}}, r"train.args.num_train_epochs: is set by the harness.* Give train.epochs"),
        ({"args": {"packing": True}}, r"train.args.packing: is not passed on"),
        ({"args": {"adam_epsilon": "1e-8"}}, r"got '1e-8'. trl.SFTConfig takes float"),
        ({"args": {"beta": 0.2}, "objective": "dpo"}, r"Give train.preference.beta"),
        ({"peft_args": {"r": 8}}, r"train.peft_args.r: is set by the harness.* Give train.rank"),
        ({"peft_args": {"modules_to_sav": ["lm_head"]}}, r"no such argument of LoraConfig. Did you mean 'modules_to_s"),
        ({"peft_args": {"init_lora_weights": "olora"}}, r"Give train.method: pissa or loftq"),
        ({"peft_args": {"bias": "all"}, "method": "full"}, r"method full has no adapter to configure"),
        ({"args": {"optim": "sgd"}, "method": "command", "command": "x"}, r"train.args: has no effect"),
    ],
)
def test_arguments_that_cannot_be_passed_on_are_told_by_name(given: dict[str, Any], told: str) -> None:
    (found,) = problems(TrainSpec.model_validate(given), "e.yaml")
    assert str(found).startswith("e.yaml: train.")
    assert re.search(told, str(found))


def test_arguments_that_are_passed_on_reach_trl_and_peft(model: LocalModel) -> None:
    spec = spec_of("lora", max_steps=2, args={"adam_beta2": 0.9}, peft_args={"init_lora_weights": "gaussian"})
    assert not list(problems(spec))
    plain = trained(model, spec_of("lora", max_steps=2))
    assert trained(model, spec).adapter.digest != plain.adapter.digest


def test_all_that_the_harness_sets_is_refused_or_free(model: LocalModel, tmp_path: Path) -> None:
    free = {"logging_steps", "logging_first_step", "dataloader_pin_memory", "run_name", "project"}
    assert set(arguments(job(model), len(ROWS), HERE, tmp_path)) <= {*OWN, *REFUSED, *free}


def test_a_tracker_that_is_not_installed_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else name)
    (found,) = problems(TrainSpec(report_to=("wandb", "trackio")))
    assert str(found) == "train.report_to: 'wandb' is not installed. pip install 'finetune-harness[wandb]'."


# ------------------------------------------------------------------------ spec and base


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({}, 2e-4), ({"method": "full"}, 1e-5), ({"objective": "dpo"}, 2e-5), ({"method": "ia3"}, 3e-3),
        ({"method": "full", "objective": "dpo"}, 1e-6), ({"method": "grpo"}, 1e-5), ({"learning_rate": 0.1}, 0.1),
    ],
)  # fmt: skip
def test_default_rates_are_the_methods_times_the_objectives_share(given: dict[str, Any], rate: float) -> None:
    assert TrainSpec.model_validate(given).rate == rate


def test_what_a_method_cannot_do_is_told_when_the_spec_is_read() -> None:
    with pytest.raises(ValidationError, match=r"alpha: 32; LoftQ's initialisation is right for alpha = rank"):
        TrainSpec(method="loftq", rank=16, alpha=32)
    with pytest.raises(ValidationError, match="gradient_checkpointing: PEFT cannot do it with prefix_tuning"):
        TrainSpec(method="prefix_tuning", gradient_checkpointing=True)


@pytest.mark.parametrize("pad", [None, "<|endoftext|>", "<|im_end|>"])
def test_padding_is_no_token_that_ends_anything(pad: str | None, tmp_path: Path) -> None:
    model = tiny(tmp_path / "model")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (file := model.path / name).exists():
            file.write_text(json.dumps({**json.loads(file.read_text()), "pad_token": pad}))
    with quiet():
        _, tokenizer = load_base(QUICK, model, HERE)
    assert tokenizer.pad_token not in (None, "<|endoftext|>", "<|im_end|>")
