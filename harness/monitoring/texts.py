"""What questions are about: hashed words and word pairs, topics by clustering, and how new a question is."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from harness.records import digest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WIDTH: Final = 2**15
"""Buckets that words and word pairs are hashed into."""
KEPT: Final = 2000
"""Texts that novelty is measured from, at most."""
TOPICS: Final = 12
PER_TOPIC: Final = 25
"""Texts per topic, at least, while there are fewer than TOPICS."""
ROUNDS: Final = 15
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Space:
    """Fitted on some texts; others are placed in it. Deterministic for the same texts in any order."""

    weights: Floats
    """Inverse document frequency of each bucket, (WIDTH,)."""
    texts: Any
    """Sparse unit vectors of the texts it was fitted on, (n, WIDTH)."""
    centres: Floats
    """Unit vectors of the topics, largest topic first, (topics, WIDTH)."""
    names: tuple[str, ...]
    """The words that mark each topic."""

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Space:
        """Hashed TF-IDF, then spherical k-means with k-means++ seeding (Arthur, Vassilvitskii, 2007)."""
        kept = sorted(texts, key=digest)[:KEPT]
        counts = _counts(kept)
        seen = np.asarray((counts > 0).sum(axis=0)).ravel()
        weights = np.log((1 + len(kept)) / (1 + seen)) + 1
        vectors = _unit(counts, weights)
        centres, labels = _cluster(vectors, min(TOPICS, max(2, len(kept) // PER_TOPIC)))
        order = np.argsort(-np.bincount(labels, minlength=len(centres)), kind="stable")
        names = tuple(_name([kept[i] for i in np.flatnonzero(labels == topic)], kept) for topic in order)
        return cls(weights, vectors, centres[order], names)

    def topics(self, texts: Sequence[str]) -> Ints:
        """The nearest topic of each text, (n,)."""
        if not texts:
            return np.empty(0, np.int64)
        return np.asarray((_unit(_counts(texts), self.weights) @ self.centres.T).argmax(axis=1), np.int64)

    def novelty(self, texts: Sequence[str]) -> Floats:
        """1 minus the cosine similarity to the most similar text that it was fitted on, (n,), in [0, 1]."""
        vectors = _unit(_counts(texts), self.weights) if texts else None
        found = [
            1 - (vectors[start : start + 512] @ self.texts.T).max(axis=1).toarray().ravel()
            for start in range(0, len(texts), 512)
            if vectors is not None
        ]
        return np.clip(np.concatenate(found), 0.0, 1.0) if found else np.empty(0)


def _counts(texts: Sequence[str]) -> Any:
    """Sublinear counts of hashed words and pairs of neighbours, (n, WIDTH)."""
    columns: list[int] = []
    values: list[float] = []
    ends = [0]
    for text in texts:
        words = _words(text)
        found = Counter(map(_bucket, [*words, *(f"{a} {b}" for a, b in pairwise(words))]))
        columns += found.keys()
        values += [1 + np.log(count) for count in found.values()]
        ends.append(len(columns))
    return sparse.csr_array((np.array(values, float), np.array(columns, np.int64), ends), shape=(len(texts), WIDTH))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())[:2000]


@lru_cache(maxsize=200_000)
def _bucket(term: str) -> int:
    return zlib.crc32(term.encode("utf-8", "replace")) % WIDTH


def _unit(counts: Any, weights: Floats) -> Any:
    weighted = counts.multiply(weights[None, :]).tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return weighted.multiply(1 / np.maximum(lengths, 1e-12)[:, None]).tocsr()


def _cluster(vectors: Any, many: int) -> tuple[Floats, Ints]:
    """Unit centres (many, WIDTH) and each text's centre (n,)."""
    rng, n = np.random.default_rng(0), vectors.shape[0]
    chosen = [int(rng.integers(n))]
    far = 1 - (vectors @ vectors[[chosen[0]]].T).toarray().ravel()
    while len(chosen) < many:
        odds = np.maximum(far, 0) ** 2
        total = odds.sum()
        chosen.append(int(rng.choice(n, p=odds / total)) if total > 1e-12 else int(rng.integers(n)))
        far = np.minimum(far, 1 - (vectors @ vectors[[chosen[-1]]].T).toarray().ravel())
    centres = vectors[chosen].toarray()
    labels = np.full(n, -1)
    for _ in range(ROUNDS):
        new = np.asarray((vectors @ centres.T).argmax(axis=1))
        if (new == labels).all():
            break
        labels = new
        member = sparse.csr_array((np.ones(n), (labels, np.arange(n))), shape=(many, n))
        sums = (member @ vectors).toarray()
        lengths = np.sqrt((sums**2).sum(axis=1, keepdims=True))
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return centres, labels.astype(np.int64)


def _name(texts: Sequence[str], everything: Sequence[str]) -> str:
    """The three words that the topic's texts have more often than others do."""
    inside = Counter(word for text in texts for word in set(_words(text)) if len(word) > 2)
    overall = Counter(word for text in everything for word in set(_words(text)))
    best = sorted(inside, key=lambda word: (-(inside[word] ** 2) / overall[word], word))[:3]
    return " ".join(best) or "(no words)"
