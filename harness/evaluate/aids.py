"""What metrics may use while answers are scored: running them in the sandbox, and the judge behind its endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from urllib.parse import urlsplit

from harness import metrics
from harness.engines import Engine, open_endpoint
from harness.engines.base import Request
from harness.metrics import JudgeSpec, Unscored, sandbox
from harness.metrics.tools import Ask
from harness.records import Decoding, Message


@contextmanager
def aided(
    allow_code_execution: bool, judge: JudgeSpec | None, note: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Inside the block metrics may run code and ask the judge, as far as the spec says so.

    Raises HarnessError where this machine cannot hold code, EngineError when the judge's server cannot be had.
    """
    with ExitStack() as stack:
        made = None
        if judge is not None:
            engine = stack.enter_context(open_endpoint(judge.url, judge.model, judge.key_env, note))
            name = f"{judge.model} at {urlsplit(judge.url).hostname}"
            made = metrics.Judge(name, _asking(engine, judge.max_tokens), judge.rubric)
            note(f"judge: {name}")
        if allow_code_execution:
            sandbox.refuse_unless_held()
            held = metrics.protection()
            note(f"answers may be run; held by: network {held.network}, files {held.files}")
        stack.enter_context(metrics.using(metrics.Tools(allow_code_execution, made)))
        yield


def _asking(engine: Engine, max_tokens: int) -> Ask:
    decoding = Decoding(max_tokens=max_tokens)

    @lru_cache(maxsize=100_000)  # candidates often give one answer; an exception is not kept
    def ask(instruction: str, question: str) -> str:
        turns = (Message(role="system", content=instruction), Message(role="user", content=question))
        [(_, answer)] = engine.answer([Request(decoding, messages=turns)])
        if answer.error is not None or answer.text is None:
            raise Unscored(f"judge: {answer.error or 'no answer'}", fault=True)
        return answer.text

    return ask
