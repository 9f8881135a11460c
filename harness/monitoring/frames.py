"""What a page on production is drawn from: plain frames of the ledger; what was not measured is missing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from harness.records import Interval, MonitorRecord
from harness.store import Store

LOOK_COLUMNS: Final[dict[str, str]] = {
    "deployment": "whose logs",
    "number": "which look, from 1",
    "created": "when it was looked, UTC",
    "against": "experiment of the reference",
    "since": "first new request, UTC",
    "until": "last request counted so far, UTC",
    "requests": "new requests",
    "broken": "lines that are no request",
    "errors": "share of requests that failed",
    "valid": "share of answers in the task's form",
    "quality": "mean score",
    "quality_low": "lower end of its 95 % interval",
    "quality_high": "upper end",
    "scored_by": "who scored: labels, scores, a judge",
    "p50_s": "median seconds an answer",
    "p95_s": "95th percentile of seconds",
    "p99_s": "99th percentile of seconds",
    "drift": "evidence of drift so far, as a share of the alarm's threshold (log scale)",
    "degraded": "evidence of lost quality so far, likewise",
    "alarms": "alarms raised, by name",
    "causes": "features that carry them",
    "due": "why retraining is due",
    "epoch": "how often a new normal was accepted",
}
"""Columns of `looks`."""


def deployments(store: Store) -> pd.DataFrame:
    """The last look of each deployment, as in `looks`."""
    return looks(store).groupby("deployment", as_index=False, sort=True).tail(1).reset_index(drop=True)


def looks(store: Store, deployment: str | None = None) -> pd.DataFrame:
    """One row a look, in the order in which they were made; see `LOOK_COLUMNS`."""
    return pd.DataFrame([_row(look) for look in _looks(store, deployment)], columns=list(LOOK_COLUMNS))


def streams(store: Store, deployment: str | None = None) -> pd.DataFrame:
    """One row a look and feature: `deployment`, `number`, `created`, `feature`, `watched`, `seen`, `log_e`."""
    columns = ["deployment", "number", "created", "feature", "watched", "seen", "log_e", "log_e_most"]
    rows = [
        (look.deployment, look.number, look.created, s.feature, s.watched, s.seen, s.log_e, s.log_e_most)
        for look in _looks(store, deployment)
        for s in look.streams
    ]
    return pd.DataFrame(rows, columns=columns)


def drift_tests(store: Store, deployment: str | None = None) -> pd.DataFrame:
    """One row a look and test: `deployment`, `number`, and the fields of DriftTest."""
    rows = [
        {"deployment": look.deployment, "number": look.number, **test.model_dump()}
        for look in _looks(store, deployment)
        for test in look.tests
    ]
    return pd.DataFrame(rows)


def volume(store: Store, deployment: str) -> pd.DataFrame:
    """Requests by day (UTC), `day` and `requests`, over all looks."""
    days: dict[str, int] = {}
    for look in _looks(store, deployment):
        for day, requests in look.per_day.items():
            days[day] = days.get(day, 0) + requests
    return pd.DataFrame(sorted(days.items()), columns=["day", "requests"])


def _looks(store: Store, deployment: str | None) -> list[MonitorRecord]:
    return store.monitoring.all() if deployment is None else store.monitoring.deployment(deployment)


def _row(look: MonitorRecord) -> dict[str, Any]:
    def value(interval: Interval | None) -> float:
        return np.nan if interval is None or interval.value is None else interval.value

    def end(given: float | None) -> float:
        return np.nan if given is None else given

    return {
        **{key: getattr(look, key) for key in ("deployment", "number", "created", "against", "since", "until")},
        "requests": look.count.new,
        "broken": look.count.broken,
        "errors": value(look.errors),
        "valid": value(look.valid),
        "quality": value(look.quality),
        "quality_low": end(look.quality.low),
        "quality_high": end(look.quality.high),
        "scored_by": look.scored_by or None,
        **{f"p{q}_s": value(look.latency.get(f"p{q}")) for q in (50, 95, 99)},
        "drift": look.evidence.get("drift", np.nan) / look.threshold,
        "degraded": look.evidence.get("quality", np.nan) / look.threshold,
        "alarms": ", ".join(look.alarms),
        "causes": ", ".join(look.causes),
        "due": ", ".join(look.due),
        "epoch": look.epoch,
    }
