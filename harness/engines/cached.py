"""Answers by content: what was asked once, of the same weights under the same conditions, is not asked again.

The key is everything that an answer depends on: digests of the base model and the adapter (never their names),
the turns or the text (the chat template that renders them is part of the conditions), all decoding parameters with
the seed, and the engine with its version, number type, device and flags. Only whole answers are kept; a failed call
is asked again. The file lies under HARNESS_HOME and is shared by all experiments. It may be deleted at any time: it
saves calls and is evidence of nothing, since every sample that rests on it is in the store too.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness import artifacts
from harness.engines.base import Adapter, Answer, Engine, Request
from harness.errors import EngineError
from harness.records import digest

FILE: Final = "answers.sqlite"
WRITE_S: Final = 0.5
"""How often new answers are written, in seconds: what a kill loses here is in the run's journal."""
AT_ONCE: Final = 500
"""Keys a query; SQLite takes some thousand parameters."""


class Answers:
    """The file of answers. A fault of it is told once and it is left aside: answers are right without it."""

    def __init__(self, path: Path, note: Callable[[str], None] = lambda text: None) -> None:
        self._path, self._note = path, note
        self._lock = threading.Lock()
        self._written = time.monotonic()
        self._new: list[tuple[str, str]] = []
        self._open: sqlite3.Connection | None = None
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open = sqlite3.connect(path, timeout=30, check_same_thread=False)
            self._open.execute("PRAGMA journal_mode=WAL")
            self._open.execute("PRAGMA synchronous=NORMAL")
            self._open.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")

    def find(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers that are there."""
        found: dict[str, Answer] = {}
        with self._lock, self._told():
            for start in range(0, len(keys) if self._open else 0, AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, answer FROM answers WHERE key IN ({marks})"  # noqa: S608  marks alone
                assert self._open is not None  # noqa: S101  the range is empty otherwise
                for key, text in self._open.execute(query, part):
                    found[key] = _answer(text)
        return found

    def keep(self, key: str, answer: Answer) -> None:
        """Keep one whole answer.

        Answers are gathered and written in one short transaction: one that stayed open while a model computes would
        make every other experiment wait for its file.
        """
        with self._lock, self._told():
            if self._open is not None:
                self._new.append((key, _text(answer)))
                if time.monotonic() - self._written >= WRITE_S:
                    self._write()

    def flush(self) -> None:
        """Write what is new."""
        with self._lock, self._told():
            if self._open is not None:
                self._write()

    def close(self) -> None:
        """Write what is new and close. Safe to call twice."""
        self.flush()
        if self._open is not None:
            self._open.close()
            self._open = None

    def _write(self) -> None:
        assert self._open is not None  # noqa: S101  callers looked
        with self._open:  # a transaction, committed at its end
            self._open.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", self._new)
        self._new.clear()
        self._written = time.monotonic()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as fault:
            if self._open is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._open.close()
            self._open = None
            self._note(f"the cache of answers {self._path} is left aside: {fault}. Delete it to have a new one.")


class CachedEngine(Engine):
    """An engine that asks the one inside only what it was never asked before."""

    def __init__(self, engine: Engine, model_digest: str, answers: Answers) -> None:
        self._engine, self._answers = engine, answers
        self._model = model_digest
        self._adapters: dict[str, str] = {}
        self.conditions, self.concurrent = engine.conditions, engine.concurrent
        self.hits = 0
        """Answers that were there already."""

    @property
    def inside(self) -> Engine:
        """The engine itself: what proves something of it must not be told what it once said."""
        return self._engine

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answer all requests; see the protocol. What is known comes first, marked `cached`."""
        common = {name: self._common(name) for name in {request.adapter for request in requests}}
        keys = [_key(common[request.adapter], request) for request in requests]
        known = self._answers.find(keys)
        owed = [index for index, key in enumerate(keys) if key not in known]
        for index, key in enumerate(keys):
            if key in known:
                self.hits += 1
                yield index, replace(known[key], cached=True)
        if owed:
            try:
                for at, answer in self._engine.answer([requests[index] for index in owed]):
                    if answer.error is None:
                        self._answers.keep(keys[owed[at]], answer)
                    yield owed[at], answer
            finally:  # also when who asks has heard enough
                self._answers.flush()

    def _common(self, adapter: str | None) -> str:
        """What all keys of one model have in common: its weights, and under what it answers."""
        if adapter is not None and adapter not in self._adapters:
            raise EngineError(f"no adapter {adapter!r} is loaded; loaded: {', '.join(self._adapters) or 'none'}.")
        who = [self._model, self._adapters[adapter] if adapter is not None else None]
        return digest([*who, self.conditions.model_dump(mode="json")])

    def load_adapter(self, adapter: Adapter) -> None:
        """Serve one more adapter; it is known by the digest of its folder from now on."""
        self._engine.load_adapter(adapter)
        self.concurrent = self._engine.concurrent
        self._adapters[adapter.name] = artifacts.digest_folder(Path(adapter.path))

    def close(self) -> None:
        """Close the engine inside and the file."""
        self._engine.close()
        self._answers.close()


def uncached(engine: Engine) -> Engine:
    """The engine that answers anew whatever it was asked before."""
    return engine.inside if isinstance(engine, CachedEngine) else engine


def _key(common: str, request: Request) -> str:
    asked: list[Any] = [
        common,
        [[turn.role, turn.content] for turn in request.messages],
        request.text,
        request.choices,
        request.decoding.model_dump(mode="json"),
    ]
    return digest(asked)


KEPT: Final = ("text", "logprobs", "greedy", "finish", "tokens_in", "tokens_out", "latency_s")
"""Fields of an answer that are kept: all but the fault, of which there is none, and where it came from."""


def _text(answer: Answer) -> str:
    return json.dumps({name: getattr(answer, name) for name in KEPT}, ensure_ascii=False, separators=(",", ":"))


def _answer(text: str) -> Answer:
    fields = json.loads(text)
    for name in ("logprobs", "greedy"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    return Answer(**fields)
