"""A small, fully valid store made through the real records API: every decision once, and some damage.

    tickets-lora      promote           two seeds, a model that answers with HTML and markdown
    intents-lora      reject            gains on the task, loses on the regression suite
    summary-lora      inconclusive      too few items to tell
    faq-prompt        prompt_suffices   the best prompt is good enough, nothing was trained
    orders-lora       promote           every contestant before training; one adapter under its own prompt and the best
    routing-recipe    promote           three seeds as one claim, look 2 of 5, a relative margin, the worst slice,
                                        a latency limit, a suite that ended early
    claims-lora       reject            two finalists; one breaks a slice, critical items and the latency
    spent-lora        inconclusive      the sixth look at a test split that five were declared for
    half-done         unfinished        only data and the raw base
    torn              damaged           its verdict is cut in the middle
    notes             foreign           a folder that is no experiment

The same call always writes the same bytes. Used by tests only.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sample_records as made
import yaml
from sample_gates import Gate, Levels, compare, judge_gate, look
from sample_records import HOSTILE, REGRESSION

from harness import records as r
from harness.store import ExperimentStore, Store

__all__ = ["HOSTILE", "build"]

CRITICAL, KEPT = "critical.jsonl", "must-not-break-critical"
HYPOTHESIS = "A LoRA beats the best prompt by at least 5 points."
GAIN, NO_LOSS = Gate("task", "best_prompt", 0.05), Gate(REGRESSION, "base", -0.05)


@dataclass(frozen=True)
class Case:
    """How one experiment shall turn out: accuracies by candidate, on the task and on the regression suite."""

    name: str
    decision: r.Decision
    reason: str
    task: dict[str, float]
    regression: dict[str, float]
    n: int = 80
    findings: tuple[r.Finding, ...] = ()
    gates: tuple[Gate, ...] = (GAIN, NO_LOSS)
    finalists: tuple[tuple[str, r.Decision, str], ...] = ()
    """Name, decision and reason of each that was judged; by default the first tuned one."""
    claim: r.Claim = "artifact"
    first_look: int = 1
    stopped: Mapping[str, int] = field(default_factory=dict)
    """Suite to how many of its items the tuned ones were asked."""
    weak: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Candidate to its accuracy on the task by language."""
    critical: Mapping[str, float] = field(default_factory=dict)
    """Candidate to its accuracy on the items that must not break."""

    @property
    def tuned(self) -> list[str]:
        """Names of the tuned candidates."""
        return [name for name in self.task if name.startswith("tuned") and "+" not in name]


CASES = (
    Case(
        name="orders-lora",
        decision="promote",
        reason="tuned-seed0+best_prompt: 2 of 2 blocking gates passed.",
        task={
            "base": 0.10,
            "few_shot": 0.35,
            "cot": 0.25,
            "rag": 0.45,
            "majority": 0.0,
            "best_prompt": 0.55,
            "tuned-seed0": 0.70,
            "tuned-seed0+best_prompt": 0.95,
        },
        regression={"base": 0.70, "tuned-seed0": 0.80, "tuned-seed0+best_prompt": 0.80},
        n=90,
        finalists=(
            ("tuned-seed0+best_prompt", "promote", "2 of 2 blocking gates passed."),
            ("tuned-seed0", "promote", "2 of 2 blocking gates passed."),
        ),
    ),
    Case(
        name="faq-prompt",
        decision="prompt_suffices",
        reason="The best prompt already reaches the target of the spec; nothing was trained.",
        task={"base": 0.45, "best_prompt": 0.95},
        regression={},
        n=60,
        gates=(Gate("task", limit=0.5, metric="latency_p95_s"),),
        finalists=(("best_prompt", "prompt_suffices", "1 of 1 blocking gates passed."),),
    ),
    Case(
        name="summary-lora",
        decision="inconclusive",
        reason="The task gate cannot decide: the interval contains the margin.",
        task={"base": 0.30, "best_prompt": 0.55, "tuned-seed0": 0.63},
        regression={"base": 0.70, "best_prompt": 0.70, "tuned-seed0": 0.70},
        n=40,
    ),
    Case(
        name="spent-lora",
        decision="inconclusive",
        reason="1 of 2 blocking gates undecided: task vs best_prompt.",
        task={"base": 0.20, "best_prompt": 0.50, "tuned-seed0": 0.80},
        regression={"base": 0.70, "tuned-seed0": 0.70},
        first_look=6,
    ),
    Case(
        name="claims-lora",
        decision="reject",
        reason="3 of 5 blocking gates failed.",
        task={"base": 0.25, "best_prompt": 0.55, "tuned-seed0": 0.97, "tuned-seed1": 0.75},
        regression={"base": 0.70, "tuned-seed0": 0.72, "tuned-seed1": 0.70},
        n=120,
        gates=(
            GAIN,
            Gate("task", "best_prompt", -0.05, worst="language"),
            Gate(CRITICAL),
            Gate("task", limit=0.3, metric="latency_p95_s"),
            Gate("task", "base", -0.02, metric="latency_mean_s", blocking=False),
            NO_LOSS,
        ),
        finalists=(
            ("tuned-seed0", "reject", "3 of 5 blocking gates failed."),
            ("tuned-seed1", "inconclusive", "2 of 5 blocking gates undecided."),
        ),
        weak={"tuned-seed0": {"de": 0.15}},
        critical={"tuned-seed0": 0.75, "tuned-seed1": 2.0},
    ),
    Case(
        name="routing-recipe",
        decision="promote",
        reason="5 of 5 blocking gates passed.",
        task={"base": 0.05, "best_prompt": 0.40, "tuned-seed0": 0.95, "tuned-seed1": 0.90, "tuned-seed2": 0.93},
        regression={"base": 0.50, "tuned-seed0": 0.80, "tuned-seed1": 0.78, "tuned-seed2": 0.82},
        n=100,
        gates=(
            GAIN,
            Gate("task", "best_prompt", 0.0, worst="language"),
            Gate(REGRESSION, "base", -0.02, relative=True),
            Gate("task", limit=0.5, metric="latency_p95_s"),
        ),
        finalists=(("tuned", "promote", "4 of 4 blocking gates passed."),),
        claim="recipe",
        first_look=2,
        stopped={REGRESSION: 48},
    ),
    Case(
        name="intents-lora",
        decision="reject",
        reason="The candidate gains on the task but loses general capability.",
        task={"base": 0.20, "best_prompt": 0.50, "tuned-seed0": 0.85},
        regression={"base": 0.80, "best_prompt": 0.80, "tuned-seed0": 0.50},
    ),
    Case(
        name="tickets-lora",
        decision="promote",
        reason="All blocking gates passed.",
        task={"base": 0.05, "best_prompt": 0.45, "tuned-seed0": 0.90, "tuned-seed1": 0.88},
        regression={"base": 0.70, "best_prompt": 0.70, "tuned-seed0": 0.72, "tuned-seed1": 0.71},
        n=120,
        findings=(
            r.Finding(
                rule="duplicate_exact",
                severity="warning",
                file="train.jsonl",
                line=17,
                message="same as line 4; drop one.",
            ),
        ),
    ),
)
UNFINISHED = Case("half-done", "inconclusive", "", {"base": 0.3}, {}, n=30)


