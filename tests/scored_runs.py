"""Runs with scored samples, made by hand for tests of comparison."""

from typing import Any

from harness.compare import compare
from harness.records import (
    Candidate,
    ComparisonRecord,
    Conditions,
    Decoding,
    ModelRef,
    Prompt,
    RunRecord,
    SampleRecord,
)

GREEDY = Decoding()
CONDITIONS = Conditions(
    engine="vllm", engine_version="0.22", dtype="bfloat16", device="cuda", chat_template_digest="t", flags={"tp": "1"}
)


def sample(id: str, score: float | None, task: str = "t", metric: str = "acc", **more: Any) -> SampleRecord:
    fields = {
        "item_digest": f"d-{task}-{id}",
        "question": "q",
        "target": "yes",
        "answer": "a",
        "scores": {metric: score},
    }
    return SampleRecord(task=task, id=id, **{**fields, **more})


def run(samples: list[SampleRecord], name: str = "tuned", **more: Any) -> RunRecord:
    decoding = more.pop("decoding", GREEDY)
    prompt = more.pop("prompt", Prompt(name="raw", instruction=""))
    candidate = Candidate(name=name, model=ModelRef(name="m", digest="w"), prompt=prompt, decoding=decoding)
    fields = {
        "suite": "task", "role": "task", "split": "test", "fingerprint": "f1", "conditions": CONDITIONS,
        "primary": {s.task: "acc" for s in samples}, "n": len(samples),
    }  # fmt: skip
    return RunRecord(
        id=f"{name}--task--test", candidate=candidate, candidate_digest="c", metrics=(), unscored=0, tokens_in=None,
        tokens_out=None, seconds=1.0, latency_p50_s=None, latency_p95_s=None, samples_digest="s", created="now",
        **{**fields, **more},
    )  # fmt: skip


def scores(values: list[float | None], **more: Any) -> list[SampleRecord]:
    return [sample(f"{i:05d}", value, **more) for i, value in enumerate(values)]


def compared(new: list[SampleRecord], old: list[SampleRecord], **options: Any) -> ComparisonRecord:
    return compare(run(new), new, run(old, "base"), old, **options)
