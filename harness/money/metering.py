"""The meter of one sitting: what it takes is kept as it goes on, and a budget that is spent ends it cleanly.

All long work tells progress after what it made is safe: an answer in its journal, a training step. So the meter stands
where progress goes, looks at the budget with every step that is told, and what it stops is all there.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Self

from harness.engines.base import Adapter, Answer, Engine, Request
from harness.errors import BudgetError, Problem
from harness.money.reckoning import Span
from harness.money.spending import service_cost, spent, whole
from harness.progress import Bar, Progress
from harness.records import PricesRecord, SpendingRecord, TrainingRecord
from harness.store import ExperimentStore

EVERY_S: Final = 30.0
"""Seconds after which what was taken is written, whatever else happens: the most that a kill leaves uncounted."""
BEFORE: Final = "start"


class Meter:
    """Progress that counts: a context manager around a sitting. Whatever ends it, its last line is written."""

    def __init__(self, folder: ExperimentStore, prices: PricesRecord, progress: Progress) -> None:
        self._folder, self._prices, self._progress = folder, prices, progress
        self._lock = threading.Lock()
        self._stage, self._told_at = BEFORE, time.monotonic()
        self._tokens, self._asked = [0, 0], 0.0
        self._before: tuple[SpendingRecord, ...] = ()

    def __enter__(self) -> Self:
        self._before = tuple(self._folder.spent())
        pin(self._folder, self._prices)
        self._told_at = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    @property
    def hour_price(self) -> float | None:
        """Price of the machine's hour, the middle of its range; None: not known."""
        return None if self._prices.machine is None else self._prices.machine.middle

    # ------------------------------------------------------------------ progress

    def stage(self, title: str) -> None:
        """A new stage begins, if the budget allows it."""
        self._write()
        self._stage, self._asked = title, service_cost(self._folder.read(TrainingRecord))
        self._look()
        self._progress.stage(title)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._progress.note(text)

    @contextmanager
    def bar(self, label: str, total: int, done: int = 0) -> Iterator[Bar]:
        """See `Progress`; every step looks at the budget."""
        with self._progress.bar(label, total, done) as inside:
            yield _MeteredBar(inside, self._step)

    def _step(self) -> None:
        if time.monotonic() - self._told_at >= EVERY_S:
            self._write()
        self._look()

    # -------------------------------------------------------------------- budget

    def _look(self) -> None:
        """Raise BudgetError when a limit is reached."""
        prices = self._prices
        if prices.max_hours is None and prices.max_cost is None:
            return
        lines = [*self._before, self._line()]
        seconds, parts = sum(line.seconds for line in lines), spent(lines, prices)
        cost = whole(parts) if parts else Span(0.0, 0.0, 0.0)
        if prices.max_hours is not None and seconds >= 3600 * prices.max_hours:
            raise self._over("max_hours", f"{seconds / 3600:.3g} of {prices.max_hours:g} hours are spent")
        if cost is not None and self._asked:
            cost = cost.and_(Span(self._asked, self._asked, self._asked))
        if prices.max_cost is not None and cost is not None and cost.high >= prices.max_cost:
            limit = f"{prices.max_cost:g} {prices.currency}".rstrip()
            told = f"{cost.high:,.2f} of {limit} are spent, at the high end of the prices"
            raise self._over("max_cost", told)

    def _over(self, key: str, told: str) -> BudgetError:
        hint = f"Everything made so far is kept; raise budget.{key}, and the same command goes on from here"
        return BudgetError(Problem(f"budget.{key}", f"{told}, in the stage {self._stage!r}", next=hint))

    # --------------------------------------------------------------------- lines

    def _line(self) -> SpendingRecord:
        return SpendingRecord(
            stage=self._stage,
            seconds=round(time.monotonic() - self._told_at, 3),
            tokens_in=self._tokens[0],
            tokens_out=self._tokens[1],
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _write(self) -> None:
        with self._lock:
            line, now = self._line(), time.monotonic()
            if line.seconds or line.tokens_in or line.tokens_out:
                self._folder.spend(line)
            self._before += (line,)
            self._tokens, self._told_at = [0, 0], now

    def engine(self, engine: Engine) -> Engine:
        """The engine, its tokens counted where a server elsewhere answers; this machine's own are paid by the hour."""
        return CountedEngine(engine, self.tokens) if engine.conditions.engine == "openai" else engine

    def tokens(self, read: int, written: int) -> None:
        """So many more tokens were answered elsewhere."""
        with self._lock:
            self._tokens[0] += read
            self._tokens[1] += written


class _MeteredBar:
    def __init__(self, inside: Bar, look: Callable[[], None]) -> None:
        self._inside, self._look = inside, look

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._inside.advance(steps, note)
        self._look()


class CountedEngine(Engine):
    """An engine whose tokens are counted."""

    def __init__(self, inside: Engine, count: Callable[[int, int], None]) -> None:
        self._inside, self._count = inside, count
        self.conditions, self.concurrent = inside.conditions, inside.concurrent

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """See the protocol."""
        for index, answer in self._inside.answer(requests):
            self._count(answer.tokens_in or 0, answer.tokens_out or 0)
            yield index, answer

    def load_adapter(self, adapter: Adapter) -> None:
        """See the protocol."""
        self._inside.load_adapter(adapter)

    def close(self) -> None:
        """See the protocol."""
        self._inside.close()


def pin(folder: ExperimentStore, prices: PricesRecord) -> bool:
    """Write the prices that count from now on, where they are others than before; whether they were."""
    known = [line.prices for line in folder.spent() if line.prices is not None]
    if (known[-1] if known else PricesRecord()) == prices:
        return False
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    folder.spend(SpendingRecord(stage=BEFORE, seconds=0.0, prices=prices, created=created))
    return True
