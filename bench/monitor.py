"""How often monitoring raises a false alarm over 200 days without change, and how soon it raises a right one.

    python bench/monitor.py [--simulations 1000] [--data ../shared/data] [--out bench/monitor.json]

Every simulation draws training questions, the answers of a judged run, and then every day's requests from a pool of
real questions, and bets by the code of `harness monitor`: the same bins, bets and thresholds, day by day.
A change comes after 100 quiet days. Nothing is timed; the same call gives the same figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness import stats
from harness.monitoring import drift, features
from harness.monitoring.betting import Bets, ranks
from harness.monitoring.features import Feature
from harness.monitoring.texts import Space

DAYS, CHANGE = 200, 100
REFERENCE = 300
ALPHA = 0.05
Array = np.ndarray


@dataclass(frozen=True)
class World:
    """What requests are like."""

    foreign: float = 0.0
    """Share of questions from another domain."""
    right: float = 0.9
    """Share of answers that are right."""
    broken: float = 0.0
    """Share of answers in no valid form."""
    failed: float = 0.01
    """Share of calls that fail."""
    labelled: float = 0.2
    """Share of requests with a label."""


@dataclass(frozen=True)
class Pool:
    """Real questions, measured once: of the task, then of the other domain."""

    length: Array
    topic: Array
    novelty: Array
    gold: Array
    foreign: Array
    labels: tuple[str, ...]
    topics: tuple[str, ...]


def read_pool(data: Path) -> Pool:
    """Questions of two domains; the topics are fitted on questions that are never drawn."""
    files = [data / "banking12_intent" / f"{split}.jsonl" for split in ("train", "validation", "test")]
    home = [row for file in files for row in _rows(file)]
    away = _rows(data / "clinc_domain10" / "train.jsonl")
    order = np.random.default_rng(1).permutation(len(home))
    space = Space.fit([home[i][0] for i in order[:500]])
    rows = [home[i] for i in order[500:]] + away
    texts, labels = [text for text, _ in rows], tuple(sorted({gold for _, gold in home}))
    known = {label: at for at, label in enumerate(labels)}
    return Pool(
        length=np.array([len(text) for text in texts], float),
        topic=space.topics(texts).astype(float),
        novelty=space.novelty(texts),
        gold=np.array([known.get(gold, 0) for _, gold in rows]),
        foreign=np.arange(len(rows)) >= len(home) - 500,
        labels=labels,
        topics=space.names,
    )


def _rows(path: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in lines]


def drawn(pool: Pool, world: World, shape: tuple[int, int], rng: np.random.Generator) -> dict[str, Array]:
    """Requests of many simulations at once, (simulations, requests): every feature's values."""
    away = rng.random(shape) < world.foreign
    at = np.where(
        away, rng.choice(np.flatnonzero(pool.foreign), shape), rng.choice(np.flatnonzero(~pool.foreign), shape)
    )
    right, broken, failed = (rng.random(shape) < share for share in (world.right, world.broken, world.failed))
    said = np.where(right, pool.gold[at], rng.integers(len(pool.labels), size=shape))
    label = np.where(broken, len(pool.labels), said)
    sizes = np.array([len(name) for name in pool.labels] + [40], float)
    told = max(1, round(world.labelled * shape[1]))
    return {
        "question_length": pool.length[at],
        "topic": pool.topic[at],
        "novelty": pool.novelty[at],
        "answer_length": sizes[label],
        "answer_label": label.astype(float),
        "error": failed.astype(float),
        "valid": (~broken).astype(float),
        "quality_labels": (said == pool.gold[at])[:, :told].astype(float),
    }


def simulated(pool: Pool, after: World, change: int, per_day: int, many: int, seed: int) -> Array:
    """The day of the first alarm of either kind in each simulation, from 0; DAYS for none."""
    rng = np.random.default_rng(seed)
    made = features_of(pool)
    counts = {}
    for name, values in drawn(pool, World(labelled=1.0), (many, REFERENCE), rng).items():
        bins = made[name].bins(values if name != "error" else values[:, :0])
        counts[name] = (bins[..., None] == np.arange(made[name].size)).sum(axis=1)
    bets = {name: Bets.new(feature.side, (many,)) for name, feature in made.items()}
    first, threshold = np.full(many, DAYS), np.log(2 / ALPHA)
    for day in range(DAYS):
        for name, values in drawn(pool, World() if day < change else after, (many, per_day), rng).items():
            p, counts[name] = ranks(counts[name], made[name].bins(values), rng.random(values.shape))
            bets[name], _ = bets[name].after(p)
        known = {name: bet.log_e for name, bet in bets.items()}
        raised = np.maximum(drift.mean_capital("drift", known), drift.mean_capital("quality", known)) >= threshold
        first[raised & (first == DAYS)] = day
    return first