def begin(store: Store, case: Case) -> ExperimentStore:
    """The spec, the provenance and the data of an experiment."""
    experiment_id = f"{case.name}--{r.digest(case.name)[:8]}"
    spec = {"name": case.name, "hypothesis": HYPOTHESIS, "model": made.MODEL.name}
    experiment = store.create(experiment_id, yaml.safe_dump(spec, sort_keys=False))
    experiment.write(made.provenance(experiment_id))
    splits: dict[r.SplitName, r.SplitRecord] = {
        split: r.SplitRecord(file=f"{split}.jsonl", rows=rows, fingerprint=r.digest([case.name, split]))
        for split, rows in (("train", 300), ("dev", 60), ("test", case.n))
    }
    experiment.write(
        r.DataRecord(
            format="messages", splits=splits, findings=case.findings, majority_answer="card", majority_score=1 / 3
        )
    )
    return experiment


def evaluate(experiment: ExperimentStore, case: Case) -> None:
    """Every candidate on every suite; a suite that ended early was asked in a random order."""
    for suite, accuracies in (("task", case.task), (REGRESSION, case.regression), (KEPT, case.critical)):
        for who, accuracy in accuracies.items():
            weak = case.weak.get(who, {}) if suite == "task" else {}
            answers = made.samples(suite, who, accuracy, 12 if suite == KEPT else case.n, weak)
            asked = case.stopped.get(suite) if who.startswith("tuned") else None
            if asked is None:
                made.write_run(experiment, suite, who, answers)
                continue
            some = random.Random(0).sample(answers, asked)
            stop = r.EarlyStop(method="betting", asked=asked, of=case.n, seed=0)
            made.write_run(experiment, suite, who, some, stop)


def judge(experiment: ExperimentStore, case: Case) -> None:
    """Compare, gate and decide as the case wants it."""
    finalists, gates = [], []
    default = ((case.tuned[0], case.decision, case.reason),) if case.tuned else ()
    for number, (name, decision, reason) in enumerate(case.finalists or default, start=case.first_look):
        seen = look(name, number)
        finalists.append(r.Finalist(name=name, decision=decision, reason=reason, look=seen))
        seeds = case.tuned if case.claim == "recipe" else [name]
        levels = Levels(seen.level, 0.025 / len(case.gates) if number > 1 else 0.025)
        gates += [judge_gate(experiment, gate, name, seeds, levels) for gate in case.gates]
    candidate = finalists[0].name if finalists else "best_prompt"
    others = [compare(experiment, "task", [who], "best_prompt") for who in case.task if who != "best_prompt"]
    experiment.write_comparisons([g.comparison for g in gates if g.comparison] + others)
    named = tuple(f"{g.suite} {g.metric}" for g in gates if g.blocking and g.candidate == candidate)
    experiment.write(
        r.VerdictRecord(
            experiment=experiment.id,
            hypothesis=HYPOTHESIS,
            decision=case.decision,
            exit_code=r.EXIT_CODES[case.decision],
            reason=case.reason,
            claim=case.claim,
            candidate=candidate,
            gates=tuple(gates),
            finalists=tuple(finalists),
            family=r.Family(correction="holm", alpha=0.025, members=named) if named else None,
            runs=tuple(
                r.JudgedRun(run=run.id, candidate_digest=run.candidate_digest, samples_digest=run.samples_digest)
                for run in experiment.runs()
            ),
            warnings=("One item of the base could not be asked.",),
            created=made.CREATED,
        )
    )


def build(root: Path) -> Store:
    """Write the whole store under `root`."""
    store = Store(root)
    for age, case in enumerate((UNFINISHED, *CASES)):
        experiment = begin(store, case)
        evaluate(experiment, case)
        if case is not UNFINISHED:
            experiment.write(made.prompt_record(case.n))
            if case.tuned:
                experiment.write(made.training_record([int(name[-1]) for name in case.tuned]))
            judge(experiment, case)
        os.utime(experiment.path / "spec.yaml", (1_700_000_000 + age, 1_700_000_000 + age))
    torn = store.create("torn--00000000", "name: torn\n")
    (torn.path / "verdict.json").write_text('{"schema_version": 1, "experi', encoding="utf-8")
    (root / "notes").mkdir()
    return store
