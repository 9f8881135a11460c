"""Worked examples before a question, chosen and written by lm-eval's rules.

`num_fewshot` examples come from `fewshot_config.samples` or from the split that `fewshot_split` names (else
training, else validation); a suite's `fewshot` asks for another number. `first_n` takes the first ones; lm-eval's
default sampler draws them for each document in turn from one random sequence with seed 1234, so the order of the
documents counts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Problem
from harness.suites.documents import Document, shown

SEED = 1234
"""lm-eval's default `fewshot_random_seed`."""
SAMPLERS = ("default", "first_n")
CONFIG_KEYS = (
    *("sampler", "split", "samples", "doc_to_text", "doc_to_target", "doc_to_choice"),
    *("fewshot_delimiter", "target_delimiter"),
)


@dataclass(frozen=True, slots=True)
class Fewshot:
    """Which examples stand before a question, and how they are written."""

    count: int
    """How many; at least 1."""
    sampler: str
    """`first_n` or `default`."""
    documents: tuple[Document, ...]
    """What they are taken from."""
    text: str
    target: str | int
    choices: str | list[str] | None
    target_delimiter: str
    """Between an example's question and its answer."""
    delimiter: str
    """After each example."""

    def chosen(self, questions: int) -> list[Sequence[Document]]:
        """The examples of each of `questions` documents, in their order."""
        if self.sampler == "first_n":
            return [self.documents[: self.count]] * questions
        draw = random.Random(SEED)
        return [draw.sample(self.documents, self.count) for _ in range(questions)]


def with_fewshot(file: Path, config: Document, count: int, problems: list[Problem]) -> Document:
    """A task's YAML with another number of worked examples, as by lm-eval's `--num_fewshot`.

    A YAML that states 0 keeps it there, since the task is not meant to have any; here asking for more is a fault.
    """
    if config.get("num_fewshot") == 0 and count:
        hint = "Leave `fewshot` of the suite out, or num_fewshot in the YAML"
        what = f"is stated as 0, and the suite is wanted with {count}"
        problems.append(Problem(f"{shown(file)}: num_fewshot", what, "lm-eval's --num_fewshot changes no 0", hint))
    return {**config, "num_fewshot": count}
