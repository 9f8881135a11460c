"""Metric of meaning: how near an answer is to its gold text in the space of a small embedding model."""

from __future__ import annotations

from harness.metrics import tools
from harness.metrics.registry import metric


@metric("semantic_similarity", binary=False, arguments={"model": "MODEL"}, needs="model")
def semantic_similarity(answer: str, target: str, *, model: str) -> float:
    """Cosine of the embeddings of answer and target, not below 0; the model is named by the spec.

    model: a hub id or a folder that sentence-transformers reads. What it means for two texts to be near depends on
    the model: it measures likeness of topic and wording, not truth.
    """
    if not answer.strip():
        return 0.0
    if answer.strip() == target.strip():
        return 1.0
    ours, theirs = tools.embedder(model)([answer, target])
    return min(max(float(ours @ theirs), 0.0), 1.0)
