"""The meter of a sitting: what was taken is kept, and a budget that is spent stops cleanly and goes on."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import sample_store
from sample_records import training_record
from scripted import Scripted, text
from test_evaluate import candidate, parity, suite
from test_money import priced

from harness import evidence as ev
from harness import money
from harness.engines.base import Answer, Request
from harness.errors import BudgetError
from harness.evaluate import evaluate
from harness.leaderboard.costs import cost_told
from harness.money import metering
from harness.progress import Silent
from harness.records import ManagedJob, SpendingRecord
from harness.store import ExperimentStore, Store


@pytest.fixture(autouse=True)
def _clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the time that is written here is spent, however slow this machine is."""
    monkeypatch.setattr(metering, "time", SimpleNamespace(monotonic=lambda: 1000.0))


def folder_of(tmp_path: Path) -> ExperimentStore:
    return Store(tmp_path).create("x--1", "name: x\n")


def test_a_spent_budget_stops_an_evaluation_and_a_higher_one_goes_on_without_asking_again(tmp_path: Path) -> None:
    folder, engine = folder_of(tmp_path), Scripted(parity)
    used = SpendingRecord(stage="baseline", seconds=3600.0, created="2026-01-01T00:00:00+00:00")
    folder.spend(used)
    with (
        pytest.raises(BudgetError, match=r"budget\.max_hours: 1 of 1 hours are spent, in the stage 'start'") as fault,
        money.Meter(folder, priced(max_hours=1.0), Silent()) as meter,
    ):
        evaluate(candidate(), suite(), engine, folder, meter)
    assert fault.value.exit_code == 1
    assert folder.runs() == []
    asked = engine.calls
    assert 1 <= asked < 20
    assert len(folder.samples("base--task--test")) == 1  # what was answered is safe before the budget is looked at
    with money.Meter(folder, priced(max_hours=2.0), Silent()) as meter:
        run = evaluate(candidate(), suite(), engine, folder, meter)
    assert (run.n, engine.calls - asked) == (20, 19)
    assert run.machine_s is None  # a part of it came from an earlier sitting


def test_no_stage_begins_on_a_spent_budget(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.spend(SpendingRecord(stage="baseline", seconds=7200.0, created="2026-01-01T00:00:00+00:00"))
    with (
        pytest.raises(BudgetError, match=r"max_cost: 8\.00 of 5 USD are spent, at the high end"),
        money.Meter(folder, priced(machine=(2.0, 4.0), max_cost=5.0), Silent()) as meter,
    ):
        meter.stage("training")


def test_every_sitting_is_counted_by_stage_whatever_ends_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt), money.Meter(folder, priced(machine=1.0), Silent()) as meter:
            meter.stage("training")
            meter.tokens(10, 1)
            raise KeyboardInterrupt
    lines = folder.spent()
    assert [(line.stage, line.tokens_in) for line in lines if line.tokens_in] == [("training", 10)] * 2
    assert [line.prices is not None for line in lines].count(True) == 1  # the same prices are not told twice


def test_a_server_elsewhere_is_paid_by_the_token_and_this_machine_by_the_hour(tmp_path: Path) -> None:
    folder, prices = folder_of(tmp_path), priced(input=(1.0, 2.0), output=4.0)
    remote = Scripted(lambda request: replace(text("0"), tokens_in=1000, tokens_out=500))
    remote.conditions = remote.conditions.model_copy(update={"engine": "openai"})
    with money.Meter(folder, prices, Silent()) as meter:
        evaluate(candidate(), suite(), meter.engine(remote), folder, meter)
        local = Scripted(parity)
        assert meter.engine(local) is local
    cost = money.whole(money.spent(folder.spent(), prices))
    assert cost is not None
    assert (cost.low, cost.high) == (pytest.approx(0.02 + 0.04), pytest.approx(0.04 + 0.04))
    assert money.whole(money.spent(folder.spent(), priced(machine=1.0))) is None  # its tokens have no price then


def test_what_a_service_asked_for_its_training_counts(tmp_path: Path) -> None:
    promoted = ev.gather(sample_store.build(tmp_path / "store").find("tickets-lora"))
    folder, prices = folder_of(tmp_path), priced(machine=1.0, max_cost=5.0)
    job = ManagedJob(service="openai", job="j", base="m", files=(), cost=5.0)
    trained = training_record([0])
    record = trained.model_copy(update={"seeds": (trained.seeds[0].model_copy(update={"managed": job}),)})
    folder.write(record)
    with (
        pytest.raises(BudgetError, match=r"5\.00 of 5 USD are spent"),
        money.Meter(folder, prices, Silent()) as meter,
    ):
        meter.stage("evaluation")
    line = SpendingRecord(stage="training", seconds=3600.0, created="2026-01-01T00:00:00+00:00")
    whole = replace(promoted, training=record, spent=(line,))
    assert money.so_far(whole, prices)[1] == money.Span(6.0, 6.0, 6.0)
    spec = dict(promoted.spec) | {"budget": {"gpu_hour_price": 1.0, "currency": "USD"}}
    assert cost_told(replace(whole, spec=spec))[0] == "60 min, 6.00 USD"
    assert cost_told(replace(whole, spec=spec, spent=()))[1] == ""


def test_fresh_answers_are_timed_and_told_ones_are_not(tmp_path: Path) -> None:
    def slow(request: Request) -> Answer:
        return replace(parity(request), latency_s=0.5)

    class Remembering(Scripted):
        @property
        def hits(self) -> int:
            return self.calls

    run = evaluate(candidate(), suite(), Scripted(slow), folder_of(tmp_path), Silent())
    told = evaluate(candidate(), suite(), Remembering(slow), folder_of(tmp_path / "again"), Silent())
    assert run.machine_s is not None
    assert run.machine_s > 0
    assert told.machine_s is None
    assert run.tokens_in_se == 0.0