def features_of(pool: Pool) -> dict[str, Feature]:
    """The features as `harness monitor` has them, without values."""
    edges = {"question_length": features.LENGTHS, "answer_length": features.LENGTHS, "novelty": features.SHARES,
             "error": np.array([0.5]), "valid": np.array([0.5]), "quality_labels": features.SHARES}  # fmt: skip
    names = {"topic": pool.topics, "answer_label": (*pool.labels, "(another answer)")}
    none = np.empty(0)
    return {name: Feature(name, none, none, edges.get(name), names.get(name, ())) for name in (*edges, *names)}


SHIFTS = {
    "10 % of questions from another domain": World(foreign=0.1),
    "25 % of questions from another domain": World(foreign=0.25),
    "all questions from another domain": World(foreign=1.0),
    "5 % of answers in no valid form": World(broken=0.05),
    "5 % of calls fail instead of 1 %": World(failed=0.05),
    "80 % right instead of 90 %, a fifth labelled": World(right=0.8),
    "60 % right instead of 90 %, a fifth labelled": World(right=0.6),
}


def quiet(pool: Pool, per_day: int, simulations: int) -> dict[str, object]:
    """False alarms without any change."""
    first = simulated(pool, World(), DAYS, per_day, simulations, 1000 + per_day)
    share = stats.mean_interval((first < DAYS).astype(float))
    return {"per_day": per_day, "days": DAYS, "simulations": simulations, "false_alarms": share.value,
            "low": share.low, "high": share.high, "allowed": ALPHA}  # fmt: skip


def shifted(pool: Pool, name: str, world: World, per_day: int, simulations: int) -> dict[str, object]:
    """Days from the change to the first alarm of either kind; those before it are counted apart."""
    first = simulated(pool, world, CHANGE, per_day, simulations, 5000)
    late = first[first >= CHANGE]
    waits = np.where(late < DAYS, late - CHANGE + 1.0, np.inf)
    early = int((first < CHANGE).sum())
    return {"change": name, "per_day": per_day, "simulations": simulations, "before_change": early,
            "found": stats.mean_interval(np.isfinite(waits).astype(float)).model_dump(include={"value", "low", "high"}),
            "days_to_alarm": _quantiles(waits)}  # fmt: skip


def _quantiles(waits: Array) -> dict[str, float | None]:
    found = np.quantile(waits, (0.1, 0.5, 0.9), method="higher")
    return {name: float(v) if np.isfinite(v) else None for name, v in zip(("p10", "p50", "p90"), found, strict=True)}


def document(found: dict[str, list[dict[str, Any]]]) -> str:
    """What was found, as two tables."""
    lines = [
        "Simulated with real questions and the bets above: `python bench/monitor.py`, counts in `bench/monitor.json`."
    ]
    lines += ["", "| without change | simulations | any false alarm in 200 days | 95 % interval | allowed |"]
    lines += ["|---|---|---|---|---|"]
    for cell in found["without_change"]:
        interval = f"{cell['low']:.1%} to {cell['high']:.1%}"
        lines.append(f"| {cell['per_day']} requests a day | {cell['simulations']} | {cell['false_alarms']:.1%} "
                     f"| {interval} | {cell['allowed']:.0%} |")  # fmt: skip
    lines += ["", "| change after 100 quiet days, 100 requests a day | simulations | found in 100 days "
              "| days to the alarm: 10 %, median, 90 % |", "|---|---|---|---|"]  # fmt: skip
    for cell in found["with_change"]:
        days = ", ".join("over 100" if day is None else f"{day:.0f}" for day in cell["days_to_alarm"].values())
        lines.append(f"| {cell['change']} | {cell['simulations']} | {cell['found']['value']:.0%} | {days} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--shifted", type=int, default=100)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("bench/monitor.json"))
    parser.add_argument("--write", type=Path, help="the page whose figures are made anew")
    given = parser.parse_args()
    pool = read_pool(given.data / "tasks")
    found: dict[str, list[dict[str, Any]]] = json.loads(given.out.read_text()) if given.out.exists() else {}
    parts: dict[str, list[Callable[[], dict[str, object]]]] = {
        "without_change": [partial(quiet, pool, n, given.simulations) for n in (25, 100)],
        "with_change": [partial(shifted, pool, *change, 100, given.shifted) for change in SHIFTS.items()],
    }
    for name, cells in parts.items():
        if (given.simulations if name == "without_change" else given.shifted) == 0:
            continue  # what an earlier call found stays
        found[name] = []
        for cell in cells:
            found[name].append(cell())
            print(json.dumps(found[name][-1]), flush=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if given.write:
        start, end = "<!-- figures -->\n", "<!-- /figures -->"
        head, _, rest = given.write.read_text(encoding="utf-8").partition(start)
        given.write.write_text(head + start + document(found) + "\n" + end + rest.partition(end)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
