"""`search: race`: prompts over all dimensions race on shared dev items, and the best are crossed and race again.

Generations of arms (`generations`) enter a contest (`contest`) in which arms meet the same items in growing rounds and
fall by paired bounds and by halving, so that the budget goes to the arms that may win: iterated racing (Birattari et
al. 2010, "F-Race and iterated F-Race: an overview"; López-Ibáñez et al. 2016, irace), with a linear model instead of
sampled parameters. What is left of the budget lets the last ones meet every dev item, and the best over all of them
wins. Deterministic under the seed, given the same answers.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Sequence

from harness.errors import Problem, UsageError
from harness.prompts.contest import Contest
from harness.prompts.demonstrations import balanced
from harness.prompts.generations import Seen, first, following
from harness.prompts.instructions import proposed
from harness.prompts.meter import Arm, Meter, Spent
from harness.prompts.searching import Field, Found
from harness.prompts.space import Recipe, Space, make_space
from harness.prompts.spec import PromptSpec
from harness.prompts.standing import FEWEST
from harness.records import Item

ELITE = 3
"""Arms that a generation leaves to the next one."""
MOST_ARMS = 16
"""Arms that enter in one generation at most."""
FIRST_SHARE, NEXT_SHARE = 0.45, 0.35
"""Shares of what may be raced with: for the first generation, and for those until the last ones meet all items."""
PATIENCE = 2
"""Generations without a new leader after which a search that has budget left is over."""
SCAN_SHARE, MOST_SCANNED = 0.05, 64
"""Share of the budget, and train rows, that looking for what raw gets wrong may take."""
PARTIAL = 0.05
"""Weight of the further metrics where the model compares prompts: they count where the first one says nothing."""


def race(spec: PromptSpec, field: Field, meter: Meter) -> Found:
    """Search. See `Searcher`."""
    return _Race(spec, field, meter).run()


class _Race:
    def __init__(self, spec: PromptSpec, field: Field, meter: Meter) -> None:
        self._spec, self._field, self._meter = spec, field, meter
        self._space: Space = make_space(spec, field.task, field.instruction, field.train, field.shelves, meter.refusal)
        self._contest = Contest(meter, field.order)
        self._recipes: dict[str, Recipe] = {}
        self._raw = self._arm(Recipe())

    def run(self) -> Found:
        with contextlib.suppress(Spent):  # where tokens were foreseen too low, what was found by then is returned
            self._enter_raw()
            known = self._space.instructions
            for one in proposed(self._spec, self._field.instruction, self._field.train, self._meter):
                if all(one.text != other.text for other in known.values()):
                    known[one.name] = one
            self._generations()
        winner = self._contest.finish()
        entries = self._contest.entries
        written = [one for one in self._space.instructions.values() if one.origin == "proposed"]
        if written and not any(self._recipes[key].instruction in [one.name for one in written] for key in entries):
            what = f"{len(written)} proposed instructions were written, and the budget had no room to try one"
            self._meter.note(f"{what}: raise prompt.budget, or leave prompt.proposals out")
        ranked = sorted(entries.values(), key=lambda e: (e is not winner, -len(e.samples), e.rank(*self._over)))
        return Found(
            winner=winner.arm,
            fates={key: entry.fate for key, entry in entries.items()},
            rungs={key: entry.rung for key, entry in entries.items()},
            ranked=[entry.arm.key for entry in ranked],
            proposer=self._meter.proposer if self._spec.proposals is not None else None,
        )

    @property
    def _over(self) -> tuple[tuple[Item, ...], str]:
        return self._field.order, self._meter.metric

    def _enter_raw(self) -> None:
        """Raw meets the first items. Raises UsageError when the budget cannot hold one prompt on all of them."""
        order = self._field.order
        try:
            if self._meter.unit == "tokens":  # how many it takes is known from the first answers on
                self._meter.ask(self._raw, order[:2])
            if self._meter.cost(self._raw, order) > self._meter.left:
                raise Spent
        except Spent:
            least = self._meter.budget - self._meter.left + self._meter.cost(self._raw, order)
            what = f"{self._meter.budget} {self._meter.unit} cannot score one prompt on the {len(order)} dev items"
            raise UsageError(Problem("prompt.budget", what, next=f"Give at least {least}")) from None
        self._contest.heat([self._raw], min(self._meter.left, self._meter.cost(self._raw, order[:FEWEST])), 1)

    def _generations(self) -> None:
        racing = self._meter.left - self._meter.cost(self._raw, self._field.order)
        calls = self._in_calls(racing)
        count = 1 if calls < 12 * FEWEST else min(5, 1 + max(1, round(calls / (5 * len(self._field.order)))))
        self._generation(round((FIRST_SHARE if count > 1 else 1.0) * racing), ELITE)
        for _ in range(count - 1):
            self._look_for_hard_rows()
            self._generation(round(NEXT_SHARE * racing / (count - 1)), ELITE)
        self._contest.heat([], self._meter.left, 1, to_the_end=True)
        leader, idle = self._contest.leader, 0
        while idle < PATIENCE and self._generation(self._spare(), 1):
            idle = idle + 1 if self._contest.leader is leader else 0
            leader = self._contest.leader

    def _generation(self, allowance: int, keep: int) -> bool:
        """Race the most promising new recipes; False when there are none, or too little to tell them apart."""
        most = _entrants(self._in_calls(allowance))
        new = self._next(most) if most else []
        if not new:
            return False
        origin = None if len(self._contest.entries) == 1 else "crossed"
        self._contest.heat([self._arm(recipe, origin) for recipe in new], allowance, keep)
        return True

    def _next(self, most: int) -> list[Recipe]:
        queue = self._new(first(self._space))
        if len(self._contest.entries) == 1:
            return queue[:most]
        seen = self._seen()
        leaders = [self._recipes[entry.arm.key] for entry in self._contest.alive]
        new = self._new(following(self._space, seen, leaders, 4 * most), "crossed")
        new = [recipe for recipe in new if not self._too_long(recipe)]
        # What a generation had no room for gets a place in each later one.
        waiting = [recipe for recipe in queue if not self._too_long(recipe)][: max(1, most // 4)]
        return list(dict.fromkeys([*new[: most - len(waiting)], *waiting]))

    def _new(self, recipes: Sequence[Recipe], origin: str | None = None) -> list[Recipe]:
        """Those that make arms which were not asked yet; of those that make the same arm the first."""
        made = {self._space.arm(recipe, origin).key: recipe for recipe in reversed(recipes)}
        return [recipe for key, recipe in list(made.items())[::-1] if key not in self._contest.entries]

    def _seen(self) -> dict[Recipe, Seen]:
        """Scores of all arms on one scale: the leader's, and the paired difference to it on shared items."""
        items, metric = self._over
        leader = self._contest.leader
        seen = {}
        for key, entry in self._contest.entries.items():
            shared = [item for item in items if entry.score(item, metric) is not None]
            shared = [item for item in shared if leader.score(item, metric) is not None]
            if not shared:
                seen[self._recipes[key]] = Seen(0.0, len(entry.samples))
                continue
            gap = sum((entry.score(item, metric) or 0.0) - (leader.score(item, metric) or 0.0) for item in shared)
            further = zip(entry.partial(shared, metric), leader.partial(shared, metric), strict=False)
            gap = gap / len(shared) + PARTIAL * sum(mine - its for mine, its in further)
            seen[self._recipes[key]] = Seen((leader.mean(items, metric) or 0.0) + gap, len(shared))
        return seen

    def _too_long(self, recipe: Recipe) -> bool:
        """Whether as many demonstrations of that kind failed on every item."""
        if recipe.shown is None:
            return False
        failed = [
            self._recipes[key].shown for key, entry in self._contest.entries.items() if entry.mean(*self._over) is None
        ]
        return any(one and one.kind == recipe.shown.kind and one.count <= recipe.shown.count for one in failed)

    def _look_for_hard_rows(self) -> None:
        """Ask raw some train rows; those that it gets wrong can be shown as demonstrations."""
        if "hard" not in self._spec.demonstrations or self._space.wrong or not any(self._spec.shots):
            return
        rows = balanced(self._field.train.to_learn_from(), MOST_SCANNED, random.Random(f"{self._spec.seed}:scan"))
        rows = rows[: self._in_calls(round(SCAN_SHARE * self._meter.budget))]
        if len(rows) < FEWEST or self._meter.cost(self._raw, rows) > self._spare():
            return
        scores = [sample.scores[self._meter.metric] for sample in self._meter.ask(self._raw, rows)]
        scored = zip(rows, scores, strict=True)
        self._space.wrong = tuple(row for row, score in scored if score is not None and score < 1)

    def _arm(self, recipe: Recipe, origin: str | None = None) -> Arm:
        arm = self._space.arm(recipe, origin)
        self._recipes.setdefault(arm.key, recipe)
        return arm

    def _spare(self) -> int:
        """What is left once the leader has met every item."""
        return max(0, self._meter.left - self._meter.cost(self._contest.leader.arm, self._field.order))

    def _in_calls(self, amount: int) -> int:
        """How many calls that is, at the dearest of the arms that are alive."""
        if self._meter.unit == "calls":
            return amount
        means = [entry.tokens() for entry in self._contest.alive]
        return int(amount / max(1.0, *means))


def _entrants(calls: int) -> int:
    """How many arms so many calls can tell apart: in each round they meet at least `FEWEST` items, and half fall."""
    for count in range(MOST_ARMS, 0, -1):
        if max(1, math.ceil(math.log2(count / ELITE))) * count * FEWEST <= calls:
            return count
    return 0
