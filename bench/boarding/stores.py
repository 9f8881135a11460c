"""Stores of any size, written with the harness's own records.

A dozen experiments are made whole, with every comparison and gate; the others are copies of them under an id, a name
and a verdict of their own. Sample files of copies are hard links, as the same answers to the same questions would be
the same bytes; everything that the leaderboard reads is a file of its own.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from harness import records as r  # noqa: E402
from harness.spec import ExperimentSpec  # noqa: E402
from harness.store import ExperimentStore, Store  # noqa: E402

TEMPLATES, ITEMS, ARMS = 12, 144, 24
"""Experiments made whole; items of a run, seven runs of which are 1,008 samples; prompts that a search tried."""
LAST = "verdict.json"
"""The file that is written last."""
WORDS = ("intents", "tickets", "claims", "orders", "faq", "routing", "billing", "returns", "triage", "search")


def grow(store: Store, templates: Store, size: int) -> None:
    """Copies of the templates until the store has `size` experiments; one that was cut short is made again."""
    made = [whole(one) for one in templates.experiments()]
    shutil.rmtree(store.root / named(size), ignore_errors=True)  # left by a bench that was cut short
    for number in range(size):
        folder = store.root / named(number)
        if not (folder / LAST).exists():
            shutil.rmtree(folder, ignore_errors=True)
            copy(store, *made[number % len(made)], number)


def make_templates(root: Path) -> Store:
    """A dozen experiments, each made as `harness run` leaves it."""
    import sample_records as made
    import sample_store

    store, draw = Store(root), random.Random(0)
    decisions: tuple[r.Decision, ...] = ("promote", "reject", "inconclusive")
    for number, decision in zip(range(TEMPLATES), itertools.cycle(decisions), strict=False):
        base, best = draw.uniform(0.05, 0.3), draw.uniform(0.35, 0.7)
        tuned = {f"tuned-seed{seed}": min(best + draw.uniform(0.0, 0.3), 0.98) for seed in (0, 1)}
        case = sample_store.Case(
            name=f"template-{number}",
            decision=decision,
            reason="As its gates say.",
            task={"base": base, "best_prompt": best, **tuned},
            regression={"base": 0.7, "best_prompt": 0.7, "tuned-seed0": draw.uniform(0.5, 0.8)},
            n=ITEMS,
        )
        folder = sample_store.begin(store, case)
        sample_store.evaluate(folder, case)
        search = made.prompt_record(case.n)
        folder.write(search.model_copy(update={"arms": search.arms * (ARMS // len(search.arms))}))
        folder.write(made.training_record([0, 1]))
        sample_store.judge(folder, case)
    return store


def whole(template: ExperimentStore) -> tuple[ExperimentStore, r.Provenance, r.VerdictRecord]:
    """A template with the records that its copies change."""
    provenance, verdict = template.read(r.Provenance), template.read(r.VerdictRecord)
    assert provenance
    assert verdict
    return template, provenance, verdict


def named(number: int) -> str:
    """The id of a copy."""
    name = f"{WORDS[number % len(WORDS)]}-{number:05d}"
    return f"{name}--{r.digest(name)[:8]}"


def copy(
    store: Store, template: ExperimentStore, provenance: r.Provenance, verdict: r.VerdictRecord, number: int
) -> ExperimentStore:
    """One more experiment, newer than all before it."""
    experiment_id = named(number)
    name = experiment_id.rpartition("--")[0]
    hypothesis = f"Training number {number} beats the best prompt by at least 5 points."
    spec = {"name": name, "hypothesis": hypothesis, "model": provenance.model.name, **REST}
    resolved = ExperimentSpec.model_validate(spec).model_dump(mode="json")
    folder = store.create(experiment_id, yaml.safe_dump(resolved, sort_keys=False))
    for file in template.path.iterdir():
        if file.name not in ("spec.yaml", "provenance.json", "verdict.json", "runs"):
            shutil.copyfile(file, folder.path / file.name)
    for run in (template.path / "runs").iterdir():
        mine = folder.path / "runs" / run.name
        mine.mkdir(parents=True)
        shutil.copyfile(run / "run.json", mine / "run.json")
        os.link(run / "samples.parquet", mine / "samples.parquet")
    own = {"experiment": experiment_id}
    plain = {  # what `write` does, without forcing each file to disk
        "provenance.json": provenance.model_copy(update=own),
        LAST: verdict.model_copy(update=own | {"hypothesis": hypothesis}),
    }
    for name, record in plain.items():
        (folder.path / name).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    stamp = 1_700_000_000 + number
    os.utime(folder.path / "spec.yaml", (stamp, stamp))
    return folder


REST: dict[str, Any] = {
    "data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"},
    "task": {"metric": "exact_match"},
    "train": {"method": "lora", "rank": 16, "epochs": 2, "seeds": [0, 1]},
    "suites": ["regression-core"],
    "gates": [
        {"suite": "task", "metric": "exact_match", "against": "best_prompt", "min_delta": 0.05},
        {"suite": "regression-core", "against": "base", "min_delta": -0.02},
    ],
}
"""The rest of a spec."""
