"""Money: the price list, costs that are never invented, break-even, and how all views tell them."""

from __future__ import annotations

import datetime
import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_store
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness import evidence as ev
from harness import leaderboard, money, report
from harness.errors import SpecError
from harness.money import BudgetSpec, Month, resolve, volume_of
from harness.records import Price, PricesRecord, RunRecord, SpendingRecord
from harness.report import months
from harness.store import Store

TODAY = datetime.date(2026, 11, 22)
amounts = st.floats(0.001, 1e4)
costs = st.floats(1e-6, 1.0)


@pytest.fixture(autouse=True)
def _packaged_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_PRICES", raising=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return sample_store.build(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def promoted(store: Store) -> ev.Evidence:
    return ev.gather(store.find("tickets-lora"))


def priced(**named: Any) -> PricesRecord:
    """Prices by name: a number, or both ends."""
    ends = {name: one if isinstance(one, tuple) else (one, one) for name, one in named.items() if name not in PLAIN}
    prices = {name: Price(name=name, low=low, high=high, currency="USD") for name, (low, high) in ends.items()}
    return PricesRecord(**prices, **{name: one for name, one in named.items() if name in PLAIN})


PLAIN = ("months", "retrain_every", "hosting_hours", "volume", "max_cost", "max_hours")


# ------------------------------------------------------------------- price list


def test_every_packaged_price_has_a_day_and_a_source_and_no_name_stands_twice_in_a_kind() -> None:
    path, lines = money.price_list(BudgetSpec(), Path())
    assert path == Path(money.__file__).with_name("prices.yaml")
    assert {line.kind for line in lines} == {"gpu_hour", "input_tokens", "output_tokens"}
    assert all(line.source.startswith("https://") and line.as_of <= TODAY and line.low > 0 for line in lines)


def test_names_of_a_spec_become_dated_prices_in_one_currency() -> None:
    found = resolve(BudgetSpec(machine="h100-80gb", provider="gpt-5.4-nano"), Path(), TODAY)
    assert found.machine is not None
    assert found.machine.low < found.machine.high
    assert found.machine.as_of == "2026-11-09"
    assert found.input is not None
    assert found.output is not None
    assert (found.currency, found.hosting, found.tuned_input) == ("USD", None, None)


def test_an_old_price_is_told_and_a_new_one_is_not() -> None:
    (note,) = resolve(BudgetSpec(machine="t4-16gb"), Path(), TODAY).notes
    assert "t4-16gb is of 2026-05-07" in note
    assert resolve(BudgetSpec(machine="h100-80gb"), Path(), TODAY).notes == ()


def test_a_price_of_a_day_still_to_come_is_told() -> None:
    (note,) = resolve(BudgetSpec(machine="h100-80gb"), Path(), datetime.date(2026, 1, 1)).notes
    assert "a day still to come" in note


def test_a_name_that_is_not_in_the_list_is_refused_with_the_right_one() -> None:
    with pytest.raises(SpecError, match=r"budget\.machine: no gpu_hour price 'h100'.*Known: a100-80gb") as fault:
        resolve(BudgetSpec(machine="h100", provider="nobody"), Path())
    assert len(fault.value.problems) == 3


