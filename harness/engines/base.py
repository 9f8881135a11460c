"""The engine protocol: what every way of asking a model must offer.

An engine answers for the base model and for any number of adapters on it, under
one set of conditions. Answers come back as they finish, in any order, each with
the index of its request, so that the caller can make every sample durable at
once. A call that fails for good is an answer with `error` set, never an
exception and never an empty text; an exception means the engine itself is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from harness.errors import EngineError
from harness.records import Conditions, Decoding, Message


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the model. Exactly one of `messages` and `text` is given."""

    decoding: Decoding
    messages: tuple[Message, ...] = ()
    """Chat turns; rendered with the model's chat template and a generation prompt."""
    text: str | None = None
    """Plain text, sent as it stands."""
    choices: tuple[str, ...] = ()
    """When given, nothing is generated: the log-likelihood of each choice after `text`."""
    adapter: str | None = None
    """Name of the adapter that answers; None for the base model."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    text: str | None = None
    """Generated text without the end-of-turn token and stop strings; None for choices or on error."""
    logprobs: tuple[float, ...] | None = None
    """Summed log-likelihood (nats) per choice."""
    greedy: bool | None = None
    """A single choice: whether each of its tokens is the likeliest one, so that greedy decoding would write it.
    None where it was not asked or the engine cannot tell."""
    finish: str | None = None
    """`stop` or `length`."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    """Seconds for this answer; inside a batch, the batch's seconds."""
    error: str | None = None
    """Why there is no answer."""
    cached: bool = False
    """Whether it was given earlier and is only told again."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the engine shall serve beside the base model: an adapter, or what else a training made."""

    name: str
    """Name by which requests ask for it, unique in the engine."""
    path: str
    """Folder with `adapter_model.safetensors` and `adapter_config.json`; of a whole model or a label head, its own."""
    remote: str = ""
    """Name by which a server that runs elsewhere knows it; then there is no folder here."""


class Engine(Protocol):
    """One running engine. Use as a context manager; `close` leaves nothing behind.

    Engines name this class as their base, which brings them the context manager.
    """

    conditions: Conditions
    """Under what it answers; goes into every run record."""
    concurrent: bool
    """Whether requests to base model and adapters are in flight together; else those to one wait for the other's."""

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer all requests, to the base model and to adapters as each of them says.

        Yields (index into requests, answer) as each finishes. Raises EngineError when
        the engine cannot go on; answers yielded before are valid.
        """
        ...

    def load_adapter(self, adapter: Adapter) -> None:
        """Serve one more adapter beside the base model. Raises EngineError."""
        ...

    def close(self) -> None:
        """Stop, free memory, end child processes. Safe to call twice."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_unknown(requests: Sequence[Request], loaded: Collection[str]) -> None:
    """Raise EngineError for a request to an adapter that is not loaded."""
    for name in {request.adapter for request in requests} - {None, *loaded}:
        raise EngineError(f"no adapter {name!r} is loaded; loaded: {', '.join(loaded) or 'none'}.")
