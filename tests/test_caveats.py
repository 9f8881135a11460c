"""What a reader should know before acting on a verdict."""

from __future__ import annotations

from pathlib import Path

from sample_store import build

from harness.caveats import caveats
from harness.records import RunRecord
from harness.store import ExperimentStore


def some(tmp_path: Path) -> tuple[ExperimentStore, list[RunRecord]]:
    folder = next(e for e in build(tmp_path).experiments() if e.run("tuned-seed0--task--test"))
    return folder, [run for run in folder.runs() if run.split == "test"]


def with_engine(run: RunRecord, engine: str) -> RunRecord:
    return run.model_copy(update={"conditions": run.conditions.model_copy(update={"engine": engine})})


def with_score(run: RunRecord, value: float) -> RunRecord:
    estimate = run.metrics[0].estimate.model_copy(update={"value": value})
    first = run.metrics[0].model_copy(update={"estimate": estimate})
    return run.model_copy(update={"metrics": (first, *run.metrics[1:])})


def test_another_engine_than_vllm_is_said(tmp_path: Path) -> None:
    folder, runs = some(tmp_path)
    assert any(
        "transformers engine" in told for told in caveats([with_engine(r, "transformers") for r in runs], folder, (0,))
    )
    (remote,) = [
        told for told in caveats([with_engine(r, "openai") for r in runs], folder, (0,)) if "Judged over" in told
    ]
    assert "another model behind them would not be noticed" in remote
    assert "vLLM" not in remote
    assert not any("engine" in told for told in caveats([with_engine(r, "vllm") for r in runs], folder, (0,)))


def test_a_raw_prompt_that_beats_the_race_on_test_is_said(tmp_path: Path) -> None:
    folder, runs = some(tmp_path)
    turned = [with_score(run, 0.9 if run.candidate.name == "base" else 0.2) for run in runs]
    assert any("raw prompt did better (0.900)" in told for told in caveats(turned, folder, (0,)))
    straight = [with_score(run, 0.2 if run.candidate.name == "base" else 0.9) for run in runs]
    assert not any("raw prompt did better" in told for told in caveats(straight, folder, (0,)))


def test_a_choice_among_seeds_is_said(tmp_path: Path) -> None:
    folder, runs = some(tmp_path)
    tuned = [run for run in runs if run.candidate.adapter is not None and run.suite == "task"]
    one = [run for run in runs if run not in tuned[1:]]
    assert any("Judged is the best on dev of 3 seeds" in told for told in caveats(one, folder, (0, 1, 2)))
    twins = [*one, tuned[1]]
    assert any("Judged are the 2 best on dev of 3 seeds" in told for told in caveats(twins, folder, (0, 1, 2)))
    assert not any("seeds" in told for told in caveats(one, folder, (0,)))
    assert not any("seeds" in told for told in caveats(twins, folder, (0, 1)))
