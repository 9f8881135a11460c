"""Whether a suite can tell right from wrong: its gold answers, a constant answer and shuffled ones are scored.

No model is asked. A task passes when gold answers score 1, while always giving the same answer, and giving each
item the answer of another one, score near chance; and when its questions stand in no other split.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from harness import metrics
from harness.metrics import tools
from harness.records import Item, Severity, SplitName
from harness.suites.model import Suite, Task

CANDIDATES = 20
"""Commonest answers that are tried as the constant one."""
SEED = 0
"""Seed of the shuffle."""
DEVIATIONS, LEAST = 4.0, 0.05
"""How far above chance an answer without knowledge may score: standard errors, and at least this much."""
UNSTATED_MOST = 0.5
"""Most that a constant answer may score in a task of generated text that states no chance level."""
LIKELY, UNLIKELY = -1.0, -1e6


@dataclass(frozen=True, slots=True)
class Told:
    """One thing found."""

    severity: Severity
    task: str
    what: str


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """One task: what answers score that need no model. None is not measured, and `told` says why."""

    task: str
    items: int
    metric: str
    """The primary metric; the scores are its."""
    chance: float | None
    """Score of who knows nothing."""
    chance_from: str
    """`stated`, `1 / choices`, or `constant`: the best constant answer's score."""
    gold: float | None
    constant: float | None
    constant_answer: str
    """The constant answer that scores most."""
    shuffled: float | None
    limit: float | None
    """Constant and shuffled answers may not score more."""
    text_median: int
    """Characters of what is asked."""
    text_longest: int
    told: tuple[Told, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(told.severity != "error" for told in self.told)


def check(suite: Suite, others: Sequence[Suite] = (), run_code: bool = False) -> tuple[TaskCheck, ...]:
    """Every task of a suite. others: the same suite's other splits. run_code: whether gold code may be run."""
    with tools.using(tools.Tools(run_code=run_code)):
        return tuple(_check(task, others, run_code) for task in suite.tasks)


def _check(task: Task, others: Sequence[Suite], run_code: bool) -> TaskCheck:
    told = list(_questions(task, others))
    scored = _Scored.of(task, run_code)
    chance, source = _chance(task, scored)
    limit = None
    if chance is not None:
        error = math.sqrt(chance * (1 - chance) / len(task.items))
        limit = UNSTATED_MOST if source == "constant" else chance + max(DEVIATIONS * error, LEAST)
    told += _verdicts(task, scored, limit)
    lengths = [len(_asked(item)) for item in task.items]
    return TaskCheck(
        task=task.name,
        items=len(task.items),
        metric=task.metrics[0],
        chance=chance,
        chance_from=source,
        gold=scored.gold,
        constant=scored.constant,
        constant_answer=scored.answer,
        shuffled=scored.shuffled,
        limit=limit,
        text_median=round(median(lengths)),
        text_longest=max(lengths),
        told=tuple(told),
    )


# ------------------------------------------------------------------------------- answers without a model


@dataclass(frozen=True, slots=True)
class _Scored:
    gold: float | None
    constant: float | None
    answer: str
    shuffled: float | None
    why: str = ""
    """Why something is not measured, or what was done to measure it."""
    by_length: Mapping[str, float] = field(default_factory=dict)
    """Choice items: what taking the longest or the shortest choice scores."""

    @classmethod
    def of(cls, task: Task, run_code: bool) -> _Scored:
        if task.output_type == "generate":
            return _generated(task, run_code)
        if all(len(item.choices or ()) == 1 for item in task.items):
            return _compared(task, lambda answer, item: float(answer == item.target))
        return _chosen(task)


def _chosen(task: Task) -> _Scored:
    """Choice items: the answer is a place among the choices."""
    at = [(item.choices or ()).index(item.target) for item in task.items]
    most = max(len(item.choices or ()) for item in task.items)

    def score(item: Item, place: int) -> float:
        choices = item.choices or ()
        logprobs = [LIKELY if i == place % len(choices) else UNLIKELY for i in range(len(choices))]
        return metrics.score_choice(
            task.metrics[0], logprobs, choices, choices.index(item.target), task.target_delimiter
        )

    def mean(places: Sequence[int]) -> float:
        return fmean(score(item, place) for item, place in zip(task.items, places, strict=True))

    tried = {f"choice {place + 1}": mean([place] * len(at)) for place in range(most)}
    answer = max(tried, key=tried.__getitem__)
    lengths = [[len(choice) for choice in item.choices or ()] for item in task.items]
    by_length = {
        name: mean([row.index(best(row)) for row in lengths])
        for name, best in (("the longest choice", max), ("the shortest choice", min))
        if any(len(set(row)) > 1 for row in lengths)
    }
    return _Scored(mean(at), tried[answer], answer, mean(_shuffled(at)), by_length=by_length)


def _generated(task: Task, run_code: bool) -> _Scored:
    """Generated text: the gold answers are those of the metric."""
    found = metrics.get(task.metrics[0])
    if found.needs == "code" and not run_code:
        return _Scored(None, None, "", None, f"{found.name} runs code, which was not allowed (--allow-code)")
    if found.needs in ("judge", "model"):
        return _Scored(None, None, "", None, f"{found.name} needs a {found.needs}: no model is asked here")
    gold = [metrics.gold_answer(found.name, item.target) for item in task.items]
    passed = [None if text is None else metrics.apply_filters(text, task.filters) for text in gold]

    def score(answer: str, item: Item) -> float | None:
        return metrics.score_text(found.name, answer, item.target, _asked(item))

    if all(text is None for text in gold):
        why = f"a target of {found.name} does not tell a right answer"
        tried = {"an empty answer": "", "a usual sentence": "I do not know what to say about this."}
        scores = {name: _mean([score(text, item) for item in task.items]) for name, text in tried.items()}
        best = max(scores, key=lambda name: scores[name] or 0.0)
        return _Scored(None, scores[best], best, None, why)
    right = _mean([score(text, item) for text, item in zip(passed, task.items, strict=True) if text is not None])
    why = ""
    if right is not None and right < 1 and task.filters:
        plain = [score(text, item) for text, item in zip(gold, task.items, strict=True) if text is not None]
        if _mean(plain) == 1:
            right, why, passed = 1.0, "gold answers are scored without the filter, which wants more around them", gold
    known = [text for text in passed if text is not None]
    best, top = "", -1.0
    for text, _ in Counter(known).most_common(1 if found.needs == "code" else CANDIDATES):
        value = _mean([score(text, item) for item in task.items])
        if value is not None and value > top:
            best, top = text, value
    mixed = [score(text, item) for text, item in zip(_shuffled(known), task.items, strict=False)]
    return _Scored(right, None if top < 0 else top, best, _mean(mixed), why)


def _compared(task: Task, score: Callable[[str, Item], float]) -> _Scored:
    """Single texts, right or wrong as a whole."""
    gold = [item.target for item in task.items]
    answer, _ = Counter(gold).most_common(1)[0]
    return _Scored(
        gold=fmean(score(text, item) for text, item in zip(gold, task.items, strict=True)),
        constant=fmean(score(answer, item) for item in task.items),
        answer=answer,
        shuffled=fmean(score(text, item) for text, item in zip(_shuffled(gold), task.items, strict=True)),
    )


def _shuffled(values: Sequence[Any]) -> list[Any]:
    """The same values, each moved to another place: a random cycle through all of them."""
    order = list(range(len(values)))
    random.Random(SEED).shuffle(order)
    moved = list(values)
    for place, after in zip(order, order[1:] + order[:1], strict=True):
        moved[place] = values[after]
    return moved


def _mean(scores: Sequence[float | None]) -> float | None:
    """Mean of the known scores; None without any."""
    known = [score for score in scores if score is not None]
    return fmean(known) if known else None


def _chance(task: Task, scored: _Scored) -> tuple[float | None, str]:
    if task.chance is not None:
        return task.chance, "stated"
    choices = [len(item.choices or ()) for item in task.items]
    if min(choices) > 1:
        return fmean(1 / count for count in choices), "1 / choices"
    return scored.constant, "constant"


# ------------------------------------------------------------------------------------------ what is told


def _verdicts(task: Task, scored: _Scored, limit: float | None) -> Iterator[Told]:
    if scored.gold is not None and scored.gold < 1:
        yield Told(
            "error", task.name, f"gold answers score {scored.gold:.3f}, not 1: target, filter or metric is wrong"
        )
    for name, value in (
        (f"always answering {_short(scored.answer)}", scored.constant),
        ("the answers of other items", scored.shuffled),
    ):
        if value is not None and limit is not None and value > limit:
            yield Told("error", task.name, f"{name} scores {value:.3f}; no more than {limit:.3f} is near chance")
    for name, value in scored.by_length.items():
        if limit is not None and value > limit:
            yield Told("warning", task.name, f"{name} is right {value:.3f} of the time: its length gives it away")
    if scored.why:
        yield Told("info", task.name, scored.why)


def _questions(task: Task, others: Sequence[Suite]) -> Iterator[Told]:
    own = Counter(_key(item) for item in task.items)
    twice = sum(count - 1 for count in own.values() if count > 1)
    if twice:
        yield Told("warning", task.name, f"{twice} questions stand more than once")
    for other in others:
        for twin in other.tasks:
            shared = {_key(item) for item in twin.items} & own.keys() if twin.name == task.name else set()
            if shared:
                yield Told("error", task.name, f"{len(shared)} questions stand in {_named(other.split)} too")
    ends = tuple(task.examples)
    given = sum(_asked(item).endswith(ends) for item in task.items) if ends else 0
    if given:
        yield Told("error", task.name, f"{given} questions are among the worked examples, with their answers")


def _named(split: SplitName) -> str:
    return f"the {split} split"


def _asked(item: Item) -> str:
    return item.messages[-1].content if item.messages else item.text or ""


def _key(item: Item) -> str:
    """A question, case and whitespace aside; choices belong to it."""
    return " ".join("\n".join((_asked(item), *sorted(item.choices or ()), item.continuation or "")).casefold().split())


def _short(text: str, most: int = 40) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= most else line[: most - 1] + "…")
