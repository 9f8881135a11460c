"""Parity with training and forgetting are told wherever a verdict is."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_store

from harness import caveats, evidence, leaderboard, report
from harness.cli import show
from harness.records import (
    AdapterParity,
    ForgettingRecord,
    Forgotten,
    Interval,
    ParityRecord,
    VerdictRecord,
)
from harness.store import ExperimentStore, Store

ADAPTER = "0e" * 32


def interval(value: float, n: int) -> Interval:
    return Interval(value=value, low=value - 0.01, high=value + 0.01, confidence=0.95, n=n, method="t+bca")


def proven(store: Store, row: AdapterParity) -> ExperimentStore:
    """The sample experiment with two seeds, as if both had been measured in it."""
    folder = store.find("tickets")
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    parity = ParityRecord(engine="vllm 0.32.0, float32 on cpu", adapters=(row,))
    told = verdict.model_copy(update={"parity": parity})
    (folder.path / "verdict.json").write_text(told.model_dump_json(indent=2))
    folder.write(parity)
    one = Forgotten(
        candidate="tuned-seed0", adapter=ADAPTER, text=interval(0.0312, 61), base_text=0.8125, kl=interval(0.2468, 30)
    )
    folder.write(ForgettingRecord(texts="ab", adapters=(one,)))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return sample_store.build(tmp_path)


def row(**values: object) -> AdapterParity:
    return AdapterParity(candidate="tuned-seed0", adapter=ADAPTER).model_copy(update=values)


def test_report_show_and_leaderboard_tell_both_numbers(store: Store) -> None:
    folder = proven(store, row(prompts=8, tokens=149, base=1.2e-5, tuned=1.4e-5, worst="JSON", tolerance=1e-3))
    told = dict(evidence.standing(evidence.gather(folder)))
    assert told["parity with training"] == (
        "tuned-seed0: fixed texts differ by up to 1.2e-05 (base) and 1.4e-05 (adapter) nats per token between training "
        "and vllm 0.32.0, float32 on cpu, over 8 prompts and 149 tokens, at most 0.001 is allowed"
    )
    report.write_reports(folder)
    for name in ("report.md", "report.html"):
        text = (folder.path / name).read_text(encoding="utf-8")
        assert "+0.0312 nats per byte [+0.0212, +0.0412], from 0.8125 under the base model" in text
        assert "0.2468 nats per token [0.2368, 0.2568] (95 % interval, n = 30, t+bca)" in text
    rows = leaderboard.contestant_rows(folder).set_index("candidate")
    measured = ["text_lost", "text_lost_n", "kl", "kl_high"]
    assert rows.loc["tuned-seed0", measured].tolist() == [0.0312, 61, 0.2468, 0.2568]
    assert rows.loc["base", ["text_lost", "kl"]].isna().all()
    assert show.document(folder)["forgetting"]["adapters"][0]["kl"]["value"] == 0.2468
    assert show.document(folder)["verdict"]["parity"]["adapters"][0]["tuned"] == 1.4e-5


def test_a_parity_that_binds_nothing_is_a_caveat_with_its_reason(store: Store) -> None:
    folder = proven(store, row(reason="no probe was scored when it was trained"))
    told = dict(evidence.standing(evidence.gather(folder)))
    assert told["parity with training"] == "tuned-seed0: not compared: no probe was scored when it was trained"
    runs = [run for run in folder.runs() if run.split == "test"]
    warned = "tuned-seed0: not shown to be served as it was trained: no probe was scored when it was trained."
    assert warned in caveats.caveats(runs, folder, (0, 1))
