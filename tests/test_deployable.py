"""What an experiment would deploy: the candidate that its verdict speaks of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sample_records as made
import sample_store

from harness.errors import UsageError
from harness.evidence import deployable
from harness.records import RunRecord
from harness.store import ExperimentStore, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return sample_store.build(tmp_path_factory.mktemp("reports"))


@pytest.mark.parametrize(
    ("experiment", "who"),
    [
        ("tickets-lora", "tuned-seed0"),
        ("orders-lora", "tuned-seed0+best_prompt"),
        ("intents-lora", "tuned-seed0"),
        ("faq-prompt", "best_prompt"),
    ],
)
def test_the_candidate_of_the_verdict_is_deployed_whatever_was_decided(store: Store, experiment: str, who: str) -> None:
    assert deployable(store.find(experiment)) == made.candidate(who)


def test_an_experiment_without_a_verdict_deploys_nothing(store: Store) -> None:
    with pytest.raises(UsageError, match=r"half-done.*no verdict.*harness run"):
        deployable(store.find("half-done"))


def test_a_verdict_whose_runs_are_gone_deploys_nothing(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.find("tickets-lora").path, tmp_path / "x")
    shutil.rmtree(tmp_path / "x" / "runs")
    with pytest.raises(UsageError, match="no test run of tuned-seed0"):
        deployable(ExperimentStore(tmp_path / "x"))


def test_of_a_recipe_the_seed_that_is_best_on_dev_is_deployed(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.find("routing-recipe").path, tmp_path / "recipe")
    folder = ExperimentStore(tmp_path / "recipe")
    with pytest.raises(UsageError, match="stands for tuned-seed0, tuned-seed1, tuned-seed2, and no dev run"):
        deployable(folder)
    for seed, accuracy in enumerate((0.3, 0.9, 0.5)):
        _write_dev_run(folder, f"tuned-seed{seed}", accuracy)
    assert deployable(folder) == made.candidate("tuned-seed1")


def _write_dev_run(folder: ExperimentStore, who: str, accuracy: float) -> RunRecord:
    """A dev run whose score is that of answers of this accuracy."""
    run = folder.run(f"{who}--task--test")
    assert run is not None
    answers = made.samples("task", who, accuracy, 40)
    estimate = made.wilson([sample.scores["exact_match"] or 0.0 for sample in answers])
    metrics = tuple(one.model_copy(update={"estimate": estimate}) for one in run.metrics)
    dev = run.model_copy(update={"id": f"{who}--task--dev", "split": "dev", "metrics": metrics})
    path = folder.path / "runs" / dev.id / "run.json"
    path.parent.mkdir()
    path.write_text(dev.model_dump_json(), encoding="utf-8")
    return dev
