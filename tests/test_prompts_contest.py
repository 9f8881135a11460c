"""Arms against each other: what a paired bound may say, and how often the race finds the best arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.prompts.contest import Contest
from harness.prompts.meter import Arm, Spent
from harness.prompts.standing import paired_bound
from harness.records import Decoding, Item, Message, Prompt, SampleRecord

ITEMS = tuple(Item(id=f"{n}", messages=(Message(role="user", content=f"{n}"),), target="x") for n in range(100))
SCORES = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


def arm(number: int) -> Arm:
    return Arm(Prompt(name=f"arm {number}", instruction=f"{number}"), Decoding(), "rule: made up")


class Drawn:
    """Answers right as often as an arm's true mean says; harder items are harder for all arms."""

    metric = "exact_match"

    def __init__(self, means: Sequence[float], budget: int, rng: np.random.Generator) -> None:
        self.left = budget
        ease = rng.normal(size=len(ITEMS))
        own = rng.normal(size=(len(means), len(ITEMS)))
        # Each is N(0, 1), correlated over arms by 1/2: right below the quantile of the mean.
        place = (ease + own) / math.sqrt(2)
        self.right = {arm(n).key: place[n] < np.quantile(place[n], mean) for n, mean in enumerate(means)}
        self.asked: set[tuple[str, str]] = set()

    def cost(self, arm: Arm, items: Sequence[Item]) -> int:
        return sum((arm.key, item.id) not in self.asked for item in items)

    def ask_together(self, asked: Sequence[tuple[Arm, Sequence[Item]]]) -> list[list[SampleRecord]]:
        return [self._ask(arm, items) for arm, items in asked]

    def _ask(self, arm: Arm, items: Sequence[Item]) -> list[SampleRecord]:
        cost = self.cost(arm, items)
        if cost > self.left:
            raise Spent
        self.left -= cost
        self.asked |= {(arm.key, item.id) for item in items}
        return [self._sample(arm, item) for item in items]

    def _sample(self, arm: Arm, item: Item) -> SampleRecord:
        score = float(self.right[arm.key][int(item.id)])
        return SampleRecord(
            task="t", id=item.id, item_digest="0", question="", target="x", answer="x", scores={self.metric: score}
        )


def halving(drawn: Drawn, arms: Sequence[Arm]) -> Arm:
    """Plain successive halving (Jamieson & Talwalkar 2016, algorithm 1), the winner on the items it met."""
    alive, seen, budget = list(arms), 0, drawn.left
    rounds = math.ceil(math.log2(len(arms)))
    for _ in range(rounds):
        seen = min(len(ITEMS), seen + budget // (len(alive) * rounds))
        means = {
            one.key: np.mean([s.scores["exact_match"] for s in drawn.ask_together([(one, ITEMS[:seen])])[0]])
            for one in alive
        }
        alive = sorted(alive, key=lambda one: -means[one.key])[: math.ceil(len(alive) / 2)]
    return alive[0]


def raced(drawn: Drawn, arms: Sequence[Arm]) -> Arm:
    contest = Contest(drawn, ITEMS)
    contest.heat(arms, drawn.left // 2, 3)
    contest.heat([], drawn.left, 1, to_the_end=True)
    return contest.finish().arm


def test_the_race_finds_the_best_arm_more_often_than_plain_halving_at_the_same_calls() -> None:
    found = {"race": 0, "halving": 0}
    lost = {"race": 0.0, "halving": 0.0}
    arms = [arm(n) for n in range(16)]
    for trial in range(100):
        rng = np.random.default_rng(trial)
        # Most prompts are poor, and those that are not lie close together.
        means = np.concatenate([rng.uniform(0, 0.4, 10), rng.uniform(0.55, 0.75, 6)])[rng.permutation(16)]
        for name, method in (("race", raced), ("halving", halving)):
            drawn = Drawn(means.tolist(), 480, np.random.default_rng(1000 + trial))
            won = float(means[arms.index(method(drawn, arms))])
            assert drawn.left >= 0
            found[name] += won == means.max()
            lost[name] += float(means.max()) - won
    assert found["race"] > found["halving"]
    assert lost["race"] < lost["halving"]


def test_the_race_leaves_enough_for_its_winner_to_meet_every_item() -> None:
    for budget in (100, 140, 300, 900):
        drawn = Drawn([0.3, 0.5, 0.55, 0.6, 0.4], budget, np.random.default_rng(budget))
        won = raced(drawn, [arm(n) for n in range(5)])
        assert drawn.cost(won, ITEMS) == 0


def test_a_clearly_worse_arm_falls_by_a_bound_that_says_so() -> None:
    drawn = Drawn([0.9, 0.1], 400, np.random.default_rng(0))
    contest = Contest(drawn, ITEMS)
    contest.heat([arm(0), arm(1)], 400, 1, to_the_end=True)
    contest.finish()
    fates = {entry.arm.prompt.name: entry.fate for entry in contest.entries.values()}
    assert fates["arm 0"] == "winner"
    assert fates["arm 1"].startswith("fell in round ")
    assert " % of arm 0 on " in fates["arm 1"]
    assert fates["arm 1"].endswith("points")


@settings(deadline=None)
@given(SCORES)
def test_a_bound_holds_zero_for_differences_and_their_mirror(differences: list[float]) -> None:
    low, high = paired_bound(differences)
    mirrored = paired_bound([-d for d in differences])
    assert mirrored == pytest.approx((-high, -low))
    assert -1 <= low <= high <= 1


def test_few_items_without_any_spread_do_not_make_an_arm_fall() -> None:
    assert paired_bound([-1.0, -1.0])[1] > 0
    assert paired_bound([-1.0] * 8)[1] < 0
    with pytest.raises(ValueError, match="no differences"):
        paired_bound([])


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_the_bound_seldom_excludes_the_true_difference(gap: float) -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(2000):
        differences = rng.choice([-1.0, 0.0, 1.0], p=[0.2, 0.6 - gap, 0.2 + gap], size=24)
        low, high = paired_bound(differences.tolist())
        missed += not low <= gap <= high
    assert missed / 2000 < 0.004