def test_a_list_of_ones_own_counts_by_the_spec_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "- {name: mine, kind: gpu_hour, low: %s, high: 3, currency: EUR, as_of: 2026-11-01, source: invoice}\n"
    (tmp_path / "spec.yaml").write_text(line % 1)
    (tmp_path / "environment.yaml").write_text(line % 2)
    monkeypatch.setenv("HARNESS_PRICES", str(tmp_path / "environment.yaml"))
    own = resolve(BudgetSpec(machine="mine", prices="spec.yaml"), tmp_path).machine
    elsewhere = resolve(BudgetSpec(machine="mine"), tmp_path).machine
    assert own is not None
    assert elsewhere is not None
    assert (own.low, elsewhere.low, own.currency) == (1, 2, "EUR")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", "is no list of prices"),
        ("- {name: a, kind: gpu_hour}", r"price 1\.low"),
        ("- {name: a, kind: b, low: 1, high: 1, currency: E, as_of: 2026-01-01, source: s}", r"price 1\.kind"),
        ("- {name: a, kind: gpu_hour, low: 2, high: 1, currency: E, as_of: 2026-01-01, source: s}", "above high"),
        ("- {name: a, kind: gpu_hour, low: 1, high: 1, currency: '', as_of: 2026-01-01, source: s}", "currency"),
        ("- {name: a, kind: gpu_hour, low: 1, high: 1, currency: E, as_of: 2026-01-01, source: s}\n" * 2, "two prices"),
        ("- [", "not valid YAML"),
    ],
)
def test_a_broken_price_list_is_refused_with_its_place(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(SpecError, match=told):
        resolve(BudgetSpec(machine="a", prices="p.yaml"), tmp_path)
    with pytest.raises(SpecError, match="cannot read the price list"):
        resolve(BudgetSpec(machine="a", prices="none.yaml"), tmp_path)


def test_two_currencies_are_refused() -> None:
    with pytest.raises(SpecError, match="prices in EUR and USD"):
        resolve(BudgetSpec(machine="h100-80gb", input_price=1, output_price=1, currency="EUR"), Path())


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"machine": "a", "gpu_hour_price": 1}, "both given"),
        ({"input_price": 1}, "go together"),
        ({"max_cost": 1}, "max_cost needs a price"),
        ({"gpu_hour_price": [3, 2]}, "lower end first"),
        ({"gpu_hour_price": -1}, "greater than or equal to 0"),
        ({"max_hours": 0}, "greater than 0"),
    ],
)
def test_a_budget_that_says_nothing_sensible_is_refused(budget: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BudgetSpec.model_validate(budget)


def test_a_known_price_is_written_as_a_number_and_a_range_as_both_ends() -> None:
    budget = BudgetSpec.model_validate({"gpu_hour_price": 2.5, "hosting": [1, 2]})
    dumped = budget.model_dump(mode="json", exclude_none=True)
    assert (dumped["gpu_hour_price"], dumped["hosting"]) == (2.5, [1.0, 2.0])
    assert BudgetSpec.model_validate(dumped) == budget


# ------------------------------------------------------------------------ costs


def test_without_a_price_nothing_is_money_and_nothing_is_zero(promoted: ev.Evidence) -> None:
    for one in money.costs_of(promoted, PricesRecord()):
        assert (one.per_1000, one.training, one.hosting) == (None, None, None)
    assert all(one.value is None and one.told.startswith("not known") for one in money.break_evens(promoted))
    assert money.so_far(promoted, PricesRecord()) == (None, None)


def test_throughput_that_was_not_measured_gives_requests_no_price(promoted: ev.Evidence) -> None:
    told = {one.name: one for one in money.costs_of(promoted, priced(machine=2.0))}
    assert told["base"].per_1000 is None
    assert "throughput was not measured" in told["base"].basis
    assert told["tuned-seed0"].training is not None


def test_requests_cost_their_tokens_or_the_machines_time(promoted: ev.Evidence) -> None:
    run = timed(promoted.runs[0])
    by_token, _ = money.requests(run, priced(input=(1.0, 3.0), output=2.0), tuned=False)
    assert by_token is not None
    assert run.tokens_in is not None
    assert run.tokens_out is not None
    mean_in, mean_out = run.tokens_in / run.n, run.tokens_out / run.n
    assert by_token.value == pytest.approx((mean_in * 2 + mean_out * 2) / 1000)
    assert (by_token.low, by_token.high) == (
        pytest.approx((mean_in + mean_out * 2) / 1000), pytest.approx((mean_in * 3 + mean_out * 2) / 1000),
    )  # fmt: skip
    by_hour, basis = money.requests(run, priced(machine=3.6), tuned=False)
    assert by_hour is not None
    assert by_hour.value == pytest.approx(1000 * 0.5 * 3.6 / 3600)
    assert "throughput measured" in basis


@given(
    hour=st.floats(0, 1e3), read=st.floats(0, 1e3), written=st.floats(0, 1e3), width=st.floats(0, 10),
    tokens=st.floats(0, 1e6), error=st.floats(0, 1e4), seconds=st.none() | st.floats(0, 1e5),
)  # fmt: skip
def test_no_cost_is_negative_and_every_range_holds_its_middle(
    promoted: ev.Evidence,
    hour: float,
    read: float,
    written: float,
    width: float,
    tokens: float,
    error: float,
    seconds: float | None,
) -> None:
    update = {"tokens_in": int(tokens), "tokens_out": int(tokens), "tokens_in_se": error, "machine_s": seconds}
    run = promoted.runs[0].model_copy(update=update)
    by_token, _ = money.requests(run, priced(input=(read, read + width), output=written), tuned=False)
    by_hour, _ = money.requests(run, priced(machine=(hour, hour + width)), tuned=False)
    assert (by_hour is None) is (not seconds)  # not measured is not known, and never 0
    for span in (by_token, by_hour):
        assert span is None or 0 <= span.low <= span.value * (1 + 1e-9) <= span.high * (1 + 2e-9)


def timed(run: RunRecord) -> RunRecord:
    """Half a second of the machine for each answer."""
    return run.model_copy(update={"machine_s": run.n * 0.5})


def test_uncertain_token_counts_widen_the_range(promoted: ev.Evidence) -> None:
    run = promoted.runs[0].model_copy(update={"tokens_in_se": 0.5})
    known, _ = money.requests(run, priced(input=2.0, output=2.0), tuned=False)
    assert known is not None
    assert (known.high - known.low) == pytest.approx(2 * 1.959964 * 0.5 * 2 / 1000)


# ------------------------------------------------------------------- break-even


@given(fixed=amounts, tuned=costs, prompt=costs, dearer=st.floats(1.0, 5.0))
def test_a_dearer_training_never_pays_sooner_and_a_dearer_prompt_never_later(
    fixed: float, tuned: float, prompt: float, dearer: float
) -> None:
    volume = volume_of(Month(fixed, tuned), Month(0, prompt))
    later = volume_of(Month(fixed * dearer, tuned), Month(0, prompt))
    sooner = volume_of(Month(fixed, tuned), Month(0, prompt * dearer))
    assert (volume is None) is (prompt <= tuned)
    if volume is not None and later is not None and sooner is not None:
        assert sooner <= volume <= later


@given(fixed=amounts, server=amounts, prompt=costs, capacity=st.floats(10.0, 1e6), more=st.floats(1.001, 20.0))
def test_above_break_even_the_tuned_model_is_cheaper_however_many_servers_it_takes(
    fixed: float, server: float, prompt: float, capacity: float, more: float
) -> None:
    own, other = Month(fixed, 0.0, server, capacity), Month(0.0, prompt)
    volume = volume_of(own, other)
    if volume is None:
        assert capacity * prompt <= server
    else:
        assert own.at(volume * more) <= other.at(volume * more) * (1 + 1e-9)
        below = volume * (1 - 1e-6)
        assert own.at(below) >= other.at(below) * (1 - 1e-5)


def test_at_once_and_never_are_said_in_words() -> None:
    assert volume_of(Month(0, 0.1), Month(0, 0.2)) == 0
    assert money.BreakEven("a", 0.0, 0.0, 0.0).told.startswith("at once")
    assert volume_of(Month(0, 0.2), Month(0, 0.2)) is None
    assert money.BreakEven("a", None, None, None).told.startswith("never")
    assert money.BreakEven("a", None, 8100.0, None).told.startswith("never at the middle of the prices; from 8,100")
    assert money.BreakEven("a", 12345.0, 8123.4, None).told == "about 12,300 requests a month [8,120 to never]"


def test_break_even_is_the_training_over_what_a_request_saves(promoted: ev.Evidence) -> None:
    prices = priced(machine=36.0, input=2.0, output=2.0, tuned_input=1.0, tuned_output=1.0)
    found = next(one for one in money.break_evens(promoted, prices) if one.candidate == "tuned-seed0")
    costs_ = {one.name: one for one in money.costs_of(promoted, prices)}
    saved = costs_["best_prompt"].per_1000.value - costs_["tuned-seed0"].per_1000.value  # type: ignore[union-attr]
    trained = costs_["tuned-seed0"].training.value  # type: ignore[union-attr]
    assert trained == pytest.approx(95 * 36 / 3600)
    assert found.value == pytest.approx(trained / 12 / (saved / 1000))
    assert (found.low, found.high) == (pytest.approx(found.value), pytest.approx(found.value))
    again = money.break_evens(promoted, prices.model_copy(update={"retrain_every": 3.0}))[0]
    assert again.value == pytest.approx(4 * (found.value or 0))


@given(low=st.floats(0.1, 10), width=st.floats(0, 10), wider=st.floats(0, 10))
def test_a_wider_price_gives_a_wider_range_and_the_middle_lies_in_it(
    promoted: ev.Evidence, low: float, width: float, wider: float
) -> None:
    tokens = {"input": 2.0, "output": 2.0, "tuned_input": 1.0, "tuned_output": 1.0}
    found = [money.break_evens(promoted, priced(machine=(low, low + w), **tokens))[0] for w in (width, width + wider)]
    for one in found:
        assert one.low is not None
        assert one.high is not None
        assert one.value is not None
        assert 0 <= one.low <= one.value * (1 + 1e-9)
        assert one.value <= one.high * (1 + 1e-9)
    assert (found[1].low or 0) <= (found[0].low or 0) * (1 + 1e-9)
    assert (found[0].high or 0) <= (found[1].high or 0) * (1 + 1e-9)


def test_a_price_that_both_pay_moves_for_both_at_once(promoted: ev.Evidence) -> None:
    """The same tokens at the same uncertain price: nothing is ever saved, so the answer is never, at every price."""
    found = money.break_evens(promoted, priced(machine=1.0, input=(1.0, 9.0), output=(1.0, 9.0)))
    same = {one.name: (one.tokens_in, one.tokens_out) for one in ev.contestants(promoted)}
    assert same["tuned-seed0"] == same["best_prompt"]
    assert found[0].told.startswith("never: ")


def test_a_server_of_its_own_is_paid_by_the_month(promoted: ev.Evidence) -> None:
    prices = priced(machine=1.0, input=2.0, output=2.0, hosting=1.0)
    one = next(one for one in money.costs_of(promoted, prices) if one.name == "tuned-seed0")
    assert one.hosting is not None
    assert one.hosting.value == pytest.approx(730)
    assert one.per_1000 is not None
    assert one.per_1000.value == 0
    (first, *_) = money.break_evens(promoted, prices)
    assert first.value is not None
    assert first.value > 730 / (100 * 2e-6)


def test_the_curves_cross_at_the_break_even(promoted: ev.Evidence) -> None:
    prices = priced(machine=36.0, input=2.0, output=2.0, tuned_input=1.0, tuned_output=1.0)
    tuned = next(one for one in ev.contestants(promoted) if one.name == "tuned-seed0")
    pays, points = money.break_even(promoted, tuned, prices), money.monthly(promoted, tuned, prices)
    cost = {(one.candidate, one.volume): one.cost.value for one in points}
    for (name, volume), own in cost.items():
        if name == "tuned-seed0" and pays.value is not None and abs(volume - pays.value) > 1e-6:
            assert (own < cost["best_prompt", volume]) is (volume > pays.value)


# ------------------------------------------------------------------------- docs


def test_the_worked_example_of_the_documentation_is_what_the_code_computes(promoted: ev.Evidence) -> None:
    page = " ".join((Path(__file__).parents[1] / "docs" / "money.md").read_text(encoding="utf-8").split())
    example = as_in_the_docs(promoted)
    base = priced(machine=(2.0, 4.0), input=0.20, output=1.25)
    hosted, again = priced(machine=3.0, input=0.20, output=1.25, hosting=0.82), {"retrain_every": 3.0}
    told = [one.told for prices in (base, hosted, base.model_copy(update=again)) for one in pays(example, prices)]
    known = {one.name: one for one in money.costs_of(example, base)}
    told += [money.money(known["tuned-seed0"].training, "USD"), money.money(known["best_prompt"].per_1000, "USD")]
    told += [money.money(known["tuned-seed0"].per_1000, "USD")]
    assert [one for one in told if one not in page] == []
    assert len(told) == 6


def pays(evidence: ev.Evidence, prices: PricesRecord) -> list[money.BreakEven]:
    return [one for one in money.break_evens(evidence, prices) if one.candidate == "tuned-seed0"]


def as_in_the_docs(evidence: ev.Evidence) -> ev.Evidence:
    """The same experiment with two hours of training and the example's tokens a request."""
    tokens = {"best_prompt": (600, 10), "tuned-seed0": (50, 10)}
    runs = tuple(
        run.model_copy(update={"tokens_in": read * run.n, "tokens_out": written * run.n})
        for run in evidence.runs
        if run.suite == "task" and run.candidate.name in tokens
        for read, written in (tokens[run.candidate.name],)
    )
    assert evidence.training is not None
    seeds = tuple(one.model_copy(update={"seconds": 7200.0}) for one in evidence.training.seeds)
    return replace(evidence, runs=runs, training=evidence.training.model_copy(update={"seeds": seeds}))


def test_every_key_of_the_budget_is_documented_and_the_one_shown_is_valid() -> None:
    page = (Path(__file__).parents[1] / "docs" / "money.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    assert BudgetSpec.model_validate(shown["budget"]).hosting == "rtx-a6000-48gb"
    rows = [line for line in page.split("\n") if line.startswith("| `")]
    assert [name for name in BudgetSpec.model_fields if not any(f"`{name}`" in row for row in rows)] == []


# ------------------------------------------------------------------------ views


def test_reports_and_frames_tell_the_same_money(tmp_path: Path) -> None:
    folder = sample_store.build(tmp_path / "store").find("tickets-lora")
    bare = {path.name: path.read_text() for path in report.write_reports(folder)}
    assert "1,000 requests" not in bare["report.md"] + bare["report.html"]
    assert leaderboard.money_monthly(folder).empty
    budget = BudgetSpec(machine="t4-16gb", provider="gpt-5.4-nano", tuned_provider="together-qwen3.5-9b", volume=9000)
    assert money.pin(folder, resolve(budget, Path(), TODAY))
    assert not money.pin(folder, resolve(budget, Path(), TODAY))
    folder.spend(SpendingRecord(stage="training", seconds=1800.0, created="2026-01-01T00:00:00+00:00"))
    told = {path.name: path.read_text() for path in report.write_reports(folder)}
    (pays_,) = [one for one in money.break_evens(ev.gather(folder)) if one.candidate == "tuned-seed0"]
    assert pays_.value
    for name in ("report.md", "report.html"):
        assert pays_.told in html.unescape(told[name])
        assert "training | 30 min" in told[name] or ">30 min<" in told[name]
        assert "t4-16gb is of 2026-05-07" in told[name]
    assert f"break-even {pays_.told}" in html.unescape(told["report.html"])
    rows = leaderboard.money_rows(folder).set_index("candidate")
    assert rows.loc["tuned-seed0", "cheaper than the best prompt"] == pays_.told
    curve = leaderboard.money_monthly(folder)
    assert set(curve["candidate"]) == {"best_prompt", "tuned-seed0"}
    assert curve["pays"].iloc[0] == pays_.value
    assert "30 min" in leaderboard.summary(folder)["cost"]
    assert pays_.told in leaderboard.summary(folder)["cost_told"]
    assert {path.name: path.read_text() for path in report.write_reports(folder)} == told


def test_the_axis_of_the_curve_is_round_for_any_size() -> None:
    for most in (1e-6, 0.07, 3.0, 99.0, 12_345.0, 4e9, 7e13):
        at = months.steps(most)
        assert at[0] == 0
        assert at[-1] <= most
        assert 3 <= len(at) <= 7
