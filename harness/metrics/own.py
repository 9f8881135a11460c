"""A user's own metric: one function in a Python file beside the spec, and files that metrics name.

`metric: ./my_metric.py:score` becomes `my_metric.py:score@1a2b3c4d` when the spec is loaded: its content is part
of its name, and so of the experiment's identity. The file runs with all rights of the user, as any own code does.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import Problem, UsageError
from harness.metrics import registry
from harness.metrics.arguments import parsed, spelled
from harness.metrics.files import pin, text_of
from harness.metrics.scoring import Unscored

_OWN = re.compile(r"(?P<file>[^@:()]+\.py):(?P<function>[A-Za-z_]\w*)(?:@(?P<digest>[0-9a-f]{8}))?")
_TRIED = ("", "Paris", "\0\ud7ff\u202e é \U0001f600", "{" * 50, "0" * 20_000)
"""Answers that every metric must take."""


def is_own(name: str) -> bool:
    """Whether a metric's name is a function in a file: `./my_metric.py:score`, pinned or not."""
    return _OWN.fullmatch(parsed(name)[0]) is not None


def names_a_file(name: str) -> bool:
    """Whether a metric's name stands for a file beside the spec, which `bind` has to read first."""
    try:
        return is_own(name) or "file" in parsed(name)[1]
    except UsageError:
        return False


def files_of(name: str) -> dict[str, str]:
    """Path to text of the files that a bound name stands for: what must lie beside the spec to run it again."""
    base, arguments = parsed(name)
    own = _OWN.fullmatch(base)
    pinned = [f"{own['file']}@{own['digest']}"] if own else []
    pinned += [arguments["file"]] if isinstance(arguments.get("file"), str) else []
    return {one.partition("@")[0]: text_of(one) for one in pinned}


def digest_of(name: str) -> str | None:
    """Eight digits of the content that a pinned name stands for; None for a metric that is not the user's own."""
    own = _OWN.fullmatch(parsed(name)[0])
    return own["digest"] if own else None


def bind(name: str, folder: Path) -> str:
    """The spelling of a metric with everything that it names in the spec's folder read, checked and pinned.

    Other metrics are checked and spelled in the one way. Bound again, a pinned name must still be the same content.
    Raises UsageError for an unknown metric, a file that is missing or changed, and a function that breaks the contract:
    a score from 0 to 1 or None for every answer, the same each time.
    """
    base, arguments = parsed(name)
    if isinstance(arguments.get("file"), str):
        arguments = {**arguments, "file": pin(arguments["file"], folder)}
    own = _OWN.fullmatch(base)
    if own is None:
        return registry.canonical(spelled(base, arguments))
    path = own["file"] + (f"@{own['digest']}" if own["digest"] else "")
    pinned = pin(path, folder)
    file, _, digest = pinned.partition("@")
    full = f"{file}:{own['function']}@{digest}"
    if full not in registry.METRICS:
        _register(full, _loaded(pinned, own["function"]))
    found = registry.canonical(spelled(full, arguments))
    _check(found)
    return found


def _loaded(pinned: str, function: str) -> Callable[..., Any]:
    file, _, digest = pinned.partition("@")
    module = ModuleType(f"harness_own_metric_{digest}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        exec(compile(text_of(pinned), file, "exec"), module.__dict__)  # noqa: S102 - the user's own code
    except Exception as fault:  # code of the user's can fail in any way
        raise UsageError(Problem(file, f"cannot be run: {type(fault).__name__}: {fault}")) from fault
    found = module.__dict__.get(function)
    hint = f"def {function}(answer: str, target: str) -> float | None: ..."
    if not callable(found):
        raise UsageError(Problem(file, f"has no function {function!r}", next=hint))
    try:
        inspect.signature(found).bind("", "")
    except (TypeError, ValueError) as fault:
        raise UsageError(Problem(file, f"{function} does not take (answer, target): {fault}", next=hint)) from fault
    return found  # type: ignore[no-any-return]


def _register(name: str, function: Callable[..., Any]) -> None:
    def score(answer: str, target: str, **arguments: Any) -> float:
        try:
            value = function(answer, target, **arguments)
        except Exception as fault:  # code of the user's can fail in any way
            raise Unscored(f"{name}: {type(fault).__name__}: {fault}") from fault
        if value is None:
            raise Unscored(f"{name} gave no score")
        if not isinstance(value, int | float) or not 0 <= value <= 1:  # NaN is not
            raise Unscored(f"{name} gave {value!r}, which is no number from 0 to 1")
        return float(value)

    score.__doc__ = inspect.getdoc(function) or f"{name.partition('@')[0]}."
    score.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    registry.metric(name, binary=False)(score)


def _check(name: str) -> None:
    """What can be told without an item: a score or None for odd answers, the same twice. Gold is tried on the rows."""
    function = registry.get(name).function
    for answer in _TRIED:
        tried = [_tried(function, answer) for _ in range(2)]
        if tried[0] != tried[1]:
            what = f"gives {tried[0]!r} and then {tried[1]!r} for the same answer"
            raise UsageError(Problem(name, what, "A metric is a pure function", "Seed whatever is random in it"))


def _tried(function: Callable[..., float], answer: str) -> float | None:
    try:
        value = function(answer, "Paris")
    except Unscored as why:
        if isinstance(why.__cause__, Exception) or "no number" in str(why):
            raise UsageError(Problem("", str(why), "A score from 0 to 1, or None", f"for {answer[:20]!r}")) from why
        return None
    return value if math.isfinite(value) else None
