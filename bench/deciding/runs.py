"""Scores as records of runs, the form in which the harness judges them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from deciding.worlds import Floats
from harness.compare import Scored
from harness.gates import Evidence, GateSpec, gather
from harness.records import AdapterRef, Candidate, Conditions, Decoding, ModelRef, Prompt, RunRecord, SampleRecord

TASK: Final = "t"
METRIC: Final = "score"
_CONDITIONS: Final = Conditions(
    engine="simulated", engine_version="1", dtype="none", device="cpu", chat_template_digest=None
)


def item_id(i: int) -> str:
    """Id of item i."""
    return f"{i:06d}"


def cluster_of(i: int, cluster: int) -> str | None:
    """Label of item i's cluster; None where every item stands alone."""
    return None if cluster == 1 else f"c{i // cluster:06d}"


def scored(name: str, scores: Floats, cluster: int = 1, suite: str = "task", seed: int = 0) -> Scored:
    """A run with its samples. scores: shape (n,); cluster: items that stand together."""
    samples = [_sample(i, score, cluster) for i, score in enumerate(scores.tolist())]
    return _run(name, len(samples), suite, seed), samples


def evidence(gate: GateSpec, candidate: Floats, reference: Floats, cluster: int = 1) -> Evidence:
    """What one gate is judged on. candidate, reference: scores, shape (n,)."""
    runs = [scored("tuned", candidate, cluster, gate.suite)]
    return gather(gate, runs, scored("base", reference, cluster, gate.suite), "artifact", None)


@lru_cache(maxsize=2**17)
def _sample(i: int, score: float, cluster: int) -> SampleRecord:
    """One record for the same score of the same item: making records would take longer than judging them."""
    return _item(i, cluster).model_copy(update={"scores": {METRIC: score}})


@lru_cache(maxsize=2**14)
def _item(i: int, cluster: int) -> SampleRecord:
    return SampleRecord(
        task=TASK, id=item_id(i), item_digest=f"d{i}", question="", target="", answer="", scores={},
        cluster=cluster_of(i, cluster),
    )  # fmt: skip


@lru_cache
def _run(name: str, n: int, suite: str, seed: int) -> RunRecord:
    adapter = None if name == "base" else AdapterRef(digest=f"{name}{seed}", method="lora", seed=seed)
    candidate = Candidate(
        name=name, model=ModelRef(name="m", digest="w"), adapter=adapter, prompt=Prompt(name="raw", instruction=""),
        decoding=Decoding(),
    )  # fmt: skip
    return RunRecord(
        id=f"{name}-seed{seed}--{suite}--test", candidate=candidate, candidate_digest=candidate.digest, suite=suite,
        role="task" if suite == "task" else "regression", split="test", fingerprint="f", conditions=_CONDITIONS,
        primary={TASK: METRIC}, metrics=(), n=n, unscored=0, tokens_in=None, tokens_out=None, seconds=1.0,
        latency_p50_s=None, latency_p95_s=None, samples_digest="s", created="now",
    )  # fmt: skip
