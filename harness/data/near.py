"""Near copies among millions of short texts: MinHash signatures, banded buckets, exact Jaccard for what remains.

Signatures come from rensa. Two texts whose character 3-grams have Jaccard similarity s share one of the 20 bands of
4 with probability 1 - (1 - s^4)^20: 0.998 at 0.73, 0.15 at 0.3. Work and memory grow linearly with the rows: within
a bucket each text is compared with its first member and the two before it, never with all.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import rensa
from numpy.typing import NDArray

from harness.data.wording import one_typo_apart

BANDS, ROWS = 20, 4
PERMUTATIONS = BANDS * ROWS
SEED = 7
BATCH = 4096
"""Texts that get their signatures together."""

SLACK = 0.2
"""How far an estimate from signatures may lie below the threshold (four standard errors) and still be looked at."""

LONG, STRICTER = 300, 0.07
"""From this many characters two texts must be this much closer: long prompts share their instructions."""

SHORT = 10
"""Below this many characters only the same words are near: `yes` and `yes yes` say little about each other."""

LOOKED_AT = 5
"""Earlier texts that a text is compared with letter by letter, the likeliest ones."""

CHUNK = 65536
"""Pairs whose signatures are held in memory together."""

BACK = 2
"""Members before it in a bucket that a text is compared with, beside the first."""

PER_BUCKET = 50
"""Evaluation texts of one bucket that a text is compared with."""

U32, U64 = np.uint32, np.uint64


def signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """MinHash signatures of the texts' character 3-grams, one row of PERMUTATIONS a text."""
    if not texts:
        return np.empty((0, PERMUTATIONS), dtype=U32)
    padded = [f" {text} " for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "replace"), dtype=U32).astype(U64)
    lengths = np.fromiter((len(text) for text in padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(lengths)
    grams = _mixed(codes)
    inside = np.ones(len(codes), dtype=bool)
    inside[ends - 1] = inside[ends - 2] = False  # grams that would run into the next text
    offsets = np.concatenate(([0], np.cumsum(lengths - 2))).astype(U64)
    hashes = np.ascontiguousarray(grams[inside[: len(grams)]])
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, PERMUTATIONS, SEED)
    return np.array(matrix.to_rows(), dtype=U32)


def _mixed(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A well-spread 64-bit hash of every three neighbouring code points (splitmix64)."""
    x = (codes[:-2] << U64(42)) ^ (codes[1:-1] << U64(21)) ^ codes[2:]
    x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> U64(31)))


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the character 3-grams of two bare texts; 1.0 when they are the same."""
    if one == other:
        return 1.0
    a, b = _grams(one), _grams(other)
    return len(a & b) / len(a | b)


def _grams(text: str) -> set[str]:
    text = f" {text} "
    return {text[at : at + 3] for at in range(len(text) - 2)}


def closeness(one: str, other: str, threshold: float) -> float | None:
    """Similarity of two bare texts where they are near copies, or None."""
    found = similarity(one, other)
    if min(len(one), len(other)) < SHORT:
        return found if found == 1.0 else None
    needed = min(1.0, threshold + (STRICTER if min(len(one), len(other)) >= LONG else 0.0))
    return found if found >= needed or one_typo_apart(one, other) else None


def _bands(signed: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One 64-bit key a band and text."""
    pairs = np.ascontiguousarray(signed).view(U64).reshape(len(signed), BANDS, ROWS // 2)
    keys = pairs[:, :, 0] * U64(0x9E3779B97F4A7C15) ^ pairs[:, :, 1] * U64(0xC2B2AE3D27D4EB4F)
    return np.asarray(keys ^ (keys >> U64(29)))


def _estimated(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.float64]:
    return np.asarray((one == other).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Match:
    """A text and the evaluation text that it is a near copy of."""

    text: int
    target: int
    similarity: float


class Targets:
    """Evaluation texts, ready to be compared with any number of batches."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self.texts = texts
        self.threshold = threshold
        parts = [signatures(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        self._signed = np.concatenate(parts) if parts else signatures([])
        keys = _bands(self._signed)
        self._order = np.argsort(keys, axis=0, kind="stable")
        self._keys = np.take_along_axis(keys, self._order, axis=0)

    def match(self, signed: NDArray[np.uint32], texts: Sequence[str]) -> Iterator[Match]:
        """The closest target of every text that has one."""
        if not len(self.texts) or not len(texts):
            return
        best: dict[int, Match] = {}
        for at, target in self._candidates(signed):
            found = closeness(texts[at], self.texts[target], self.threshold)
            if found is not None and (at not in best or found > best[at].similarity):
                best[at] = Match(at, target, found)
        yield from (best[at] for at in sorted(best))

    def _candidates(self, signed: NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
        keys = _bands(signed)
        seen = []
        for band in range(BANDS):
            known = self._keys[:, band]
            low = np.searchsorted(known, keys[:, band], side="left")
            counts = np.minimum(np.searchsorted(known, keys[:, band], side="right") - low, PER_BUCKET)
            at = np.repeat(np.arange(len(keys)), counts)
            within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
            seen.append(at * len(self.texts) + self._order[np.repeat(low, counts) + within, band])
        pairs = np.unique(np.concatenate(seen))
        at, target = np.divmod(pairs, len(self.texts))
        likely = _estimated(signed[at], self._signed[target]) >= self.threshold - SLACK
        yield from zip(at[likely].tolist(), target[likely].tolist(), strict=True)


class Neighbours:
    """Texts of one file as they come, kept on disk, and the near copies among them."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._texts: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._signed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._ends = array("Q", [0])

    def add(self, signed: NDArray[np.uint32], texts: Sequence[str]) -> None:
        """Keep a batch; texts are numbered from 0 in the order in which they come."""
        self._signed.write(signed.tobytes())
        for text in texts:
            data = text.encode("utf-8", "replace")
            self._texts.write(data)
            self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def text(self, number: int) -> str:
        """One text."""
        self._texts.seek(self._ends[number])
        return self._texts.read(self._ends[number + 1] - self._ends[number]).decode()

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """(earlier, later, similarity) of near copies, by the later and then the earlier text."""
        if len(self) < 2:
            return
        self._signed.flush()
        signed = np.memmap(self._signed, dtype=U32, mode="r", shape=(len(self), PERMUTATIONS))
        codes = np.unique(np.concatenate([self._likely(signed, band) for band in range(BANDS)]))
        for code in self._closest(signed, codes).tolist():
            later, earlier = divmod(code, len(self))
            close = closeness(self.text(earlier), self.text(later), self.threshold)
            if close is not None:
                yield earlier, later, close

    def _closest(self, signed: NDArray[np.uint32], codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of every later text its LOOKED_AT likeliest pairs: work stays linear where all rows are one template."""
        later, earlier = np.divmod(codes, len(self))
        likely = np.empty(len(codes))
        for at in range(0, len(codes), CHUNK):
            part = slice(at, at + CHUNK)
            likely[part] = _estimated(signed[earlier[part]], signed[later[part]])
        order = np.lexsort((-likely, later))
        starts = np.searchsorted(later[order], later[order], side="left")
        return np.sort(codes[order][np.arange(len(codes)) - starts < LOOKED_AT])

    def _likely(self, signed: NDArray[np.uint32], band: int) -> NDArray[np.int64]:
        """Pairs of one band whose whole signatures agree well enough, coded as later * n + earlier."""
        columns = np.ascontiguousarray(signed[:, band * ROWS : (band + 1) * ROWS]).view(U64)
        keys = columns[:, 0] * U64(0x9E3779B97F4A7C15) ^ columns[:, 1] * U64(0xC2B2AE3D27D4EB4F)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = np.concatenate(([True], keys[1:] != keys[:-1]))
        first = order[np.maximum.accumulate(np.where(new, np.arange(len(keys)), 0))]
        parts = [_linked(first, order)]
        for back in range(1, BACK + 1):
            same = keys[back:] == keys[:-back]
            parts.append(np.stack((order[:-back][same], order[back:][same]), axis=1))
        pairs = np.sort(np.concatenate(parts), axis=1)
        codes = np.unique(pairs[:, 1].astype(np.int64) * len(self) + pairs[:, 0])
        kept = []
        for at in range(0, len(codes), CHUNK):
            later, earlier = np.divmod(codes[at : at + CHUNK], len(self))
            kept.append(codes[at : at + CHUNK][_estimated(signed[earlier], signed[later]) >= self.threshold - SLACK])
        return np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)

    def close(self) -> None:
        """Give the temporary files back."""
        self._texts.close()
        self._signed.close()


def _linked(first: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every text with the first of its bucket."""
    other = first != order
    return np.stack((first[other], order[other]), axis=1)
