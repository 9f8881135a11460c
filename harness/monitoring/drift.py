"""Tests of one look, corrected over its features; and bets that go on from look to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from scipy import stats as scipy_stats

from harness.monitoring.betting import Bets, Floats, Ints, Side, ranks
from harness.monitoring.features import EVERY, Feature
from harness.records import DriftTest, StreamState, Watched

FEWEST: Final = 20
"""Values on either side from which a feature is tested."""
DRAWS: Final = 4999
"""Permutations of a test over categories."""
CHUNK: Final = 4096
_WAYS: Final[dict[Side, Literal["two-sided", "less", "greater"]]] = {
    "both": "two-sided",
    "higher": "less",
    "lower": "greater",
}
"""As scipy names them, which speaks of the distribution functions."""


def tests(features: Sequence[Feature]) -> tuple[DriftTest, ...]:
    """Two-sample tests of the features of drift that have a reference, smallest p-value first.

    Numbers: Kolmogorov and Smirnov's on the feature's side (scipy's `ks_2samp`; conservative for ties). Categories:
    chi-square with its p-value from random permutations, so that rare categories do no harm. Corrected by Holm.
    """
    some = [
        f for f in features if f.watched == "drift" and len(f.reference) >= FEWEST and len(f.values) >= FEWEST
    ]  # fmt: skip
    found = [(feature, *_tested(feature)) for feature in some]
    corrected = holm([p for _, _, p in found])
    made = [_test(feature, statistic, p, q) for (feature, statistic, p), q in zip(found, corrected, strict=True)]
    return tuple(sorted(made, key=lambda test: (test.p, test.feature)))


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected for all of them together (Holm, 1979, Scandinavian Journal of Statistics 6, 65-70)."""
    order = np.argsort(values, kind="stable")
    steps = [min(1.0, (len(values) - rank) * values[at]) for rank, at in enumerate(order)]
    corrected = [0.0] * len(values)
    for at, value in zip(order, np.maximum.accumulate(steps) if steps else (), strict=True):
        corrected[at] = float(value)
    return corrected


def _tested(feature: Feature) -> tuple[float, float]:
    if feature.edges is not None:
        found = scipy_stats.ks_2samp(feature.values, feature.reference, alternative=_WAYS[feature.side])
        return float(found.statistic), float(found.pvalue)
    now, before = (np.bincount(v.astype(np.int64), minlength=feature.size) for v in (feature.values, feature.reference))
    return permuted_chi2(now, before)


def permuted_chi2(now: Ints, before: Ints) -> tuple[float, float]:
    """Chi-square of two rows of counts (K,), and its permutation p-value given both margins."""
    whole = now + before
    whole, now = whole[whole > 0], now[whole > 0]
    expected = whole * now.sum() / whole.sum()
    other = whole - expected

    def chi2(first: Floats | Ints) -> Floats:
        off = (first - expected) ** 2
        return np.asarray((off / np.maximum(expected, 1e-12) + off / np.maximum(other, 1e-12)).sum(axis=-1))

    observed = float(chi2(now))
    drawn = np.random.default_rng(0).multivariate_hypergeometric(whole, int(now.sum()), DRAWS, method="marginals")
    return observed, float((1 + (chi2(drawn) >= observed * (1 - 1e-9)).sum()) / (1 + DRAWS))


def _test(feature: Feature, statistic: float, p: float, corrected: float) -> DriftTest:
    numeric = feature.edges is not None
    return DriftTest(
        feature=feature.name,
        test="kolmogorov-smirnov" if numeric else "permutation-chi2",
        statistic=statistic,
        p=p,
        p_corrected=corrected,
        n=len(feature.values),
        n_reference=len(feature.reference),
        median=float(np.median(feature.values)) if numeric else None,
        median_reference=float(np.median(feature.reference)) if numeric else None,
        moved=() if numeric else _moved(feature),
    )


def _moved(feature: Feature) -> tuple[str, ...]:
    """The three categories whose share changed most."""
    now, before = (
        np.bincount(v.astype(np.int64), minlength=feature.size) / len(v) for v in (feature.values, feature.reference)
    )
    order = np.argsort(-np.abs(now - before), kind="stable")[:3]
    return tuple(f"{feature.categories[i]}: {before[i]:.1%} to {now[i]:.1%}" for i in order if now[i] != before[i])


# --------------------------------------------------------------------- over all looks


def bet_on(feature: Feature, before: StreamState | None, seed: int) -> StreamState:
    """The bets on one feature after this look's values. before: None at first. seed: of the random ties."""
    if before is None:
        counts = np.bincount(feature.bins(feature.reference), minlength=feature.size).astype(np.int64)
        bets, seen, held = Bets.new(feature.side), 0, len(feature.reference)
    else:
        counts, seen, held = np.array(before.counts, np.int64), before.seen, before.n_reference
        bets = Bets(feature.side, np.array(before.capital), np.array(before.histogram), np.array(before.log_e_most))
    rng, bins = np.random.default_rng(seed), feature.bins(feature.values)
    for start in range(0, len(bins), CHUNK):
        part = bins[start : start + CHUNK]
        p, counts = ranks(counts, part, rng.random(len(part)))
        bets, _ = bets.after(p)
    return _state(feature.name, counts, held, seen + len(bins), bets)


def restarted(feature: Feature) -> StreamState:
    """Bets that begin anew, with this look's values as the reference."""
    counts = np.bincount(feature.bins(feature.values), minlength=feature.size).astype(np.int64)
    return _state(feature.name, counts, len(feature.values), 0, Bets.new(feature.side))


def _state(name: str, counts: Ints, held: int, seen: int, bets: Bets) -> StreamState:
    return StreamState(
        feature=name,
        watched=EVERY[name][0],
        counts=tuple(counts.tolist()),
        n_reference=held,
        seen=seen,
        capital=tuple(bets.capital.tolist()),
        histogram=tuple(bets.histogram.tolist()),
        log_e=float(bets.log_e),
        log_e_most=float(bets.most),
    )


def evidence(streams: Sequence[StreamState], before: Mapping[Watched, float]) -> dict[Watched, float]:
    """Logarithm of each alarm's capital: the mean over all its features, 1 for one not seen yet; the most so far.

    A mean of martingales is one, however they depend on each other: so many features need no other correction.
    """
    known = {stream.feature: np.float64(stream.log_e) for stream in streams}
    kinds: tuple[Watched, ...] = ("drift", "quality")
    return {kind: max(float(mean_capital(kind, known)), before.get(kind, 0.0)) for kind in kinds}


def mean_capital(kind: Watched, known: Mapping[str, Floats | np.float64]) -> Floats:
    """Logarithm of the mean capital of an alarm's features; known: logarithms by feature, of any one shape."""
    names = [name for name, (watched, _) in EVERY.items() if watched == kind]
    idle = np.zeros(np.shape(next(iter(known.values()), 0.0)))
    return np.asarray(np.logaddexp.reduce([known.get(name, idle) for name in names], axis=0) - np.log(len(names)))
