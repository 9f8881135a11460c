"""Failed calls of a prompt search: whether the service fails, or what is asked.

A search must not take an outage for a bad prompt: the prompt would fall for good. So no failed call counts before it
was asked again, and before calls that were answered earlier were answered once more. The search ends, and can go on
later, where those fail too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.engines.base import Engine, Request
from harness.engines.cached import uncached
from harness.errors import EngineError, Problem
from harness.evaluate.together import Asking
from harness.records import Decoding, Item, Message, Prompt, SampleRecord

CONTROLS = 4
"""Calls that were answered earlier and are asked again when others fail: one alone could be lucky."""
REPAIR = "Repair the service (see the logs folder of the experiment) and run again: only what is owed is asked"

Ask = Callable[[Sequence[Asking]], Iterable[tuple[int, SampleRecord]]]


class Outage(EngineError):
    """The service fails, whatever it is asked."""


class Repeats:
    """Asks failed calls again, and tells an outage from a prompt that fails. Not counted in any budget."""

    def __init__(self, ask: Ask, afresh: Ask) -> None:
        """afresh: asks as `ask` does, but no cache of answers and no judge's memory tells what was said before."""
        self._ask, self._afresh = ask, afresh
        self._controls: list[tuple[Prompt, Decoding, Item]] = []

    def answered(self, prompt: Prompt, decoding: Decoding, item: Item) -> None:
        """Note that this was answered: it can be asked again, to see whether the service answers."""
        if len(self._controls) < CONTROLS:
            self._controls.append((prompt, decoding, item))

    def again(
        self, asked: Sequence[Asking], failed: dict[tuple[int, str], SampleRecord]
    ) -> Iterator[tuple[int, SampleRecord]]:
        """Answers that come after all, as (index into asked, sample); until a pass brings none.

        failed: by (index into asked, item id); what stays in it fails because of what it asks. Raises Outage when the
        service fails.
        """
        while failed:
            self._control(failed)
            owed = [
                (prompt, decoding, [item for item in items if (index, item.id) in failed])
                for index, (prompt, decoding, items) in enumerate(asked)
            ]
            before = len(failed)
            for index, sample in self._ask(owed):
                failed[index, sample.id] = sample
                if sample.error is None:
                    del failed[index, sample.id]
                    yield index, sample
            if len(failed) == before:
                return

    def _control(self, failed: dict[tuple[int, str], SampleRecord]) -> None:
        last = list(failed.values())[-1].error
        if not self._controls:
            raise Outage(Problem("prompt search", f"no arm got an answer: {last}", next=REPAIR))
        asking = [(prompt, decoding, [item]) for prompt, decoding, item in self._controls]
        faults = [sample.error for _, sample in self._afresh(asking) if sample.error is not None]
        if faults:
            what = f"{len(failed)} calls failed, the last with: {last}"
            what += f"; asked again, so did {len(faults)} of {len(asking)} that were answered before: {faults[-1]}"
            raise Outage(Problem("prompt search", what, next=REPAIR))


def unwritten(writer: Engine, fault: str | None) -> EngineError:
    """What to raise where a model wrote nothing: an Outage when it does not answer a plain greeting either."""
    greeting = Request(Decoding(max_tokens=8), messages=(Message(role="user", content="Say hello."),))
    ((_, answer),) = uncached(writer).answer([greeting])
    kind = EngineError if answer.error is None else Outage
    return kind(Problem("prompt search", f"the proposing model gave no text: {fault}", next=REPAIR))
