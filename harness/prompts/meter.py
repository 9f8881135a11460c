"""The meter: every model call of a prompt search goes through it, is counted, and is durable once it is answered.

All searches share it, so one budget means the same to each of them, a killed search goes on where it was, and
`prompt.json` can tell of every arm what it was asked and what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.chat import Found, Library, chat
from harness.engines.base import Engine, Request
from harness.errors import EngineError, Problem
from harness.evaluate import ask
from harness.progress import Bar
from harness.records import Decoding, Item, Message, Prompt, SampleRecord, digest
from harness.store import ExperimentStore, Journal
from harness.suites import Task

JOURNAL = "prompt"
"""Name of the journal that a search leaves its answers in."""
CARE = 1.1
"""How much dearer than expected a call is taken to be, where the budget is in tokens."""
FORESEEN = 8
"""Items whose prompts are measured to foresee an arm's tokens."""
MOST_WRITTEN = 64
"""Answer tokens that are foreseen at most: few answers are as long as they may be."""


class Spent(Exception):
    """The budget does not hold what was asked for; nothing of it was asked."""


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


class Meter:
    """Asks within a budget. Items are the dev split's, or train's for an arm that learns what is hard."""

    def __init__(
        self,
        budget: int,
        unit: str,
        task: Task,
        engine: Engine,
        library: Library | None,
        store: ExperimentStore,
        journal: Journal,
        bar: Bar,
        writer: Engine | None = None,
        proposer: str = "the base model",
    ) -> None:
        """writer: who writes instruction variants, where that is not the base model; proposer: what it is called."""
        self.budget, self.unit = budget, unit
        self.calls = 0
        self.tokens: int | None = 0
        """Prompt and answer tokens so far, failed calls left out; None as soon as an answer came without its count."""
        self.sheets: dict[str, Sheet] = {}
        """By the arm's key, in the order in which arms were first asked."""
        self.history: list[Asked] = []
        """Every time an arm was asked something new, in order."""
        self.proposer = proposer
        """Which model writes instruction variants."""
        self._task, self._engine, self._library = task, engine, library
        self._journal, self._bar, self._writer = journal, bar, writer
        self._characters = self._written = 0
        """Characters of all prompts answered so far, and tokens of all answers: they say what a new prompt takes."""
        lines = store.journal_lines(JOURNAL, SampleRecord)
        self._known = {(s.task, s.id, s.item_digest): s for s in lines if s.error is None}

    @property
    def metric(self) -> str:
        """The metric that is optimised."""
        return self._task.metrics[0]

    @property
    def left(self) -> int:
        """What is left of the budget, in its unit."""
        return self.budget - (self.calls if self.unit == "calls" else self.tokens or 0)

    def cost(self, arm: Arm, items: Sequence[Item]) -> int:
        """What asking an arm these items would take from the budget: nothing for those it was asked before.

        In calls exactly. In tokens a careful estimate: a tenth more than the arm's mean so far; before its first
        answer, by the length of its prompts and what a character took so far.
        """
        sheet = self.sheets.get(arm.key)
        owed = [item for item in items if sheet is None or item.id not in sheet.samples]
        if self.unit == "calls" or not owed:
            return len(owed)
        own = [tokens for s in sheet.samples.values() if (tokens := _tokens(s)) is not None] if sheet else []
        mean = sum(own) / len(own) if own else self._foreseen(arm, owed)
        return math.ceil(CARE * len(owed) * mean)

    def _foreseen(self, arm: Arm, items: Sequence[Item]) -> float:
        """Tokens a call, before the arm's first answer."""
        some = items[:FORESEEN]
        asked = (self.tokens or 0) - self._written
        per_character = asked / self._characters if self._characters else 0.5
        written = self._written / self.calls if self.calls else min(arm.decoding.max_tokens, MOST_WRITTEN)
        if arm.prompt.answer_after is not None:
            written = arm.decoding.max_tokens  # reasoning is long
        return per_character * sum(self._lengths(arm, some).values()) / len(some) + written

    def _lengths(self, arm: Arm, items: Sequence[Item]) -> dict[str, int]:
        """Characters of the prompt around each item, by item id."""
        found: Sequence[Found | None] = [None] * len(items)
        if arm.prompt.retrieval is not None and self._library is not None:
            found = self._library.look_up(arm.prompt.retrieval, items)
        return {
            item.id: sum(len(turn.content) for turn in chat(arm.prompt, item, one))
            for item, one in zip(items, found, strict=True)
        }

    def ask(self, arm: Arm, items: Sequence[Item]) -> list[SampleRecord]:
        """The arm's answers to the items, in their order. What it was asked before is not asked or counted again.

        An answer from an earlier sitting is taken over, and counted: the search takes the same path.
        Raises Spent, before anything is asked, when the budget does not hold it; EngineError when the engine is gone.
        """
        if self.cost(arm, items) > max(0, self.left):
            raise Spent
        key = arm.key
        sheet = self.sheets.setdefault(key, Sheet(arm))
        fresh = [item for item in items if item.id not in sheet.samples]
        found = {item.id: self._known[at] for item in fresh if (at := (key, item.id, item.digest)) in self._known}
        for sample in found.values():
            self._count(sample, arm.prompt.name)
        owed = [item for item in fresh if item.id not in found]
        for sample in ask(self._engine, self._task, owed, arm.prompt, arm.decoding, library=self._library):
            found[sample.id] = sample.model_copy(update={"task": key})
            self._journal.append([found[sample.id]])
            self._count(sample, arm.prompt.name)
        for item in fresh:
            sheet.samples[item.id] = found[item.id]
        if fresh:
            self.history.append(Asked(self.calls, self.tokens, key, tuple(item.id for item in fresh)))
        if self.unit == "tokens":
            answered = [item for item in fresh if found[item.id].error is None]
            self._characters += sum(self._lengths(arm, answered).values())
        return [sheet.samples[item.id] for item in items]

    def write(self, messages: Sequence[Message], decoding: Decoding, writer: Engine | None = None) -> str:
        """What a model writes to these turns: a call like any other. writer: who writes; by default the meter's own.

        Raises Spent when nothing is left, EngineError when no answer comes.
        """
        if self.left <= 0:
            raise Spent
        writer = writer or self._writer
        at = digest([[turn.model_dump() for turn in messages], decoding.model_dump(mode="json"), writer is not None])
        known = self._known.get(("written", at, at))
        if known is None:
            request = Request(decoding, messages=tuple(messages))
            ((_, answer),) = (writer or self._engine).answer([request])
            if answer.text is None:
                hint = "Look at the logs folder of the experiment; run again, and nothing scored is lost"
                raise EngineError(
                    Problem("prompt search", f"the proposing model gave no text: {answer.error}", next=hint)
                )
            known = SampleRecord(
                task="written",
                id=at,
                item_digest=at,
                question=messages[-1].content,
                target="",
                answer=answer.text,
                scores={},
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                latency_s=answer.latency_s,
            )
            self._journal.append([known])
            self._known["written", at, at] = known
        self._count(known, "proposing")
        return known.answer or ""

    def _count(self, sample: SampleRecord, who: str) -> None:
        tokens = _tokens(sample) if sample.error is None else 0
        self.calls += 1
        self.tokens = None if tokens is None or self.tokens is None else self.tokens + tokens
        if self.tokens is None and self.unit == "tokens":
            hint = "Give the budget in calls, e.g. prompt: {budget: 2000}"
            raise EngineError(Problem("prompt.budget", "is in tokens, and the engine does not count them", next=hint))
        self._written += sample.tokens_out or 0
        self._bar.advance(1 if self.unit == "calls" else tokens or 0, who)


def _tokens(sample: SampleRecord) -> int | None:
    if sample.tokens_in is None or sample.tokens_out is None:
        return None
    return sample.tokens_in + sample.tokens_out
