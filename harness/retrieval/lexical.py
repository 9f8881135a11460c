"""Lexical search: what counts as a word, and BM25 over words (bm25s)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from harness.retrieval.ranking import batches

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana and Han. Each letter stands for a word."""
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words of a text, folded: letter case and compatibility forms do not count. No language is assumed."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Bm25:
    """BM25 in Lucene's form with k1 = 1.5 and b = 0.75 (Robertson and Zaragoza 2009; Kamphuis et al. 2020).

    A text without a shared word scores 0. Words are numbered as they first occur, so sums do not depend on chance.
    """

    floor = 0.0
    """What is found scores above it."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._vocabulary: dict[str, int] = {}
        numbered = [[self._vocabulary.setdefault(w, len(self._vocabulary)) for w in words(text)] for text in texts]
        shape = (len(self._vocabulary), len(texts))
        self._weights = scipy.sparse.csr_array(shape, dtype=np.float64)
        if self._vocabulary:
            index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64", backend="numpy")
            index.index((numbered, self._vocabulary), create_empty_token=False, show_progress=False)
            parts = (index.scores["data"], index.scores["indices"], index.scores["indptr"])
            self._weights = scipy.sparse.csr_array(parts, shape=shape)  # its columns are words: our rows

    def scores(self, texts: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """How well each of the indexed texts answers each of these: one array (indexed,) a text, in order."""
        for batch in batches(texts, self._weights.shape[1]):
            rows = [self._numbered(text) for text in batch]
            bounds = np.cumsum([0, *map(len, rows)])
            columns = np.array([word for row in rows for word in row], dtype=np.int64)
            asked = scipy.sparse.csr_array((np.ones(len(columns)), columns, bounds), (len(rows), len(self._vocabulary)))
            yield from (asked @ self._weights).toarray()

    def _numbered(self, text: str) -> list[int]:
        """A question's words that occur in the indexed texts, as often as they occur in it."""
        return [self._vocabulary[word] for word in words(text) if word in self._vocabulary]
