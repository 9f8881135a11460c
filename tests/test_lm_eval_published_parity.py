"""Published suites with this harness and with lm-eval on the same real model: equal scores, sample by sample.

Each loads the model once for all tasks. The four suites with metrics that lm-eval does not have are not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval_tasks import manager

from harness.engines.transformers_engine import TransformersEngine
from harness.evaluate import ask
from harness.models import LocalModel
from harness.records import Prompt
from harness.suites import SuiteUse, load_suite

pytest.importorskip("lm_eval")

# lm-eval and its libraries warn about their own insides; those warnings are not ours to mend.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

PUBLISHED = Path(__file__).resolve().parent.parent / "suites" / "published"
CHOICE = (
    *("hellaswag", "piqa", "winogrande", "openbookqa", "commonsenseqa", "copa", "blimp", "lambada", "mmlu"),
    *("truthfulqa_mc", "bbq"),
)
GENERATED = ("simple_arithmetic", "bbh", "svamp", "gsm8k")
"""Shortest answers first: gsm8k writes up to 256 tokens after eight worked examples."""
FEW, MANY = 4, 12
Scores = dict[str, dict[str, float | None]]
"""Task to id to primary score."""


def ours(model: LocalModel, data: Path, names: tuple[str, ...], most: int, fewshot: int | None = None) -> Scores:
    found: Scores = {}
    with TransformersEngine(model) as engine:
        for name in names:
            (task,) = load_suite(SuiteUse(suite=name, limit=most, fewshot=fewshot), data=data).tasks
            samples = ask(engine, task, task.items, Prompt(name="raw", instruction=""), task.decoding)
            found[name] = {sample.id: sample.scores[task.metrics[0]] for sample in samples}
            assert len(found[name]) == most
    return found


def theirs(
    model: LocalModel, data: Path, names: tuple[str, ...], most: int, cache: Path, fewshot: int | None = None
) -> Scores:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(data)
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        read: dict[str, Any] = simple_evaluate(
            model=HFLM(pretrained=str(model.path), device="cpu", dtype="float32", batch_size=8),
            tasks=list(names),
            task_manager=manager(PUBLISHED, cache, patch),
            limit=most,
            num_fewshot=fewshot,
            log_samples=True,
            bootstrap_iters=0,
        )
    return {
        name: {sample["doc"]["id"]: float(sample["acc" if name in CHOICE else "exact_match"]) for sample in samples}
        for name, samples in read["samples"].items()
    }


def test_scores_are_those_of_lm_eval(small_model: LocalModel, shared_data: Path, tmp_path: Path) -> None:
    names, data = (*CHOICE, *GENERATED[:2]), shared_data / "suites"
    expected = theirs(small_model, data, names, FEW, tmp_path)
    assert ours(small_model, data, names, FEW) == expected
    assert {score for scores in expected.values() for score in scores.values()} == {0.0, 1.0}


@pytest.mark.slow
def test_scores_are_those_of_lm_eval_on_more(small_model: LocalModel, shared_data: Path, tmp_path: Path) -> None:
    names, data = (*CHOICE, *GENERATED), shared_data / "suites"
    expected = theirs(small_model, data, names, MANY, tmp_path)
    assert ours(small_model, data, names, MANY) == expected
    assert {score for scores in expected.values() for score in scores.values()} == {0.0, 1.0}


@pytest.mark.slow
def test_scores_after_worked_examples_are_those_of_lm_eval(
    small_model: LocalModel, shared_data: Path, tmp_path: Path
) -> None:
    names, data = ("mmlu",), shared_data / "suites"
    assert ours(small_model, data, names, MANY, 5) == theirs(small_model, data, names, MANY, tmp_path, 5)
