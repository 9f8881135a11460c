"""The meter: every model call of a prompt search goes through it, is counted, and is durable once it is answered.

All searches share it, so one budget means the same to each of them, a killed search goes on where it was, and
`prompt.json` can tell of every arm what it was asked and what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import stdev

from harness.chat import Found, Library, chat
from harness.engines import refusal
from harness.engines.base import Engine, Request
from harness.errors import EngineError, Problem
from harness.evaluate.together import Asking, ask_afresh, ask_together
from harness.progress import Bar
from harness.prompts.arms import Arm, Asked, Owed, Sheet, part
from harness.prompts.faults import Repeats, unwritten
from harness.records import Constraint, Decoding, Item, Message, SampleRecord, digest
from harness.store import ExperimentStore, Journal
from harness.suites import Task

__all__ = ["CARE", "JOURNAL", "Arm", "Asked", "Meter", "Sheet", "Spent"]

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
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """writer: who writes instruction variants, where that is not the base model; proposer: what it is called.

        note: takes a line that a person should see.
        """
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
        self._journal, self._bar, self._writer, self.note = journal, bar, writer, note
        self._repeats = Repeats(self._asked, lambda asking: ask_afresh(engine, task, asking, library))
        self._characters = self._written = 0
        """Characters of all prompts answered so far, and tokens of all answers: they say what a new prompt takes."""
        lines = store.journal_lines(JOURNAL, SampleRecord)
        self._known = {(s.task, s.id, s.item_digest): s for s in lines if s.error is None}

    @property
    def metric(self) -> str:
        """The metric that is optimised."""
        return self._task.metrics[0]

    def refusal(self, constraint: Constraint) -> str:
        """Why the engine cannot enforce the constraint, which a person is told; empty where it can."""
        if why := refusal(self._engine.conditions, constraint):
            self.note(f"No constrained answers are tried: {why}")
        return why

    @property
    def left(self) -> int:
        """What is left of the budget, in its unit."""
        return self.budget - (self.calls if self.unit == "calls" else self.tokens or 0)

    def cost(self, arm: Arm, items: Sequence[Item]) -> int:
        """What asking an arm these items would take from the budget: nothing for those it was asked before.

        In calls exactly. In tokens a careful estimate: a tenth more than the arm's mean so far, and a standard error of
        what it foretells; before its first answer, by the length of its prompts and what a character took so far.
        """
        sheet, owed = self.sheets.get(arm.key), self._fresh(arm, items)
        if self.unit == "calls" or not owed:
            return len(owed)
        own = [tokens for s in sheet.samples.values() if (tokens := _tokens(s)) is not None] if sheet else []
        mean = sum(own) / len(own) if own else self._foreseen(arm, owed)
        error = stdev(own) * len(owed) * math.sqrt(1 / len(own) + 1 / len(owed)) if len(own) > 1 else 0.0
        return math.ceil(CARE * len(owed) * mean + error)

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

    def ask(self, arm: Arm, items: Sequence[Item], *, to_the_end: bool = False) -> list[SampleRecord]:
        """One arm's answers to the items, in their order; see `ask_together`."""
        return self.ask_together([(arm, items)], to_the_end=to_the_end)[0]

    def ask_together(
        self, asked: Sequence[tuple[Arm, Sequence[Item]]], *, to_the_end: bool = False
    ) -> list[list[SampleRecord]]:
        """Each arm's answers to its items, in their order, in one call to the engine.

        What an arm was asked before is not asked or counted again, nor is an arm that stands there twice; an answer
        from an earlier sitting is taken over, and counted: the search takes the same path. Tokens are foreseen: where
        all of it may take more than half of what is left, it is asked in parts, and each says more of what the next
        takes. to_the_end: whatever is left of the budget. Raises Spent when the budget does not hold all of it, before
        anything is asked or, in tokens, after a part; Outage when the service fails, other EngineErrors when the
        engine is gone.
        """
        wanted: dict[str, tuple[Arm, dict[str, Item]]] = {}
        for arm, items in asked:
            wanted.setdefault(arm.key, (arm, {}))[1].update({item.id: item for item in items})
        owed = [(arm, self._fresh(arm, items.values())) for arm, items in wanted.values()]
        while True:
            costs = [self.cost(arm, items) for arm, items in owed]
            if not to_the_end and sum(costs) > max(0, self.left):
                raise Spent
            whole = self.unit == "calls" or 2 * sum(costs) <= self.left
            now, owed = (owed, []) if whole else part(owed, costs, self.left // 2)
            self._take(now)
            if not owed:
                return [[self.sheets[arm.key].samples[item.id] for item in items] for arm, items in asked]

    def _fresh(self, arm: Arm, items: Iterable[Item]) -> list[Item]:
        """Those that the arm was not asked yet."""
        sheet = self.sheets.get(arm.key)
        return [item for item in items if sheet is None or item.id not in sheet.samples]

    def _take(self, owed: Owed) -> None:
        """Ask what was not asked before, and put the answers on the arms' sheets."""
        sheets = [self.sheets.setdefault(arm.key, Sheet(arm)) for arm, _ in owed]
        before = (self.calls, self.tokens)
        found = self._answers([arm for arm, _ in owed], [items for _, items in owed])
        for sheet, (_, items), answers in zip(sheets, owed, found, strict=True):
            sheet.samples |= {item.id: answers[item.id] for item in items}
            before = self._remember(sheet.arm, items, answers, *before)

    def _answers(self, arms: Sequence[Arm], fresh: Sequence[Sequence[Item]]) -> list[dict[str, SampleRecord]]:
        """Answers by item id, an entry per arm: those of earlier sittings, and what is owed from the engine."""
        found: list[dict[str, SampleRecord]] = []
        owed: list[list[Item]] = []
        for arm, items in zip(arms, fresh, strict=True):
            known = {item.id: self._known.get((arm.key, item.id, item.digest)) for item in items}
            found.append({id: sample for id, sample in known.items() if sample is not None})
            owed.append([item for item in items if known[item.id] is None])
            for item in items:
                if (sample := known[item.id]) is not None:
                    self._repeats.answered(arm.prompt, arm.decoding, item)
                    self._count(sample, arm.prompt.name)
        asking = [(arm.prompt, arm.decoding, items) for arm, items in zip(arms, owed, strict=True)]
        places = [{item.id: item for item in items} for items in owed]
        failed: dict[tuple[int, str], SampleRecord] = {}

        def keep(index: int, sample: SampleRecord) -> None:
            kept = sample.model_copy(update={"task": arms[index].key})
            found[index][kept.id] = kept
            self._journal.append([kept])
            self._count(kept, arms[index].prompt.name)

        for index, sample in self._asked(asking):
            if sample.error is not None:
                failed[index, sample.id] = sample
                continue
            self._repeats.answered(arms[index].prompt, arms[index].decoding, places[index][sample.id])
            keep(index, sample)
        for index, sample in self._repeats.again(asking, failed):
            keep(index, sample)
        for (index, _), sample in failed.items():
            keep(index, sample)
        return found

    def _asked(self, asking: Sequence[Asking]) -> Iterator[tuple[int, SampleRecord]]:
        return ask_together(self._engine, self._task, asking, self._library)

    def _remember(
        self, arm: Arm, items: Sequence[Item], answers: Mapping[str, SampleRecord], calls: int, tokens: int | None
    ) -> tuple[int, int | None]:
        """Note that an arm was asked, after so many calls and tokens; returns what they are afterwards."""
        counts = [_tokens(answers[item.id]) if answers[item.id].error is None else 0 for item in items]
        known = [count for count in counts if count is not None]
        calls += len(items)
        tokens = None if tokens is None or len(known) < len(counts) else tokens + sum(known)
        if items:
            self.history.append(Asked(calls, tokens, arm.key, tuple(item.id for item in items)))
        if self.unit == "tokens":
            answered = [item for item in items if answers[item.id].error is None]
            self._characters += sum(self._lengths(arm, answered).values())
        return calls, tokens

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
                raise unwritten(writer or self._engine, answer.error)
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
