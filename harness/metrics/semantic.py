"""Metric of meaning: how near an answer is to its gold text in the space of a small embedding model."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from harness.metrics.extras import needed
from harness.metrics.registry import metric


@lru_cache(maxsize=2)
def _embedder(model: str) -> Any:
    library = needed("sentence_transformers", "texts are embedded by it", "retrieval")
    return library.SentenceTransformer(model, trust_remote_code=False, model_kwargs={"use_safetensors": True})


@lru_cache(maxsize=4096)  # gold texts come again with every candidate
def _embedded(model: str, text: str) -> Any:
    return _embedder(model).encode(text, normalize_embeddings=True, show_progress_bar=False)


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
    cosine = float(_embedded(model, answer.strip()) @ _embedded(model, target.strip()))
    return min(max(cosine, 0.0), 1.0)
