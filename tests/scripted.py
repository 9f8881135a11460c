"""An engine that answers from a function: for the logic of evaluation and prompt race, never for a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.engines.base import Adapter, Answer, Engine, Request
from harness.errors import EngineError
from harness.records import Conditions


class Scripted(Engine):
    """Answers with `reply(request)`; counts its calls; dies after `dies_after` of them."""

    conditions = Conditions(
        engine="scripted", engine_version="1", dtype="none", device="none", chat_template_digest=None
    )

    concurrent = False

    def __init__(self, reply: Callable[[Request], Answer], dies_after: int | None = None) -> None:
        self._reply = reply
        self._dies_after = dies_after
        self.calls = 0

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for index, request in enumerate(requests):
            if self._dies_after is not None and self.calls >= self._dies_after:
                raise EngineError("scripted death")
            self.calls += 1
            yield index, self._reply(request)

    def load_adapter(self, adapter: Adapter) -> None:
        raise EngineError("no adapters here")

    def close(self) -> None:
        pass


def text(answer: str) -> Answer:
    """A generated answer."""
    return Answer(text=answer, finish="stop", tokens_in=1, tokens_out=1, latency_s=0.0)
