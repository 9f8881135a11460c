"""Arms of a prompt search, and the sheet on which their answers stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.records import Decoding, Item, Prompt, SampleRecord, digest


@dataclass(frozen=True, slots=True)
class Arm:
    """One contestant: a prompt and how it decodes."""

    prompt: Prompt
    decoding: Decoding
    origin: str
    """Where it came from, e.g. `rule: labels`, `yours`, `proposed`, `crossed`, `gepa`."""

    key: str = field(init=False, repr=False, compare=False)
    """Identity by content, sha256: names do not count."""

    def __post_init__(self) -> None:
        content = self.prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"})
        object.__setattr__(self, "key", digest([content, self.decoding.model_dump(mode="json")]))


Owed = list[tuple[Arm, list[Item]]]
"""What arms are still to be asked."""


@dataclass(slots=True)
class Sheet:
    """What one arm was asked so far, in order."""

    arm: Arm
    samples: dict[str, SampleRecord] = field(default_factory=dict)
    """Item id to answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One time that an arm was asked something new."""

    calls: int
    """Calls over all arms afterwards."""
    tokens: int | None
    """Tokens over all arms afterwards."""
    key: str
    """The arm's."""
    ids: tuple[str, ...]
    """Ids of the items."""


def part(owed: Owed, costs: Sequence[int], most: int) -> tuple[Owed, Owed]:
    """What is asked now, for at most so many tokens but one call in any case, and what is left for later."""
    now: Owed = []
    later: Owed = []
    for (arm, items), cost in zip(owed, costs, strict=True):
        count = len(items) if cost <= max(0, most) else max(0, most) * len(items) // cost
        if items and not now:
            count = max(1, count)
        most -= math.ceil(cost * count / max(1, len(items)))
        now += [(arm, items[:count])] if count else []
        later += [(arm, items[count:])] if items[count:] else []
    return now, later
