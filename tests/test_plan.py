"""The forecast of hours, money and memory: measured, or else stated, or else not known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sample_store
from sample_records import provenance, training_record
from test_preflight import GAIN, load

from harness import machine, preflight
from harness.errors import SpecError
from harness.models import LocalModel
from harness.preflight.planning import Plan, plan
from harness.store import Store

PRICES = {"gpu_hour_price": [1.0, 3.0], "currency": "EUR"}


def measured_store(root: Path) -> Store:
    """An experiment of the model on this machine: 0.25 s an answer, 95 s for 40 steps of 8 rows."""
    store = Store(root)
    folder = store.create("before--00000000", "name: before\n")
    here = {"cpus": machine.cpus(), "gpus": machine.gpus(), "platform": machine.system()}
    folder.write(provenance(folder.id).model_copy(update=here))
    trained = training_record([0])
    folder.write(trained.model_copy(update={"arguments": {**trained.arguments, "batch_size": 8}}))
    case = next(case for case in sample_store.CASES if case.name == "tickets-lora")
    sample_store.evaluate(folder, case)
    for path in folder.path.glob("runs/*/run.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps(told | {"machine_s": told["n"] * 0.25}))
    return store


def planned(folder: Path, store: Store, **more: Any) -> Plan:
    return plan(load(folder, GAIN, prompt={"budget": 144}, **more), store, fits=False)


def test_what_was_never_measured_or_stated_is_not_known(tmp_path: Path) -> None:
    found = planned(tmp_path / "one", Store(tmp_path / "reports"), budget=PRICES)
    assert [one.hours for one in found.stages] == [None] * 3
    assert (found.hours, found.cost) == (None, None)
    assert all("not known: no earlier" in one.source for one in found.stages)
    assert "budget.answer_s states it" in found.stages[0].source


def test_what_is_stated_counts_where_nothing_was_measured(tmp_path: Path) -> None:
    budget = {**PRICES, "answer_s": [0.5, 1.0], "step_s": 2.0}
    search, training, _ = planned(tmp_path / "one", Store(tmp_path / "reports"), budget=budget).stages
    assert search.hours == (pytest.approx(144 * 0.5 / 3600), pytest.approx(144 / 3600))
    assert search.cost == (pytest.approx(144 * 0.5 / 3600), pytest.approx(3 * 144 / 3600))
    assert training.hours == (pytest.approx(training.amount * 2 / 3600),) * 2
    assert search.source == "stated in budget.answer_s"


def test_earlier_experiments_of_the_model_on_such_a_machine_are_what_it_rests_on(tmp_path: Path) -> None:
    store = measured_store(tmp_path / "reports")
    budget = {**PRICES, "answer_s": 9.0}
    search, training, _ = planned(tmp_path / "one", store, budget=budget, train={"batch_size": 4}).stages
    assert search.hours == (pytest.approx(144 * 0.25 / 3600),) * 2
    assert search.source.startswith("measured: ")
    assert training.hours == (pytest.approx(training.amount * 95 / 40 / 2 / 3600),) * 2
    other = planned(tmp_path / "two", store, train={"method": "ia3"}).stages[1]
    assert other.hours is None


def test_a_machine_of_another_kind_says_nothing(tmp_path: Path) -> None:
    store = measured_store(tmp_path / "reports")
    path = store.at("before--00000000").path / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cpus": machine.cpus() + 1, "gpus": ["another"]}))
    assert planned(tmp_path / "one", store).hours is None


def test_no_cost_is_told_without_a_price_and_hours_all_the_same(tmp_path: Path) -> None:
    found = planned(tmp_path / "one", measured_store(tmp_path / "reports"))
    assert found.hours is not None
    assert (found.cost, {one.cost for one in found.stages}) == (None, {None})


def test_a_limit_that_will_be_reached_is_told_before_it_is(tmp_path: Path) -> None:
    store = measured_store(tmp_path / "reports")
    (told,) = planned(tmp_path / "one", store, budget={"max_hours": 0.001}).warnings
    assert "it will stop there" in told
    assert planned(tmp_path / "two", store, budget={"max_hours": 1000}).warnings == ()


def test_check_tells_the_forecast_and_refuses_a_price_that_nobody_knows(tmp_path: Path) -> None:
    found = preflight.check(load(tmp_path / "one", GAIN), measured_store(tmp_path / "reports"))
    assert [one.stage for one in found.plan.stages] == ["prompt search", "training", "evaluation"]
    assert found.plan.hours is not None
    with pytest.raises(SpecError, match=r"budget\.machine: no gpu_hour price 'abacus'"):
        preflight.check(load(tmp_path / "two", GAIN, budget={"machine": "abacus"}), Store(tmp_path / "reports"))


@pytest.mark.model
def test_memory_is_told_by_method_and_size_of_card(tmp_path: Path, small_model: LocalModel) -> None:
    found = plan(load(tmp_path / "one", GAIN, train={"method": "dora"}), Store(tmp_path / "reports"))
    assert {one.method for one in found.fits} == {"dora", "lora", "qlora", "full"}
    assert {one.gigabytes for one in found.fits} == {16, 24, 48, 80}
    assert all(one.fits is (one.needs <= one.gigabytes * 10**9) for one in found.fits)
    needs = {one.method: one.needs for one in found.fits}
    assert needs["lora"] < needs["dora"]
    assert needs["lora"] < needs["full"]


@pytest.mark.model
def test_what_does_not_fit_is_told_with_the_setting_that_would(tmp_path: Path, small_model: LocalModel) -> None:
    folder = seven_billion(tmp_path / "model", small_model.path)
    found = plan(load(tmp_path / "one", GAIN, model=str(folder)), Store(tmp_path / "reports"))
    by_size = {one.gigabytes: one for one in found.fits if one.method == "full"}
    assert not by_size[16].fits
    assert "train: {method: lora" in by_size[16].advice
    assert [one.gigabytes for one in found.fits if one.method == "qlora" and one.fits] == [16, 24, 48, 80]


def seven_billion(folder: Path, small: Path) -> Path:
    """Config and headers of a model of seven billion parameters, without its weights; the tokenizer of a small one."""
    hidden, inner, layers, words = 4096, 11008, 32, 32000
    config: dict[str, Any] = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "vocab_size": words,
    }
    shapes = {"model.embed_tokens.weight": [words, hidden], "lm_head.weight": [words, hidden]}
    for layer in range(layers):
        for name, shape in (("self_attn.q_proj", [hidden] * 2), ("self_attn.k_proj", [hidden] * 2),
                            ("self_attn.v_proj", [hidden] * 2), ("self_attn.o_proj", [hidden] * 2),
                            ("mlp.gate_proj", [inner, hidden]), ("mlp.up_proj", [inner, hidden]),
                            ("mlp.down_proj", [hidden, inner])):  # fmt: skip
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    header = json.dumps({n: {"dtype": "BF16", "shape": s, "data_offsets": [0, 0]} for n, s in shapes.items()}).encode()
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 32}))
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def test_the_command_prints_one_document_or_a_table(tmp_path: Path) -> None:
    load(tmp_path / "one", GAIN, budget=PRICES)
    store = measured_store(tmp_path / "reports")
    command = [sys.executable, "-m", "harness", "plan", str(tmp_path / "one" / "experiment.yaml")]
    command += ["--reports", str(store.root)]
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert Plan.model_validate(told).cost is not None
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "prompt search" in shown
    assert "EUR" in shown
    assert "measured: " in shown
    shutil.rmtree(store.root)
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "not known" in again
