"""A verdict that waits for people, on real parts: inconclusive, then voted on, then judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_experiment
from voting import always_a, vote_on

from harness.models import LocalModel
from harness.records import VerdictRecord
from harness.reviewing import blind_pairs
from harness.store import Store

pytestmark = [pytest.mark.model, pytest.mark.slow]
GATE = {"suite": "task", "metric": "human_win_rate", "against": "base", "min_delta": 0.0}
SIDES = ("tuned-seed0--task--test", "base--task--test")


def test_a_gate_on_votes_waits_for_people_and_is_judged_again_once(tmp_path: Path, small_model: LocalModel) -> None:
    tickets = small_experiment.ROOT / "suites" / "tickets"
    data = {split: str(tickets / f"{split}.jsonl") for split in ("train", "dev", "test")}
    spec = small_experiment.write(
        tmp_path, gates=[GATE], suites=[], prompt=small_experiment.ALONE, forgetting=False,
        data=data | {"limit": {"train": 32, "dev": 8, "test": 40}},
    )  # fmt: skip
    first = small_experiment.run(spec, tmp_path / "reports", HARNESS_VLLM_PYTHON="")
    assert first.returncode == 11, first.stderr
    folder = Store(tmp_path / "reports").find("latest")
    waited = folder.read(VerdictRecord)
    assert waited is not None
    assert "People have voted on 0 pairs" in waited.gates[0].reason
    assert len(blind_pairs(folder, *SIDES)) >= 30
    vote_on(folder, "ann", always_a, 1000, *SIDES)
    again = small_experiment.run(spec, tmp_path / "reports", HARNESS_VLLM_PYTHON="")
    verdict = json.loads(again.stdout)
    (gate,) = verdict["gates"]
    assert gate["comparison"]["difference"]["n"] == len(blind_pairs(folder, *SIDES))
    assert verdict["finalists"][0]["look"] == json.loads(waited.model_dump_json())["finalists"][0]["look"]
    assert (folder.path / "verdicts" / "1.json").exists()
    third = small_experiment.run(spec, tmp_path / "reports", HARNESS_VLLM_PYTHON="")
    assert "has its verdict; nothing to do" in third.stderr
