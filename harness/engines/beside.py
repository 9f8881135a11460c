"""Candidates that the engine cannot serve, beside it: each with an engine of its own, behind one face.

An adapter whose folder `OPENERS` knows is opened by what stands there and answers by itself; all others, and the base
model, are the main engine's. So whoever asks needs not know which is which.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.engines.base import Adapter, Answer, Engine, Request
from harness.errors import EngineError
from harness.models import LocalModel
from harness.models.labelling import Labeller, is_classifier, open_labeller


class ClassifierEngine(Engine):
    """A label head over the base model, in process: the answer is the likeliest label's text."""

    concurrent = False

    def __init__(self, labeller: Labeller, main: Engine) -> None:
        """main: whose conditions its answers are recorded under."""
        self._labeller: Labeller | None = labeller
        self._lock = threading.Lock()
        self.conditions = main.conditions

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`. What is no question in turns is answered with an error: a head writes no text."""
        asked = [at for at, one in enumerate(requests) if one.messages and not one.choices]
        for at in sorted(set(range(len(requests))) - set(asked)):
            yield at, Answer(error="a classifier answers questions of its task alone: no plain text, no likelihoods")
        if not asked:
            return
        with self._lock:
            if self._labeller is None:
                raise EngineError("the engine is closed")
            started = time.monotonic()
            found = self._labeller.label([requests[at].messages for at in asked])
            seconds = time.monotonic() - started
        for at, (label, tokens) in zip(asked, found, strict=True):
            yield at, Answer(text=label, finish="stop", tokens_in=tokens, tokens_out=0, latency_s=seconds)

    def load_adapter(self, adapter: Adapter) -> None:
        """A head has none."""
        raise EngineError(f"a classifier takes no adapter {adapter.name!r}")

    def close(self) -> None:
        """Free the model."""
        self._labeller = None


class Beside(Engine):
    """A main engine, and those of candidates that it cannot serve."""

    def __init__(self, main: Engine, model: LocalModel) -> None:
        self._main, self._model = main, model
        self._own: dict[str, Engine] = {}
        self.conditions, self.concurrent = main.conditions, main.concurrent

    @property
    def main(self) -> Engine:
        """The engine of base model and adapters."""
        return self._main

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`."""
        owners: dict[str | None, list[int]] = {}
        for at, request in enumerate(requests):
            owners.setdefault(request.adapter if request.adapter in self._own else None, []).append(at)
        for owner, places in owners.items():
            engine = self._main if owner is None else self._own[owner]
            for at, answer in engine.answer([requests[place] for place in places]):
                yield places[at], answer

    def load_adapter(self, adapter: Adapter) -> None:
        """Serve one more candidate: by an engine of its own where its folder says so."""
        for knows, opens in OPENERS.items():
            if knows(Path(adapter.path)):
                self._own[adapter.name] = opens(self._model, adapter, self._main)
                return
        self._main.load_adapter(adapter)

    def close(self) -> None:
        """Close all of them."""
        for engine in (*self._own.values(), self._main):
            engine.close()
        self._own = {}


def _open_classifier(model: LocalModel, adapter: Adapter, main: Engine) -> Engine:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "bfloat16" if device == "cuda" else "float32"
    return ClassifierEngine(open_labeller(model, Path(adapter.path), dtype, device), main)


OPENERS: Final[Mapping[Callable[[Path], bool], Callable[[LocalModel, Adapter, Engine], Engine]]] = {
    is_classifier: _open_classifier
}
"""Whether a candidate's folder is of a kind, and what opens it."""
