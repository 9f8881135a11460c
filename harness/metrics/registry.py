"""The registry of metrics: what each is called, which answers it scores, and how it is looked up."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal, TypeVar

from harness.errors import Problem, UsageError, did_you_mean
from harness.metrics.arguments import parsed, spelled
from harness.metrics.scoring import Scored, Unscored
from harness.records import OutputType

Score = TypeVar("Score", bound=Callable[..., float])
Need = Literal["code", "judge", "model"]
Gold = Callable[[str], str | None]

PASSED_IN = frozenset({"question"})
"""Keyword parameters that are no arguments of a spec: a function that names one is given it."""


def itself(target: str) -> str | None:
    """The right answer to an item is its target: so it is for every metric whose target is plain text."""
    return target


@dataclass(frozen=True, slots=True)
class Metric:
    """One entry of the registry, or one with its arguments filled in."""

    name: str
    """With arguments, the spelling: `numeric(tolerance=0.01)`."""
    output: OutputType
    """`generate`: scores a text; `choice`: scores the log-likelihoods of choices."""
    higher_is_better: bool
    binary: bool
    """True when every score is 0 or 1."""
    example: str
    """A target for which the metric is meant."""
    summary: str
    """First line of the function's docstring."""
    function: Callable[..., float]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """In the registry: an example of the arguments that must be given. With them filled in: those."""
    target: str = "the right answer"
    """What an item's target holds."""
    gold: Gold = itself
    """From a target to an answer that scores 1, or None where the target tells none."""
    learnable: bool = True
    """Whether a target is an answer, which a model could learn to give; else it goes with suites only."""
    needs: Need | None = None
    """What must be allowed or given before it can score: code execution, a judge, or a model that it loads."""

    @property
    def spelling(self) -> str:
        """The name with the example arguments, ready for `get`."""
        return spelled(self.name, self.arguments)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Its arguments: the keyword-only parameters of its function."""
        found = inspect.signature(self.function).parameters.values()
        return {p.name: p for p in found if p.kind is p.KEYWORD_ONLY and p.name not in PASSED_IN}


METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    higher_is_better: bool = True,
    binary: bool,
    output: OutputType = "generate",
    example: str = "Paris",
    arguments: Mapping[str, Any] | None = None,
    target: str = "the right answer",
    gold: Gold = itself,
    learnable: bool = True,
    needs: Need | None = None,
) -> Callable[[Score], Score]:
    """Register a pure function under `name`; the fields are those of `Metric`.

    A text metric is called with (answer, target), a choice metric with (logprobs, choices, target index). Its
    keyword-only parameters are the arguments that a spec may give; `question` is no argument but what was asked.
    It raises `Unscored` where no score can be told.
    """

    def register(function: Score) -> Score:
        summary = (function.__doc__ or "").strip().split("\n")[0]
        METRICS[name] = Metric(
            name, output, higher_is_better, binary, example, summary, function, arguments or {}, target, gold,
            learnable, needs,
        )  # fmt: skip
        return function

    return register


def get(name: str) -> Metric:
    """The metric that a spelling names, with its arguments; UsageError with the nearest name otherwise."""
    if name in METRICS and not METRICS[name].arguments:
        return METRICS[name]
    return _filled(name)


def higher_is_better(name: str) -> bool:
    """Whether more of a metric is better; also for a name of a stored run that is not known here."""
    try:
        return get(name).higher_is_better
    except UsageError:
        return True


def canonical(name: str) -> str:
    """The one spelling of a metric: known, its arguments checked, defaults left out."""
    return get(name).name


@cache
def _filled(text: str) -> Metric:
    name, given = parsed(text)
    if name not in METRICS:
        raise UsageError(Problem("", f"unknown metric {name!r}", did_you_mean(name, list(METRICS))))
    found = METRICS[name]
    parameters = found.parameters
    for key in given:
        if key not in parameters:
            known = did_you_mean(key, list(parameters)) if parameters else "It takes none"
            raise UsageError(Problem("", f"metric {name!r} has no argument {key!r}", known))
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            hint = f"For example {found.spelling}"
            raise UsageError(Problem("", f"metric {name!r} needs the argument {key!r}", next=hint))
        if key in given and not _fits(given[key], str(parameter.annotation)):
            raise UsageError(Problem("", f"metric {name!r}: {key} is {given[key]!r}", f"{parameter.annotation}"))
    kept = {key: value for key, value in given.items() if value != parameters[key].default}
    function = partial(found.function, **kept) if kept else found.function
    filled = replace(found, name=spelled(name, kept), function=function, arguments=kept)
    if found.parameters:
        _refuse_bad_arguments(filled)
    return filled


_FITS: dict[str, tuple[type, ...]] = {
    "float": (int, float), "int": (int,), "str": (str,), "bool": (bool,), "list[str]": (list,),
    "dict[str, Any]": (dict,), "dict[str, Any] | None": (dict,), "Sequence[str]": (list,), "list[str] | None": (list,),
}  # fmt: skip
"""Annotation of an argument to the JSON values that it takes."""


def _fits(value: Any, annotation: str) -> bool:
    if isinstance(value, bool) and annotation != "bool":
        return False
    strings = not isinstance(value, list) or all(isinstance(part, str) for part in value)
    finite = not isinstance(value, float) or math.isfinite(value)
    return isinstance(value, _FITS.get(annotation, (object,))) and strings and finite


def _refuse_bad_arguments(filled: Metric) -> None:
    """A value that the metric itself refuses (a pattern that does not compile) is found before any call."""
    if filled.output == "generate" and filled.needs in (None, "code"):
        try:
            filled.function("", filled.example, **_passed(filled, ""))
        except Unscored:
            return
        except ValueError as fault:
            raise UsageError(Problem("", f"metric {filled.name!r}: {fault}")) from fault


def score_text(name: str, answer: str, target: str, question: str = "") -> float | None:
    """Score a generated answer; None where no score can be told (`score` says why).

    question: what was asked, for the metrics that look at it.
    """
    return score(name, answer, target, question).value


def score(name: str, answer: str, target: str, question: str = "") -> Scored:
    """Score a generated answer, or say why there is no score."""
    found = _of_kind(name, "generate")
    try:
        value = float(found.function(answer, target, **_passed(found, question)))
    except Unscored as why:
        return Scored(None, str(why), why.fault)
    return Scored(value) if math.isfinite(value) else Scored(None, f"{name} gave {value}")


def _passed(found: Metric, question: str) -> dict[str, str]:
    names = inspect.signature(found.function).parameters if found.needs == "judge" else ()
    return {"question": question} if "question" in names else {}


def gold_answer(name: str, target: str) -> str | None:
    """An answer that this metric gives full marks for that target; None where the target tells none."""
    return get(name).gold(target)


def score_choice(
    name: str, logprobs: Sequence[float], choices: Sequence[str], target: int, delimiter: str = ""
) -> float:
    """Score the log-likelihoods of choices.

    `delimiter` is what stands before each choice as it was asked (`Task.target_delimiter`):
    lm-eval does not count it in a choice's length, so it is taken off first.
    """
    bare = [choice.removeprefix(delimiter) for choice in choices]
    if len(logprobs) != len(bare) or not 0 <= target < len(bare):
        raise ValueError(f"{len(logprobs)} logprobs, {len(bare)} choices, target {target}")
    return float(_of_kind(name, "choice").function(logprobs, bare, target))


def _of_kind(name: str, output: OutputType) -> Metric:
    found = get(name)
    if found.output != output:
        known = [other.name for other in METRICS.values() if other.output == output]
        raise UsageError(
            Problem("", f"metric {name!r} does not score {output} items", f"Known: {', '.join(sorted(known))}")
        )
    return found
