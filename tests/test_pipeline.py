"""The whole straight line on real parts: real model, real training, real serving, a verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_experiment

from harness import artifacts
from harness.models import LocalModel
from harness.records import ForgettingRecord, PromptRecord, TrainingRecord, VerdictRecord
from harness.store import ExperimentStore, Store, samples_digest
from harness.trainers import trained_prompt

pytestmark = pytest.mark.model

GATE = {"suite": "task", "against": "base", "min_delta": 0.1}
GATES = [
    {"suite": "task", "metric": "json_field_f1", "against": "base", "min_delta": 0.1},
    {"suite": "tiny", "against": "base", "min_delta": -0.2},
    {"suite": "task", "metric": "tokens_in", "against": "base", "min_delta": -0.1, "relative": True},
    {"suite": "task", "metric": "latency_p50_s", "at_most": 600},
    {"must_not_break": "critical.jsonl", "tier": "advisory"},
]
"""One of each kind."""
TUNED = ("tuned-seed0", "tuned-seed0+best_prompt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_model: LocalModel) -> tuple[Path, ExperimentStore]:
    folder = tmp_path_factory.mktemp("experiment")
    unused = (small_experiment.ROOT / "suites" / "tickets" / "dev.jsonl").read_text(encoding="utf-8").splitlines()[-2:]
    (folder / "critical.jsonl").write_text("\n".join(unused), encoding="utf-8")
    spec = small_experiment.write(folder, gates=GATES)
    done = small_experiment.run(spec, folder / "reports", HARNESS_VLLM_PYTHON="")
    assert done.returncode in (0, 10, 11), done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["exit_code"] == done.returncode
    return spec, Store(folder / "reports").find(verdict["experiment"])


def test_a_verdict_rests_on_runs_that_are_pinned_by_content(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    assert {run.run for run in verdict.runs} == {
        *(f"{name}--task--test" for name in ("base", "few_shot", "cot", "rag", "best_prompt", *TUNED)),
        *(f"{name}--must-not-break-critical--test" for name in TUNED),
        *(f"{name}--tiny--test" for name in ("base", *TUNED)),
    }
    assert all(samples_digest(folder.samples(run.run)) == run.samples_digest for run in verdict.runs)


def test_the_verdict_says_how_near_serving_is_to_training_and_what_was_forgotten(
    finished: tuple[Path, ExperimentStore],
) -> None:
    _, folder = finished
    verdict, forgetting = folder.read(VerdictRecord), folder.read(ForgettingRecord)
    assert verdict is not None
    assert verdict.parity is not None
    (row,) = verdict.parity.adapters
    assert row.tuned is not None
    assert row.tolerance is not None
    assert row.tuned < row.tolerance
    assert forgetting is not None
    (one,) = forgetting.adapters  # one adapter under two prompts
    assert (one.adapter, one.text.n, one.kl.n) == (row.adapter, 61, 30)


def test_every_kind_of_gate_is_judged_on_what_was_measured(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    task, tiny, tokens, latency, kept = (gate for gate in verdict.gates if gate.candidate == TUNED[0])
    assert all(gate.comparison and gate.comparison.difference.n for gate in (task, tiny, tokens))
    assert (tokens.outcome, latency.outcome) == ("pass", "pass")
    assert latency.estimate is not None
    assert latency.estimate.n == 20
    assert (kept.rule, kept.outcome) == ("must_not_break", "fail" if kept.broken else "pass")
    assert verdict.family is not None
    assert len(verdict.family.members) == 4 * len(TUNED)


def test_a_tuned_candidate_is_judged_under_both_prompts_and_each_is_a_look(
    finished: tuple[Path, ExperimentStore],
) -> None:
    _, folder = finished
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    assert {finalist.name for finalist in verdict.finalists} == set(TUNED)
    looks = [finalist.look for finalist in verdict.finalists]
    assert [(look.number, look.budget, look.level) for look in looks] == [(1, 5, 0.025), (2, 5, 0.0125)]
    counted = Store(folder.path.parent).looks.all()
    assert [look for look in counted if look.suite == "task"] == looks
    assert [look.suite for look in counted if look not in looks] == ["enough"], "whether the prompt suffices, apart"
    dev = {name: folder.run(f"{name}--task--dev") for name in TUNED}
    scores = {name: run.metrics[0].estimate.value or 0.0 for name, run in dev.items() if run}
    assert scores[verdict.finalists[0].name] == max(scores.values())
    assert any("was trained under 'trained'" in told for told in verdict.warnings)


def test_what_no_prompt_touches_is_asked_once_and_what_one_touches_of_each(
    finished: tuple[Path, ExperimentStore],
) -> None:
    _, folder = finished
    runs = {(run.candidate.name, run.suite): run for run in folder.runs() if run.split == "test"}
    plain = [runs[name, "tiny"] for name in TUNED]
    assert plain[0].samples_digest == plain[1].samples_digest
    assert plain[0].created == plain[1].created
    assert runs[TUNED[0], "task"].tokens_in != runs[TUNED[1], "task"].tokens_in


def test_the_prompt_of_a_training_lies_beside_its_weights(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    training = folder.read(TrainingRecord)
    assert training is not None
    adapter = artifacts.folder("adapters", training.seeds[0].adapter.digest)
    assert trained_prompt(adapter) == training.prompt


def test_baselines_reason_and_look_things_up_in_train_alone(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    reasoned, found = (folder.samples(f"{name}--task--test") for name in ("cot", "rag"))
    tested = {sample.id for sample in found}
    assert all(sample.retrieved and not tested & set(sample.retrieved) for sample in found)
    assert {sample.id for sample in reasoned} == tested


def test_training_taught_the_form_of_the_answer(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    training = folder.read(TrainingRecord)
    assert training is not None
    curve = training.seeds[0].curve
    assert curve[-1].loss < 0.8 * curve[0].loss
    seen = training.supervision
    assert seen.rows_with_end_of_turn == seen.rows == 64
    assert 0 < seen.supervised_tokens < seen.tokens
    assert seen.example.endswith("<|im_end|>\n]]")


def test_the_prompt_race_saw_no_test_item(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    record = folder.read(PromptRecord)
    assert record is not None
    tested = {sample.id for sample in folder.samples("base--task--test")}
    shown = {name for arm in record.arms for name in arm.prompt.demonstration_ids}
    assert not tested & (shown | set(record.dev_ids))


def test_base_and_tuned_answered_under_the_same_conditions(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    assert len({run.conditions.model_dump_json() for run in folder.runs()}) == 1


def test_an_unchanged_run_finds_its_verdict_without_model_or_weights(
    finished: tuple[Path, ExperimentStore], tmp_path: Path
) -> None:
    spec, folder = finished
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.is_file()}
    done = small_experiment.run(spec, folder.path.parent, HARNESS_HOME=str(tmp_path / "empty"))
    assert json.loads(done.stdout)["experiment"] == folder.id
    assert not (tmp_path / "empty").exists()
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.is_file()} == before


def test_the_stored_spec_runs_as_it_stands_to_the_same_experiment(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    done = small_experiment.run(folder.path / "spec.yaml", folder.path.parent)
    assert json.loads(done.stdout)["experiment"] == folder.id


def test_reports_are_written_beside_the_records(finished: tuple[Path, ExperimentStore]) -> None:
    _, folder = finished
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    assert verdict.decision in (folder.path / "report.md").read_text().lower()
    assert "<script" not in (folder.path / "report.html").read_text()


def test_a_prompt_that_is_good_enough_ends_it_before_training(tmp_path: Path, small_model: LocalModel) -> None:
    task = {"metric": "json_valid", "max_tokens": 48, "instruction": "Reply with one JSON object about the message."}
    spec = small_experiment.write(tmp_path, task=task, enough=0.05, gates=[GATE], prompt=small_experiment.ALONE)
    done = small_experiment.run(spec, tmp_path / "reports", HARNESS_VLLM_PYTHON="")
    assert done.returncode == 12, done.stderr
    verdict = json.loads(done.stdout)
    assert [(gate["rule"], gate["outcome"]) for gate in verdict["gates"]] == [("at_least", "pass")]
    assert verdict["finalists"][0]["look"]["suite"] == "enough"
    folder = Store(tmp_path / "reports").find(verdict["experiment"])
    assert folder.read(TrainingRecord) is None
    assert "tuned" not in " ".join(folder.run_ids())
    assert (folder.path / "report.html").exists()


@pytest.mark.slow
def test_of_several_seeds_the_best_on_dev_is_judged_and_said_so(tmp_path: Path, small_model: LocalModel) -> None:
    train = {"max_steps": 6, "learning_rate": 1e-3, "seeds": [3, 7]}
    spec = small_experiment.write(tmp_path, train=train, prompt=small_experiment.ALONE)
    done = small_experiment.run(spec, tmp_path / "reports", HARNESS_VLLM_PYTHON="")
    assert done.returncode in (0, 10, 11), done.stderr
    verdict = json.loads(done.stdout)
    folder = Store(tmp_path / "reports").find(verdict["experiment"])
    dev = {name: folder.run(f"{name}--task--dev") for name in ("tuned-seed3", "tuned-seed7")}
    scores = {name: run.metrics[0].estimate.value or 0.0 for name, run in dev.items() if run}
    assert scores[verdict["candidate"]] == max(scores.values())
    assert any("best on dev of 2 seeds" in told for told in verdict["warnings"])


@pytest.mark.slow
def test_a_recipe_is_judged_over_its_seeds_and_may_stop_nothing_early(tmp_path: Path, small_model: LocalModel) -> None:
    train = {"max_steps": 6, "learning_rate": 1e-3, "seeds": [3, 7]}
    prompt = small_experiment.ALONE | {"with_tuned": True}
    changes = {"train": train, "policy": {"claim": "recipe"}, "stop_early": True, "prompt": prompt}
    done = small_experiment.run(
        small_experiment.write(tmp_path, **changes), tmp_path / "reports", HARNESS_VLLM_PYTHON=""
    )
    assert done.returncode in (0, 10, 11), done.stderr
    verdict = json.loads(done.stdout)
    assert (verdict["claim"], [one["look"]["number"] for one in verdict["finalists"]]) == ("recipe", [1, 2])
    assert {gate["comparison"]["seeds"] for gate in verdict["gates"]} == {2}
    folder = Store(tmp_path / "reports").find(verdict["experiment"])
    assert all(run.stopped is None for run in folder.runs())


@pytest.mark.slow
def test_finalists_are_looks_and_clear_gates_stop_early(tmp_path: Path, small_model: LocalModel) -> None:
    train = {"max_steps": 6, "learning_rate": 1e-3, "seeds": [3, 7]}
    gates = [{"suite": name, "against": "base", "min_delta": -0.9} for name in ("task", "tiny")]
    changes = {"finalists": 2, "stop_early": True, "prompt": small_experiment.ALONE}
    spec = small_experiment.write(tmp_path, train=train, gates=gates, **changes)
    done = small_experiment.run(spec, tmp_path / "reports", HARNESS_VLLM_PYTHON="")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert [one["look"]["number"] for one in verdict["finalists"]] == [1, 2]
    folder = Store(tmp_path / "reports").find(verdict["experiment"])
    stopped = [run.stopped for run in folder.runs() if run.suite == "tiny" and run.candidate.adapter]
    assert [stop is not None and stop.asked < stop.of for stop in stopped] == [True, True]
