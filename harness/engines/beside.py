"""Candidates that the engine cannot serve, beside it: each with an engine of its own, behind one face.

A label head is opened over the base model in process, a whole model by an engine like the main one; all other
candidates, and the base model, are the main engine's. So whoever asks needs not know which is which.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness import machine
from harness.engines.base import Adapter, Answer, Engine, Request
from harness.errors import EngineError, Problem
from harness.models import LocalModel
from harness.models.folder import describe
from harness.models.labelling import Labeller, is_classifier, open_labeller
from harness.records import Conditions

ROOM: Final = 3
"""Memory of an engine on a CPU, in sizes of its weights' files: they may be stored in fewer bits than served."""
SERVER: Final = 3 << 30
"""Bytes beside the weights: libraries, keys and values of the rows in flight."""


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
    """A main engine, and those of candidates that it cannot serve: label heads, and whole models.

    A whole model gets an engine like the main one when it is first asked, under the same conditions. Where both would
    not fit this machine, and always on a GPU, of which each takes what it can get, only one of them runs at a time.
    """

    def __init__(self, main: Engine, model: LocalModel, another: Callable[[LocalModel], Engine] | None = None) -> None:
        """another: opens an engine like `main` on a model; None where whole models are the main engine's too."""
        self._main: Engine | None = main
        self._model, self._another = model, another
        self._loaded: list[Adapter] = []
        self._models: dict[str, LocalModel] = {}
        self._own: dict[str, Engine] = {}
        self.conditions, self.concurrent = main.conditions, main.concurrent

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See `Engine.answer`. Those that run already answer first."""
        owners: dict[str | None, list[int]] = {}
        for at, request in enumerate(requests):
            own = request.adapter in self._own or request.adapter in self._models
            owners.setdefault(request.adapter if own else None, []).append(at)
        for owner in sorted(owners, key=lambda one: self._up(one) is None):
            engine, places = self._running(owner), owners[owner]
            asked = [requests[place] for place in places]
            if owner in self._models:  # to its own engine it is the base model
                asked = [replace(request, adapter=None) for request in asked]
            for at, answer in engine.answer(asked):
                yield places[at], answer

    def load_adapter(self, adapter: Adapter) -> None:
        """Serve one more candidate: by an engine of its own where its folder says so."""
        path = Path(adapter.path)
        if not adapter.remote and is_classifier(path):
            self._own[adapter.name] = _open_classifier(self._model, path, self._running(None))
        elif not adapter.remote and self._another is not None and is_model(path):
            self._models[adapter.name] = describe(adapter.name, path, None, self._model.ref.remote_code)
            self.concurrent = self.concurrent and self._fits(self._models[adapter.name])
        else:
            self._running(None).load_adapter(adapter)
            self._loaded.append(adapter)

    def close(self) -> None:
        """Close all of them. Safe to call twice."""
        for engine in (*self._own.values(), self._main):
            if engine is not None:
                engine.close()
        self._own, self._models, self._main, self._another = {}, {}, None, None

    def _up(self, owner: str | None) -> Engine | None:
        return self._main if owner is None else self._own.get(owner)

    def _running(self, owner: str | None) -> Engine:
        """The engine of a candidate, or the main one; opened now where it is not up."""
        if (running := self._up(owner)) is not None:
            return running
        if self._another is None:
            raise EngineError("the engine is closed")
        model = self._model if owner is None else self._models[owner]
        if not self._fits(model):
            self._make_room()
        engine = self._another(model)
        try:
            self._same_conditions(engine.conditions, owner)
            for adapter in self._loaded if owner is None else ():
                engine.load_adapter(adapter)
        except BaseException:  # Ctrl-C too must not leave a server behind; it is raised again
            engine.close()
            raise
        if owner is None:
            self._main = engine
        else:
            self._own[owner] = engine
        return engine

    def _fits(self, model: LocalModel) -> bool:
        """Whether a model's engine can run beside those that do."""
        free = machine.available_bytes()
        size = sum(file.stat().st_size for file in model.path.glob("*.safetensors"))
        return self.conditions.device == "cpu" and free is not None and free > ROOM * size + SERVER

    def _make_room(self) -> None:
        """Close the main engine and those of whole models."""
        for name in self._models.keys() & self._own.keys():
            self._own.pop(name).close()
        if self._main is not None:
            self._main.close()
            self._main = None

    def _same_conditions(self, found: Conditions, owner: str | None) -> None:
        """Raise EngineError where answers of this engine and of the first one could not be compared."""
        got, wanted = found.model_dump(), self.conditions.model_dump()
        who = owner or "the base model"
        problems = [
            Problem(f"{who}: conditions.{name}", f"{got[name]!r}, and {wanted[name]!r} for whom it is compared with")
            for name in wanted
            if got[name] != wanted[name]
        ]
        if problems:
            raise EngineError(problems)


def is_model(folder: Path) -> bool:
    """Whether a folder holds a whole model."""
    return (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()


def _open_classifier(model: LocalModel, folder: Path, main: Engine) -> Engine:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "bfloat16" if device == "cuda" else "float32"
    return ClassifierEngine(open_labeller(model, folder, dtype, device), main)
