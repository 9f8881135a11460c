"""`harness suite check` tells a suite that cannot tell right from wrong, and passes the ones that can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.app import app
from harness.suites import Suite, SuiteUse, load_suite, published_suites
from harness.suites.checking import check

SUMS = [{"id": str(i), "q": f"{i} + 1 =", "a": str(i + 1)} for i in range(60)]
TASK: dict[str, Any] = {
    "task": "sums",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "test.jsonl", "dev": "dev.jsonl"}},
    "test_split": "test",
    "doc_to_text": "q",
    "doc_to_target": "a",
}
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_choice": "{{[a, a + '1', a + '2']}}",
    "doc_to_target": 0,
}


def written(tmp_path: Path, change: dict[str, Any], docs: list[Any] | None = None, dev: tuple[Any, ...] = ()) -> Path:
    (tmp_path / "sums.yaml").write_text(yaml.safe_dump(TASK | change))
    for name, rows in (("test", docs or SUMS), ("dev", dev)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "sums.yaml"


def load(tmp_path: Path, change: dict[str, Any], docs: list[Any] | None = None) -> Suite:
    return load_suite(str(written(tmp_path, change, docs)))


def told(suite: Suite) -> str:
    (found,) = check(suite)
    return "\n".join(f"{one.severity}: {one.what}" for one in found.told)


def test_a_sound_task_passes(tmp_path: Path) -> None:
    (found,) = check(load(tmp_path, {}))
    assert (found.ok, found.gold, found.shuffled, found.constant) == (True, 1.0, 0.0, 1 / 60)
    assert (found.items, found.chance_from, found.told) == (60, "constant", ())


def test_a_right_choice_that_always_stands_first_is_told(tmp_path: Path) -> None:
    suite = load(tmp_path, CHOICE)
    assert "error: always answering 'choice 1' scores 1.000" in told(suite)
    assert "error: the answers of other items scores 1.000" in told(suite)
    assert "warning: the shortest choice is right 1.000" in told(suite)


def test_chance_follows_from_the_choices(tmp_path: Path) -> None:
    docs = [row | {"at": i % 3, "c": ["x", "y", "z"]} for i, row in enumerate(SUMS)]
    (found,) = check(load(tmp_path, CHOICE | {"doc_to_choice": "c", "doc_to_target": "at"}, docs))
    assert (found.ok, found.gold, found.chance_from) == (True, 1.0, "1 / choices")
    assert found.chance == pytest.approx(1 / 3)
    assert found.constant == pytest.approx(1 / 3)


def test_an_answer_that_is_nearly_always_the_same_is_told(tmp_path: Path) -> None:
    docs = [row | {"a": "yes" if i % 10 else "no"} for i, row in enumerate(SUMS)]
    assert "error: always answering 'yes' scores 0.900; no more than 0.500" in told(load(tmp_path, {}, docs))
    stated = {"metadata": {"chance": 0.9}}
    assert "error" not in told(load(tmp_path, stated, docs))


def test_a_filter_that_spoils_the_right_answer_is_told(tmp_path: Path) -> None:
    steps = [{"function": "uppercase"}, {"function": "take_first"}]
    docs = [row | {"a": f"a{row['a']}"} for row in SUMS]
    found = told(load(tmp_path, {"filter_list": [{"name": "x", "filter": steps}]}, docs))
    assert "gold answers are scored without the filter" in found


def test_a_metric_that_looks_at_nothing_is_told(tmp_path: Path) -> None:
    docs = [row | {"a": '{"a": 1}'} for row in SUMS]
    assert "error: always answering" in told(load(tmp_path, {"metric_list": [{"metric": "json_valid"}]}, docs))


def test_a_question_among_the_worked_examples_is_told(tmp_path: Path) -> None:
    few = {"num_fewshot": 1, "fewshot_config": {"sampler": "first_n", "samples": [{"q": "7 + 1 =", "a": "8"}]}}
    suite = load(tmp_path, few)
    assert suite.tasks[0].items[0].text == "7 + 1 = 8\n\n0 + 1 ="
    assert "error: 1 questions are among the worked examples" in told(suite)


def test_a_question_in_two_splits_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, {"validation_split": "dev"}, dev=({"q": " 5 + 1 = ", "a": "6"}, {"q": "x", "a": "y"}))
    (found,) = check(load_suite(str(file)), [load_suite(str(file), split="dev")])
    assert [one.what for one in found.told] == ["1 questions stand in the dev split too"]
    assert CliRunner().invoke(app, ["suite", "check", str(file)]).exit_code == 2


def test_the_same_question_twice_is_told(tmp_path: Path) -> None:
    assert told(load(tmp_path, {}, [*SUMS, SUMS[0] | {"id": "again"}])) == "warning: 1 questions stand more than once"


def test_code_is_not_run_unless_allowed(tmp_path: Path) -> None:
    docs = [{"q": "x", "a": json.dumps({"tests": "assert x == 1", "solution": "x = 1"})}]
    task = {"metric_list": [{"metric": "code_passes"}], "doc_to_target": "a"}
    (found,) = check(load(tmp_path, task, docs))
    assert (found.gold, found.ok) == (None, True)
    assert "was not allowed" in found.told[0].what


@pytest.mark.parametrize("name", ["regression-core", "safety-core"])
def test_bundled_suites_are_sound(name: str) -> None:
    result = CliRunner().invoke(app, ["suite", "check", name, "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["ok"] is True
    assert {task["gold"] for task in found["tasks"]} <= {1.0, None}


@pytest.mark.parametrize("name", published_suites())
def test_published_suites_are_sound(shared_data: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["suite", "check", name, "--data", str(shared_data / "suites"), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (0, True)


def test_a_suite_is_shown_as_a_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["suite", "check", str(written(tmp_path, CHOICE))])
    assert result.exit_code == 2
    assert "✘ fail" in result.stdout
    assert "error: sums: always answering 'choice 1'" in result.stdout


def test_suites_are_listed_with_what_they_need(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["suite", "ls", "--json"]).stdout)}
    assert rows["regression-core"]["items"] > 0
    assert rows["hellaswag"]["fault"] == "no file 'hellaswag.jsonl'"
    monkeypatch.setenv("HARNESS_DATA", str(shared_data / "suites"))
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["suite", "ls", "--json"]).stdout)}
    assert (rows["hellaswag"]["items"], rows["hellaswag"]["fault"]) == (500, None)


def test_a_use_of_a_suite_names_data_and_limit(shared_data: Path) -> None:
    use = SuiteUse(suite="copa", data=str(shared_data / "suites"), limit=7)
    assert load_suite(use).size == 7
    assert [item.id for item in load_suite(use).tasks[0].items] == [f"copa-{i:04}" for i in range(7)]
