"""The search space: what a prompt is made of, which combinations there are, and how one becomes an arm."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.chat import demonstration
from harness.data import Split
from harness.evaluate import TaskSpec
from harness.prompts.answers import closed_set, constraint
from harness.prompts.demonstrations import at_random, balanced, hard
from harness.prompts.instructions import ANSWER_MARK, Instruction, by_rule, reasoned
from harness.prompts.meter import Arm
from harness.prompts.spec import PromptSpec
from harness.records import Constraint, Decoding, Item, Prompt, Retrieval
from harness.retrieval import Shelves

MOST_FEW = 8
"""Demonstrations of the plain few-shot baseline, and of the first arms of a search; more are tried once they help."""
LETTERS = "abcdefghijklmnop"
"""Names of the demonstration sets of one kind and size."""
PLAIN = {"input/output": "Input: {{ input }}\nOutput:"}
"""Templates that are tried beside the user's."""
LABELLED = {"text/label": "Text: {{ input }}\nLabel:"}
"""Further ones where answers are a closed set."""
DRAWN = ("random", "balanced", "hard")
"""Ways to choose demonstrations in which chance has a part."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Which demonstrations, and how many."""

    kind: str
    """`random`, `balanced`, `hard`, `nearest`, or `documents`: passages that are looked up."""
    count: int
    draw: int = 0
    """Which of several sets, where chance has a part."""

    def __str__(self) -> str:
        return f"{self.count} {self.kind}" + (f" {LETTERS[self.draw]}" if self.kind in DRAWN else "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One point of the search space."""

    instruction: str = "raw"
    """Name of the variant."""
    shown: Shown | None = None
    template: str = ""
    """Name of the question's form; empty: as it stands."""
    constrained: bool = False
    reasoning: bool = False

    @property
    def values(self) -> tuple[tuple[str, object], ...]:
        """What it is made of, as (dimension, value): what an additive model of scores is made over."""
        return (
            ("instruction", self.instruction),
            ("kind", self.shown.kind if self.shown else None),
            ("count", self.shown.count if self.shown else 0),
            ("template", self.template),
            ("constrained", self.constrained),
            ("reasoning", self.reasoning),
        )


@dataclass
class Space:
    """Everything that may be tried. `wrong` and `instructions` grow as the search learns."""

    spec: PromptSpec
    task: TaskSpec
    train: Split
    shelves: Shelves | None
    instructions: dict[str, Instruction]
    """By name, the raw one first."""
    templates: dict[str, str | None]
    """By name, the plain turn first."""
    wrong: tuple[Item, ...] = ()
    """Train rows that the raw prompt got wrong."""
    constraint_name: str = ""
    _constraint: tuple[str, Constraint] | None = None
    _made: dict[Recipe, Arm] = field(default_factory=dict)

    def kinds(self) -> list[str]:
        """Ways to choose demonstrations that can be used now."""
        out = {"hard"} if not self.wrong else set()
        if self.shelves is None:
            return [kind for kind in self.spec.demonstrations if kind not in out | {"nearest"}]
        given = [kind for kind in self.spec.demonstrations if kind not in out]
        return given + (["documents"] if self.spec.retrieval.documents is not None else [])

    def shown(self) -> list[Shown]:
        """All demonstration sets, by kind, count and draw."""
        sets: list[Shown] = []
        for kind in self.kinds():
            if kind == "documents":
                sets.append(Shown(kind, self.spec.retrieval.count))
                continue
            draws = self.spec.draws if kind in DRAWN else 1
            sets += [
                Shown(kind, count, draw)
                for count in self.spec.shots
                if 0 < count <= len(self.train.items)
                for draw in range(draws)
            ]
        return sets

    def allowed(self, recipe: Recipe) -> bool:
        """Whether the combination makes sense."""
        if recipe.reasoning and (recipe.constrained or recipe.shown is not None or not self.spec.reasoning):
            return False  # worked examples without reasoning teach not to reason; a constraint forbids it
        if recipe.constrained and self._constraint is None:
            return False
        bare = recipe.shown is None and recipe != Recipe() and not recipe.reasoning
        return not (bare and 0 not in self.spec.shots)

    def name(self, recipe: Recipe) -> str:
        """Short and readable in a table, unique over recipes."""
        name = recipe.instruction + (f"+{recipe.shown}" if recipe.shown else "")
        name += " reasoning" if recipe.reasoning else ""
        name += f" in {recipe.template}" if recipe.template else ""
        return name + (f" [{self.constraint_name}]" if recipe.constrained else "")

    def arm(self, recipe: Recipe, origin: str | None = None) -> Arm:
        """The recipe as a contestant; origin: where it came from, by default its instruction's."""
        if recipe not in self._made:
            self._made[recipe] = self._make(recipe, origin or self._origin(recipe))
        return self._made[recipe]

    def _origin(self, recipe: Recipe) -> str:
        origin = self.instructions[recipe.instruction].origin
        if recipe == Recipe() or origin != "raw":
            return origin
        if recipe.template.startswith("template "):
            return "yours"
        return "rule: reasoning" if recipe.reasoning else "rule: demonstrations" if recipe.shown else "rule: form"

    def _make(self, recipe: Recipe, origin: str) -> Arm:
        text = self.instructions[recipe.instruction].text
        items, shown = self._demonstrations(recipe.shown), recipe.shown
        prompt = Prompt(
            name=self.name(recipe),
            instruction=reasoned(text) if recipe.reasoning else text,
            demonstrations=tuple(demonstration(item) for item in items),
            demonstration_ids=tuple(item.id for item in items),
            turn=self.templates[recipe.template],
            retrieval=self._retrieval(shown) if shown and shown.kind in ("nearest", "documents") else None,
            answer_after=ANSWER_MARK if recipe.reasoning else None,
        )
        decoding = reasoning_decoding(self.spec, self.task) if recipe.reasoning else self.task.decoding
        if recipe.constrained and self._constraint is not None:
            decoding = decoding.model_copy(update={"constraint": self._constraint[1]})
        return Arm(prompt, decoding, origin)

    def _demonstrations(self, shown: Shown | None) -> Sequence[Item]:
        if shown is None or shown.kind not in DRAWN:
            return ()
        rng = random.Random(f"{self.spec.seed}:{shown.kind}:{shown.count}:{shown.draw}")
        items = self.train.to_learn_from()
        if shown.kind == "hard":
            return hard(self.wrong, items, shown.count, rng)
        return (balanced if shown.kind == "balanced" else at_random)(items, shown.count, rng)

    def _retrieval(self, shown: Shown) -> Retrieval | None:
        if self.shelves is None:
            return None
        if shown.kind == "documents":
            return looked_up(self.spec, self.shelves, "documents", "context", shown.count)
        return looked_up(self.spec, self.shelves, "train", "demonstrations", shown.count)


def make_space(
    spec: PromptSpec,
    task: TaskSpec,
    instruction: str,
    train: Split,
    shelves: Shelves | None,
    refusal: Callable[[Constraint], str] = lambda constraint: "",
) -> Space:
    """The search space of a task. refusal: why the engine cannot enforce a constraint, which is then not tried."""
    templates: dict[str, str | None] = {"": None}
    yours = {f"template {n}": text for n, text in enumerate(spec.templates, start=1)}
    for name, text in (yours | PLAIN | (LABELLED if closed_set(train) is not None else {})).items():
        if text not in templates.values():
            templates[name] = text
    found = constraint(spec.constrain, train)
    if found is not None and refusal(found[1]):
        found = None
    return Space(
        spec=spec,
        task=task,
        train=train,
        shelves=shelves,
        instructions={one.name: one for one in by_rule(spec, instruction, train)},
        templates=templates,
        constraint_name=found[0] if found else "",
        _constraint=found,
    )


def looked_up(
    spec: PromptSpec,
    shelves: Shelves,
    source: Literal["train", "documents"],
    use: Literal["demonstrations", "context"],
    count: int,
) -> Retrieval:
    """What is looked up for each question, over the shelves as they are."""
    by = spec.retrieval.by
    return Retrieval(
        source=source, use=use, by=by, count=count, corpus=shelves.corpus(source), embedder=shelves.embedder(by)
    )


def reasoning_decoding(spec: PromptSpec, task: TaskSpec) -> Decoding:
    """The task's decoding with room for reasoning, and without the stop strings that would cut it."""
    kept = tuple(stop for stop in task.stop if len(stop.strip()) >= 3 and not any(c.isspace() for c in stop))
    return task.decoding.model_copy(update={"max_tokens": task.max_tokens + spec.reasoning_tokens, "stop": kept})
