"""Calls that mostly wait, several under way at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Fault:
    error: BaseException


def in_threads(work: Callable[[T], R], jobs: Iterable[T], at_once: int) -> Iterator[R]:
    """What `work` makes of each job, in any order, at most `at_once` of them under way; jobs are taken as they come.

    What is made is handed on with the next job, or when all threads are busy, or when no job is left. The first
    exception is raised here. Who stops early waits for nobody: what is under way ends by itself, and is dropped.
    """
    owed: SimpleQueue[tuple[T] | None] = SimpleQueue()
    made: SimpleQueue[R | _Fault] = SimpleQueue()
    stopped = threading.Event()

    def worker() -> None:
        while (job := owed.get()) is not None and not stopped.is_set():
            try:
                made.put(work(*job))
            except BaseException as error:  # a thread's error belongs to the caller, who raises it
                made.put(_Fault(error))

    def taken() -> R:
        one = made.get()
        if isinstance(one, _Fault):
            raise one.error
        return one

    threads = under_way = 0
    try:
        for job in jobs:
            owed.put((job,))
            under_way += 1
            if under_way > threads:
                threading.Thread(target=worker, daemon=True).start()
                threads += 1
            while under_way >= at_once or not made.empty():
                yield taken()
                under_way -= 1
        for _ in range(under_way):
            yield taken()
    finally:
        stopped.set()
        for _ in range(threads):
            owed.put(None)
