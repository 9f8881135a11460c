"""What metrics may use while answers are scored: the sandbox, the judge behind its endpoint, embedding models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness import metrics
from harness.engines import Engine, open_endpoint
from harness.engines.base import Request
from harness.errors import ModelError, UsageError
from harness.metrics import JudgeSpec, Unscored, sandbox
from harness.metrics.tools import Ask, Embed
from harness.records import Decoding, Message

REMEMBERED: Final = 100_000
"""Verdicts that are kept in memory."""


@contextmanager
def aided(
    allow_code_execution: bool,
    judge: JudgeSpec | None,
    note: Callable[[str], None] = lambda text: None,
    near: Path | None = None,
) -> Iterator[None]:
    """Inside the block metrics may run code and ask the judge, as far as the spec says so, and embed texts.

    near: where the folder of an embedding model is looked for: the spec's folder.

    Raises HarnessError where this machine cannot hold code, EngineError when the judge's server cannot be had.
    """
    with ExitStack() as stack:
        made = None
        if judge is not None:
            engine = stack.enter_context(open_endpoint(judge.url, judge.model, judge.key_env, note))
            name = f"{judge.model} at {urlsplit(judge.url).hostname}"
            ask = _asking(engine, judge.max_tokens)
            made = metrics.Judge(name, _remembering(ask), judge.rubric, ask)
            note(f"judge: {name}")
        if allow_code_execution:
            sandbox.refuse_unless_held()
            held = metrics.protection()
            note(f"answers may be run; held by: network {held.network}, files {held.files}")
        stack.enter_context(metrics.using(metrics.Tools(allow_code_execution, made, _embedding(near, note))))
        yield


def _embedding(near: Path | None, note: Callable[[str], None]) -> Callable[[str], Embed]:
    @lru_cache(maxsize=2)
    def embedder(model: str) -> Embed:
        from harness.retrieval.embedding import Embedder

        try:
            made = Embedder(model, near, note)
        except (ModelError, UsageError) as fault:  # it speaks of the prompt's retrieval, which is not meant here
            told = [replace(problem, where="metric semantic_similarity") for problem in fault.problems]
            raise type(fault)(told) from fault
        return lambda texts: made.embed(texts, "document")

    return embedder


def _asking(engine: Engine, max_tokens: int) -> Ask:
    decoding = Decoding(max_tokens=max_tokens)

    def ask(instruction: str, question: str) -> str:
        turns = (Message(role="system", content=instruction), Message(role="user", content=question))
        [(_, answer)] = engine.answer([Request(decoding, messages=turns)])
        if answer.error is not None or answer.text is None:
            raise Unscored(f"judge: {answer.error or 'no answer'}", fault=True)
        return answer.text

    return ask


def _remembering(ask: Ask) -> Ask:
    """Asks once what candidates often have in common, also when several threads want it; a failure is not kept."""
    known: dict[tuple[str, str], Future[str]] = {}
    lock = threading.Lock()

    def remembered(instruction: str, question: str) -> str:
        with lock:
            found, said = known.get((instruction, question)), Future[str]()
            if found is None:
                if len(known) >= REMEMBERED:
                    known.pop(next(iter(known)))
                known[instruction, question] = said
        if found is not None:
            return found.result()
        try:
            said.set_result(ask(instruction, question))
        except BaseException as fault:  # whoever waits for it is told too; it is raised again
            with lock:
                known.pop((instruction, question), None)
            said.set_exception(fault)
            raise
        return said.result()

    return remembered
