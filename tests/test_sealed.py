"""The test split is sealed: what learns or chooses cannot be handed it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, cast

import pytest
from scripted import Scripted
from small_training import PROMPT, QUICK

import harness
from harness import data, prompts
from harness.data import Data, DataSpec, SealedSplit
from harness.evaluate import TaskSpec
from harness.learning.rows import jobs
from harness.progress import Silent
from harness.prompts import PromptSpec
from harness.records import Decoding
from harness.retrieval import Shelves
from harness.store import Store

PACKAGE = Path(harness.__file__).parent
ALLOWED = {
    "unseal": {
        "pipeline.py",
        "deploying/gating.py",  # a deploy gate on the task: every candidate is a counted look
        "exporting/judging.py",  # asked again after the verdict, of what was judged; nothing is chosen by the answers
    },
    "sealed": {"data/rows.py", "data/auditing.py"},
    "opened": {"spec/loading.py", "spec/learned.py", "data/auditing.py", "data/inspecting.py"},
}
"""Attributes through which test rows can be reached, and the files that may name them: checks, audit, judging."""


@pytest.fixture
def rows(tmp_path: Path) -> Data:
    for name in ("train", "dev", "test"):
        lines = (json.dumps({"prompt": f"{name} {i}", "completion": "yes"}) for i in range(4))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return data.load(DataSpec(train="train.jsonl", dev="dev.jsonl", test="test.jsonl"), tmp_path)


def test_only_who_judges_opens_the_test_split() -> None:
    for attribute, allowed in ALLOWED.items():
        users = {
            path.relative_to(PACKAGE).as_posix()
            for path in PACKAGE.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and node.attr == attribute
        }
        assert users <= allowed, f"{attribute} is named in {sorted(users - allowed)}"
        assert users & allowed


@pytest.mark.parametrize("opened", [False, True])
def test_the_prompt_search_refuses_it(rows: Data, tmp_path: Path, opened: bool) -> None:
    test = cast(Any, rows.test.unseal() if opened else rows.test)
    engine = Scripted(lambda _: pytest.fail("a question was asked"))
    store = Store(tmp_path).create("e--12345678", "name: e\n")
    task, shelves = TaskSpec(metric="exact_match"), Shelves(rows.train.items)
    for train, dev in ((rows.train, test), (test, rows.dev)):
        with pytest.raises(ValueError, match="train and dev only"):
            prompts.search(PromptSpec(), task, "", train, dev, engine, shelves, store, Silent())


def test_training_refuses_it(rows: Data) -> None:
    about = cast(Any, None), Decoding(), Path()
    with pytest.raises(ValueError, match="judging"):
        jobs(QUICK, rows.test.unseal(), rows.dev, PROMPT, *about)
    with pytest.raises(ValueError, match="judging"):
        jobs(QUICK, rows.train, rows.test.unseal(), PROMPT, *about)
    with pytest.raises(AttributeError):
        jobs(QUICK, cast(Any, rows.test), rows.dev, PROMPT, *about)


def test_a_sealed_split_shows_no_row(rows: Data) -> None:
    assert isinstance(rows.test, SealedSplit)
    assert not hasattr(rows.test, "items")
    assert not hasattr(rows.test, "rows")
    assert "test 0" not in repr(rows.test)
    assert rows.test.size == 4
