"""The ledger of looks at test splits."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.gates.policy import PolicySpec, level_at
from harness.records import LookRecord, digest
from harness.store import Looks

SPLIT = [digest(["question", i]) for i in range(300)]


def take(
    ledger: Looks, who: str, questions: list[str] = SPLIT, policy: PolicySpec | None = None, test: str = "test"
) -> LookRecord:
    policy = policy or PolicySpec()
    return ledger.take(
        "task", questions, who, test, candidate=who, experiment="e", alpha=policy.alpha, budget=policy.looks,
        spending=policy.spending, level=partial(level_at, policy),
    )  # fmt: skip


def test_each_distinct_candidate_is_one_look(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    assert [take(ledger, who).number for who in ("a", "b", "a", "c")] == [1, 2, 1, 3]
    assert take(ledger, "b") == ledger.all()[1]


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    take(ledger, "a")
    assert take(ledger, "b", SPLIT[::-1]).number == 2


@pytest.mark.parametrize(
    "same",
    [
        SPLIT[5:],
        [*SPLIT, *(digest(i) for i in range(60))],
        SPLIT[:200],
        SPLIT[:24],
        SPLIT + [digest(i) for i in range(2000)],
    ],
)
def test_some_rows_more_or_less_do_not_make_another_split(tmp_path: Path, same: list[str]) -> None:
    ledger = Looks(tmp_path)
    take(ledger, "a")
    assert take(ledger, "b", same).number == 2


def test_rows_exchanged_step_by_step_stay_one_split(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    fresh = [digest(["fresh", i]) for i in range(900)]
    steps = [(SPLIT + fresh)[100 * step : 100 * step + 300] for step in range(10)]
    assert [take(ledger, str(i), step).number for i, step in enumerate(steps)] == list(range(1, 11))


def test_another_test_of_the_same_candidate_is_another_look(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    assert [take(ledger, "a", test=test).number for test in ("x", "y", "x", "z")] == [1, 2, 1, 3]


def test_a_look_taken_under_a_loose_policy_is_no_looser_under_a_strict_one(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    assert take(ledger, "a", policy=PolicySpec(alpha=0.3)).level == pytest.approx(0.15)
    again = take(ledger, "a", policy=PolicySpec(alpha=0.01))
    assert (again.number, again.alpha, again.level) == (1, 0.01, pytest.approx(0.005))
    assert take(ledger, "b", policy=PolicySpec(alpha=0.01)).level == 0.0
    assert take(ledger, "a", policy=PolicySpec(alpha=0.3)).level == pytest.approx(0.15)


def test_a_level_too_small_for_any_sample_is_none(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    levels = [take(ledger, str(i), policy=PolicySpec(looks=100)).level for i in range(60)]
    assert levels[0] == pytest.approx(0.025)
    assert all(level == 0 or level >= 1e-9 for level in levels)
    assert levels[-1] == 0


def test_an_edited_ledger_that_gives_alpha_back_is_refused(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    take(ledger, "a")
    ledger.path.write_text(ledger.path.read_text().replace('"level":0.025', '"level":-1.0'))
    with pytest.raises(StoreError, match="not a LookRecord"):
        take(ledger, "b")


def test_other_questions_are_another_split(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    take(ledger, "a")
    assert take(ledger, "b", SPLIT[:60] + [digest(i) for i in range(240)]).number == 1


def test_large_splits_are_told_apart_by_their_sketch(tmp_path: Path) -> None:
    large = [digest(["large", i]) for i in range(9000)]
    ledger = Looks(tmp_path)
    take(ledger, "a", large)
    assert take(ledger, "b", large[500:]).number == 2
    assert take(ledger, "c", large[:1000] + [digest(["new", i]) for i in range(8000)]).number == 1


def test_halving_spends_half_of_what_is_left_and_nothing_beyond_the_budget(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    levels = [take(ledger, str(i), policy=PolicySpec(looks=3)).level for i in range(4)]
    assert levels == pytest.approx([0.025, 0.0125, 0.00625, 0.0])


@pytest.mark.parametrize("policy", [PolicySpec(looks=20), PolicySpec(looks=20, spending="even"), PolicySpec(looks=1)])
def test_all_looks_together_never_spend_more_than_alpha(tmp_path: Path, policy: PolicySpec) -> None:
    ledger = Looks(tmp_path)
    spent = sum(take(ledger, str(i), policy=policy).level for i in range(25))
    assert 0.5 * policy.alpha <= spent <= policy.alpha + 1e-12


def test_a_larger_budget_declared_later_gives_nothing_back(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    even = PolicySpec(looks=1, spending="even")
    assert take(ledger, "a", policy=even).level == pytest.approx(0.05)
    assert take(ledger, "b", policy=PolicySpec(looks=10, spending="even")).level == 0.0


def test_a_torn_last_line_is_no_look_and_a_damaged_one_stops(tmp_path: Path) -> None:
    ledger = Looks(tmp_path)
    take(ledger, "a")
    with ledger.path.open("a") as stream:
        stream.write('{"suite": "ta')
    assert take(ledger, "b").number == 2
    ledger.path.write_text("{}\n" + ledger.path.read_text())
    with pytest.raises(StoreError, match="not a LookRecord"):
        take(ledger, "c")


def _take_ten(root: str, who: int) -> None:
    for i in range(10):
        take(Looks(Path(root)), f"{who}-{i}", policy=PolicySpec(looks=100, spending="even"))


def test_processes_that_look_at_once_are_all_counted(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(_take_ten, [(str(tmp_path), who) for who in range(3)])
    assert sorted(look.number for look in Looks(tmp_path).all()) == list(range(1, 31))
