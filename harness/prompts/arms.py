"""Contestants of the prompt race: instruction variants x demonstrations from train."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from harness.chat import demonstration
from harness.data import Split
from harness.partspec import PartSpec
from harness.records import Item, Prompt, digest

LETTERS = "abcdefghijklmnop"
"""Names of the demonstration sets of one size."""


class PromptSpec(PartSpec):
    """How hard to look for a good prompt."""

    search: Literal["race", "none"] = "race"
    """`race`: instruction variants x demonstrations; `none`: the raw prompt is the bar."""
    budget: Annotated[int, Field(ge=8)] = 2000
    """Model calls that the race may make."""
    instructions: tuple[str, ...] = ()
    """Your own instruction variants, tried beside the task's own and its rewritings."""
    shots: tuple[Annotated[int, Field(ge=0, le=64)], ...] = (0, 4, 8)
    """Numbers of demonstrations to try."""
    draws: Annotated[int, Field(ge=1, le=16)] = 2
    """Different demonstration sets per number."""
    seed: int = 0
    """Seed of the demonstrations and of the order of dev items."""


def raw_prompt(instruction: str) -> Prompt:
    """The task's own instruction and nothing else."""
    return Prompt(name="raw", instruction=instruction)


def arms(spec: PromptSpec, instruction: str, train: Split) -> list[Prompt]:
    """All contestants: the raw prompt first, then every instruction with every demonstration set."""
    rng = random.Random(spec.seed)
    sets: list[tuple[str, tuple[Item, ...]]] = []
    for shots in dict.fromkeys(spec.shots):
        if shots == 0:
            sets.append(("", ()))
            continue
        sets += [
            (f"+{shots}{letter}", draw_demonstrations(train.items, shots, rng)) for letter in LETTERS[: spec.draws]
        ]
    made = [raw_prompt(instruction)]
    for label, shown in sets:
        for name, text in instruction_variants(spec, instruction, train.items):
            made.append(
                Prompt(
                    name=name + label,
                    instruction=text,
                    demonstrations=tuple(demonstration(item) for item in shown),
                    demonstration_ids=tuple(item.id for item in shown),
                )
            )
    distinct = {digest(prompt.model_dump(mode="json", exclude={"name"})): prompt for prompt in reversed(made)}
    return [prompt for prompt in made if distinct[digest(prompt.model_dump(mode="json", exclude={"name"}))] is prompt]


def instruction_variants(spec: PromptSpec, instruction: str, train: Sequence[Item]) -> list[tuple[str, str]]:
    """The task's own instruction, its rewritings by rule, and the user's, as (name, text)."""
    strict = "Reply with the answer only, in exactly the required form: no explanation, no extra words."
    variants = [("raw", instruction), ("strict", _join(instruction, strict))]
    answers = sorted({item.target.strip() for item in train})
    if 1 < len(answers) <= 50:
        listed = "The answer is exactly one of: " + ", ".join(answers) + "."
        variants.append(("labels", _join(instruction, listed, strict)))
    else:
        example = min((item.target.strip() for item in train), key=lambda text: (len(text), text))
        variants.append(("form", _join(instruction, f"An answer looks like this: {example}", strict)))
    return variants + [(f"yours{n}", text) for n, text in enumerate(spec.instructions, start=1)]


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def draw_demonstrations(items: Sequence[Item], shots: int, rng: random.Random) -> tuple[Item, ...]:
    """`shots` train items, spread evenly over the answers where answers repeat."""
    by_answer: dict[str, list[Item]] = {}
    for item in items:
        by_answer.setdefault(item.target.strip(), []).append(item)
    if len(by_answer) > len(items) // 2:
        return tuple(rng.sample(list(items), min(shots, len(items))))
    answers = sorted(by_answer)
    rng.shuffle(answers)
    picked: list[Item] = []
    while len(picked) < min(shots, len(items)):
        for answer in answers:
            rest = [item for item in by_answer[answer] if item not in picked]
            if rest and len(picked) < shots:
                picked.append(rng.choice(rest))
    rng.shuffle(picked)
    return tuple(picked)
