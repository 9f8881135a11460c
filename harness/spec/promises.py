"""What the user's own constraint and templates make of the rows: told before any model is asked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from harness import metrics
from harness.chat import Found, chat
from harness.engines import check_constraint
from harness.errors import EngineError, HarnessError, Problem, UsageError
from harness.evaluate import compares_choices
from harness.records import Constraint, Item, Prompt
from harness.spec.model import ExperimentSpec

SPELLED = ("exact_match",)
"""Metrics that give full marks to the gold answer's own spelling alone: what forbids it forbids to be right."""


def constraint_problems(spec: ExperimentSpec, items: Sequence[Item], file: str) -> Iterator[Problem]:
    """A constraint of the user's that no engine can enforce, or under which no row can be answered rightly.

    Whether it can be enforced is seen where llguidance is installed.
    """
    given, where = spec.prompt.constrain, f"{file}: prompt.constrain"
    if not isinstance(given, Constraint):
        return
    if compares_choices(spec.task.metric):
        what = f"{spec.task.metric!r} compares two answers, and nothing is generated that could be constrained"
        yield Problem(where, what, next="Leave it out")
        return
    try:
        check_constraint(given, where)
    except UsageError as fault:
        yield from fault.problems
        return
    except EngineError:
        pass
    counted = _answerable(given, spec.task.metric, items)
    if counted is not None and not counted[0] and _certain(given, spec.task.metric):
        what = f"it allows the gold answer of none of the {counted[1]} rows, such as {_shown(items[0])!r}"
        yield Problem(where, what, next="Correct it, or leave it out: constrain: auto derives one from the train rows")


def constraint_note(spec: ExperimentSpec, items: Sequence[Item]) -> str | None:
    """How many gold answers a constraint of the user's forbids; None for none."""
    given = spec.prompt.constrain
    counted = _answerable(given, spec.task.metric, items) if isinstance(given, Constraint) else None
    if counted is None or counted[0] == counted[1]:
        return None
    lost = counted[1] - counted[0]
    return f"prompt.constrain forbids the gold answers of {lost} of {counted[1]} rows ({lost / counted[1]:.0%})"


def template_problems(spec: ExperimentSpec, item: Item, file: str) -> Iterator[Problem]:
    """Templates of the user's that fail on a row, whether or not something was looked up for it."""
    for at, text in enumerate(spec.prompt.templates):
        try:
            for context in ("", "What was looked up."):
                chat(Prompt(name="template", instruction="", turn=text), item, Found(context=context))
        except HarnessError as fault:
            for problem in fault.problems:
                yield Problem(f"{file}: prompt.templates[{at}]", problem.what, problem.allowed, problem.next)


def _answerable(given: Constraint, metric: str, items: Sequence[Item]) -> tuple[int, int] | None:
    """Rows whose gold answer the constraint allows, and rows that have one; None where it cannot be told here."""
    found = metrics.get(metric)
    if found.needs is not None or found.output == "choice":
        return None
    targets = Counter(item.target for item in items)
    golds = {target: gold for target in targets if (gold := metrics.gold_answer(metric, target)) is not None}
    allows = _allows(given, metric)
    if allows is None or not golds:
        return None
    can = sum(targets[target] for target, gold in golds.items() if allows(gold.strip(), target))
    return can, sum(targets[target] for target in golds)


def _allows(given: Constraint, metric: str) -> Callable[[str, str], bool] | None:
    """Whether an answer that is right for a target can be given; takes gold answer and target."""
    if given.choices:
        return lambda gold, target: (
            gold in given.choices or any(metrics.score_text(metric, choice, target) == 1 for choice in given.choices)
        )
    if given.regex is not None:
        try:
            pattern = re.compile(given.regex)
        except re.error:  # Rust's expressions are not all Python's
            return None
        return lambda gold, target: pattern.fullmatch(gold) is not None
    return _by_schema(given.json_schema or {})


def _by_schema(schema: dict[str, Any]) -> Callable[[str, str], bool] | None:
    if find_spec("jsonschema") is None:
        return None
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError:
        return None
    validator = kind(schema, registry=Registry())  # an empty registry: nothing is read from elsewhere

    def allows(gold: str, target: str) -> bool:
        try:
            return bool(validator.is_valid(json.loads(gold)))
        except (ValueError, RecursionError, Unresolvable):
            return False

    return allows


def _certain(given: Constraint, metric: str) -> bool:
    """Whether a gold answer that is forbidden is a right answer that is forbidden: metrics may take other spellings."""
    if given.choices:
        return metrics.get(metric).binary
    return metric in SPELLED or (given.json_schema is not None and metric.startswith("json"))


def _shown(item: Item) -> str:
    text = item.target.strip()
    return text if len(text) <= 60 else text[:59] + "…"
