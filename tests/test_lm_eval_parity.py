"""lm-eval runs tasks of the bundled suite by name, on the real model: its scores are ours, sample by sample."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from harness.engines.transformers_engine import TransformersEngine
from harness.evaluate import ask
from harness.models import LocalModel
from harness.records import Prompt
from harness.suites import load_suite

pytest.importorskip("lm_eval")

# lm-eval and its libraries warn about their own insides; those warnings are not ours to mend.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("mini-facts", "mini-transform")
"""One multiple-choice task and one generation task."""


@pytest.fixture(scope="module")
def theirs(small_model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        import datasets
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        found: dict[str, Any] = simple_evaluate(
            model=HFLM(pretrained=str(small_model.path), device="cpu", dtype="float32", batch_size=8),
            tasks=list(NAMES),
            task_manager=TaskManager(include_path="suites", include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
        )
        return found


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_lm_eval_sample_by_sample(
    theirs: dict[str, Any], small_model: LocalModel, name: str
) -> None:
    task = next(task for task in load_suite("regression-mini").tasks if task.name == name)
    metric = task.metrics[0]
    expected = {sample["doc"]["id"]: float(sample[metric]) for sample in theirs["samples"][name]}
    with TransformersEngine(small_model) as engine:
        asked = list(ask(engine, task, task.items, Prompt(name="raw", instruction=""), task.decoding))
    assert {sample.id: sample.scores[metric] for sample in asked} == expected
    assert 0 < sum(expected.values()) < len(expected)
