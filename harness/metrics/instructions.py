"""Metrics of instructions whose keeping a program can check, in the style of IFEval (Zhou et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.metrics.checks import kept
from harness.metrics.registry import metric
from harness.metrics.scoring import Unscored, no_gold, target_object

_EXAMPLE = '{"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, {}]}'
_TARGET = "JSON: `instruction_id_list` and, in the same order, `kwargs`, as IFEval's data has them"


def _instructions(target: str) -> list[tuple[str, dict[str, Any]]]:
    item = target_object(target, "instruction_id_list")
    kinds = item["instruction_id_list"]
    arguments = item.get("kwargs") or [{}] * len(kinds)
    if not isinstance(kinds, list) or not isinstance(arguments, list) or len(kinds) != len(arguments) or not kinds:
        raise Unscored("the target's instruction_id_list and kwargs are no lists of one length, or are empty")
    return [(str(kind), given if isinstance(given, dict) else {}) for kind, given in zip(kinds, arguments, strict=True)]


def _strict(answer: str) -> tuple[str, ...]:
    return (answer,)


def _loose(answer: str) -> tuple[str, ...]:
    """The answer, without its first or last line or both, and each of these without asterisks."""
    lines = answer.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return tuple(dict.fromkeys(form for text in (answer, *cut) for form in (text, text.replace("*", ""))))


def _kept(forms: Sequence[str], target: str) -> list[bool]:
    try:
        return [any(kept(kind, form, given) for form in forms) for kind, given in _instructions(target)]
    except ValueError as fault:
        raise Unscored(str(fault)) from fault


@metric("prompt_level_strict_acc", binary=True, example=_EXAMPLE, target=_TARGET, gold=no_gold, learnable=False)
def prompt_level_strict_acc(answer: str, target: str) -> float:
    """1 when every instruction of the item is kept."""
    return float(all(_kept(_strict(answer), target)))


@metric("prompt_level_loose_acc", binary=True, example=_EXAMPLE, target=_TARGET, gold=no_gold, learnable=False)
def prompt_level_loose_acc(answer: str, target: str) -> float:
    """1 when every instruction is kept by the answer, or by it without first or last line or asterisks."""
    return float(all(_kept(_loose(answer), target)))


@metric("inst_level_strict_acc", binary=False, example=_EXAMPLE, target=_TARGET, gold=no_gold, learnable=False)
def inst_level_strict_acc(answer: str, target: str) -> float:
    """Share of the item's instructions that are kept (IFEval pools them over items instead)."""
    found = _kept(_strict(answer), target)
    return sum(found) / len(found)


@metric("inst_level_loose_acc", binary=False, example=_EXAMPLE, target=_TARGET, gold=no_gold, learnable=False)
def inst_level_loose_acc(answer: str, target: str) -> float:
    """Share of the item's instructions that are kept, in the loose reading."""
    found = _kept(_loose(answer), target)
    return sum(found) / len(found)
