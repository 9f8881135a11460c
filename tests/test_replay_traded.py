"""Replay against forgetting, several ratios tried: what each gained on dev and forgot for it stands in one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_experiment import ALONE, run, write

from harness.evidence import gather, trade_off
from harness.records import ForgettingRecord, SweepRecord
from harness.store import Store

pytest.importorskip("optuna")

GENERAL = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How many days has a week?", "A week has seven days."),
    ("Name a primary colour.", "Red is a primary colour."),
    ("What do bees make?", "Bees make honey."),
)


@pytest.mark.model
@pytest.mark.slow
def test_a_sweep_over_replay_tells_what_each_trial_gained_and_forgot(tmp_path: Path) -> None:
    spec = write(
        tmp_path / "replay",
        prompt=ALONE,
        train={
            "method": "lora", "rank": 4, "learning_rate": 1e-3, "epochs": 1, "batch_size": 8,
            "select": {"by": "task", "every": 8, "items": 8},
            "replay": {"file": "general.jsonl", "ratio": 0.25},
            "sweep": {"replay.ratio": [0.0, 0.5], "trials": 2, "prune": False},
        },
    )  # fmt: skip
    rows = [{"prompt": asked, "completion": said} for asked, said in GENERAL]
    (spec.parent / "general.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(spec, tmp_path / "reports")
    assert done.returncode in (0, 10, 11), done.stderr
    folder = Store(tmp_path / "reports").find("small")
    sweep, forgetting = folder.read(SweepRecord), folder.read(ForgettingRecord)
    assert sweep is not None
    assert forgetting is not None
    told = trade_off(gather(folder))
    assert {trial.fields["replay.ratio"] for trial, _ in told} == {0.0, 0.5}
    assert all(one.kl.value is not None and one.text.value is not None for _, one in told)
    assert told[0][1].kl.value != told[1][1].kl.value
    for name in ("report.md", "report.html"):
        assert "KL to the base" in (folder.path / name).read_text(encoding="utf-8")
    assert "What was gained and what was forgotten" in (folder.path / "report.html").read_text(encoding="utf-8")
