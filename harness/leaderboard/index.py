"""What every experiment of a store comes to, remembered by the stamps of its files.

A look at a store of thousands of experiments must not read all their records, so what was made of one is kept in a
small SQLite file under HARNESS_HOME and made anew only when a file of that experiment has changed. The file is no
evidence: it is keyed by the store's path and by the code that made it, several processes may use it at once, and
one that is lost, damaged or cannot be written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from harness import artifacts
from harness.errors import HarnessError, Problem, StoreError
from harness.evidence import gather
from harness.leaderboard.answered import BOARD_COLUMNS, answered
from harness.leaderboard.candidates import frame, rows_of
from harness.records import Conditions, ParityRecord
from harness.store import Found, Store

AT_ONCE: Final = 500
"""Names a query; SQLite takes some thousand parameters."""
MADE_BY: Final = ("harness.records", "harness.store", "harness.evidence", "harness.money", "harness.leaderboard")
"""Packages whose code decides what is remembered: with another text of theirs the file is another one."""
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS remembered "
    "(id TEXT PRIMARY KEY, stamp TEXT NOT NULL, fault TEXT NOT NULL, summary TEXT, rows TEXT)"
)


class Index:
    """The experiments of one store. Safe for several threads: one reads the store, all others get what is known."""

    def __init__(self, store: Store, path: Path | None = None) -> None:
        """path: the file; by default under HARNESS_HOME. Nothing is read before `refresh` or `follow`."""
        self._store = store
        self._path = path or place(store)
        self._reader = threading.Lock()  # whoever reads the store
        self._lock = threading.RLock()  # the file and what is known; held for single statements, never while reading
        self._thread: threading.Thread | None = None  # that of `follow`, while it is at work
        self._wanted = False  # whether somebody came since its last look began
        self._fault: Exception | None = None  # what ended that thread, until somebody is told
        self._seen = threading.Event()  # that the store was looked at
        self._found: list[Found] = []
        self._held: dict[str, tuple[str, str]] = {}
        self._frame: tuple[int, pd.DataFrame] | None = None
        self._version, self._owed, self._looked, self._took = 0, 0, 0.0, 0.0
        self._db = self._opened()

    # ------------------------------------------------------------------ making

    def refresh(self, seconds: float = float("inf"), rest: float = 0.0) -> int:
        """Look at the store and read what is new or has changed, the newest first, for about so long.

        rest: no second look before so many times as long has passed as the last one took, so that a reader's clicks
        do not wait for it. Returns how many experiments are still to be read; the frames are without them until then.
        Where another thread is at it, that is told at once.
        """
        until = time.monotonic() + seconds
        if not self._reader.acquire(blocking=False):
            return self._owed
        try:
            if self._rested(rest):
                try:
                    self._bring_up_to_date(until)
                except sqlite3.Error as fault:
                    self._leave(anew=not isinstance(fault, sqlite3.OperationalError))
                    self._bring_up_to_date(until)
        finally:
            self._seen.set()
            self._reader.release()
        return self._owed

    def follow(self, seconds: float, rest: float = 0.0) -> None:
        """`refresh` to its end in a thread of its own, whether or not somebody looks on; see `busy` and `progress`.

        Waits for it for so long at most, and not at all where an earlier call began it and something is known; but
        always for the first look at the store. Raises StoreError, once, where the store could not be looked at.
        """
        with self._lock:
            self._wanted |= self._rested(rest)
            begins = self._wanted and not self.busy()
            if begins:
                self._thread = threading.Thread(target=self._read_on, name="leaderboard", daemon=True)
                self._thread.start()
            thread, waits = self._thread, begins or not self._held
        if thread and waits:
            thread.join(seconds)
            self._seen.wait()
        fault, self._fault = self._fault, None
        if fault is not None:
            what = f"cannot be looked at: {type(fault).__name__}: {fault}"
            hint = "Look at the folder's permissions and its disk, and load the page again"
            raise StoreError(Problem(str(self._store.root), what, next=hint)) from fault

    def busy(self) -> bool:
        """Whether the thread of `follow` is at work."""
        return self._thread is not None

    def _read_on(self) -> None:
        """Look again as long as somebody came after the last look began: who comes sees what was written before."""
        try:
            while self._is_wanted():
                self.refresh()
        except Exception as fault:
            self._fault, self._thread = fault, None

    def _is_wanted(self) -> bool:
        with self._lock:
            wanted, self._wanted = self._wanted, False
            if not wanted:
                self._thread = None
        return wanted

    def progress(self) -> tuple[int, int]:
        """How many experiments are known, and how many are still to be read."""
        with self._lock:
            return sum(1 for one in self._found if one.stamp) - self._owed, self._owed

    def _rested(self, rest: float) -> bool:
        return self._owed > 0 or time.monotonic() >= self._looked + rest * self._took

    def _bring_up_to_date(self, until: float) -> None:
        began = time.monotonic()
        found = self._store.scan()
        self._looked = time.monotonic()
        self._took = self._looked - began
        owed = self._compared(found)
        self._seen.set()
        for done, one in enumerate(owed):
            if done and time.monotonic() > until:
                break
            self._keep(one, *self._read(one))

    def _compared(self, found: list[Found]) -> list[Found]:
        """Take over what was found; returns what is still to be read."""
        with self._lock:
            held = {name: (stamp, fault) for name, stamp, fault in self._db.execute(_HELD)}
            known = {one.id for one in found if one.stamp}
            gone = [(name,) for name in held if name not in known]
            if gone:
                with self._db:
                    self._db.executemany("DELETE FROM remembered WHERE id = ?", gone)
            self._version += (found, held) != (self._found, self._held)
            self._found, self._held = found, held
            owed = [one for one in found if one.stamp and held.get(one.id, ("", ""))[0] != one.stamp]
            self._owed = len(owed)
        return owed

    def _keep(self, one: Found, fault: str, summary: str | None, rows: str | None) -> None:
        with self._lock:
            with self._db:
                line = (one.id, one.stamp, fault, summary, rows)
                self._db.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?, ?, ?)", line)
            self._held[one.id] = (one.stamp, fault)
            self._version += 1
            self._owed -= 1

    def _read(self, one: Found) -> tuple[str, str | None, str | None]:
        """Why it cannot be read (or empty), its summary and its rows as JSON."""
        experiment, fault = self._store.at(one.id), ""
        try:
            evidence = gather(experiment)
            summary, rows = json.dumps(answered(evidence)), json.dumps(rows_of(evidence))
        except HarnessError as error:
            return str(error), None, None
        except Exception as error:  # one experiment that nobody foresaw must not take the others from the page
            return f"its records cannot be shown: {type(error).__name__}: {error}", None, None
        try:  # the records that no view is made from
            _ = [experiment.read(kind) for kind in (Conditions, ParityRecord)]
        except HarnessError as error:
            fault = str(error)
        return fault, summary, rows

    # ------------------------------------------------------------------ frames

    def experiments(self) -> pd.DataFrame:
        """One row per experiment that could be read, newest first; see `BOARD_COLUMNS`. Not to be changed."""
        with self._lock:
            version, found = self._version, self._found
            if self._frame is not None and self._frame[0] == version:
                return self._frame[1]
            summaries = {name: text for name, text in self._db.execute(_SUMMARIES) if text}
        listed = [json.loads(summaries[one.id]) for one in found if one.id in summaries]
        made = pd.DataFrame(listed, columns=list(BOARD_COLUMNS))
        self._frame = version, made
        return made

    def rows(self, ids: Sequence[str]) -> pd.DataFrame:
        """A row per candidate of these experiments, in their order; see `COLUMNS`."""
        with self._lock:
            texts: dict[str, str] = {}
            for start in range(0, len(ids), AT_ONCE):
                part = ids[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT id, rows FROM remembered WHERE rows IS NOT NULL AND id IN ({marks})"  # noqa: S608  marks alone
                texts |= dict(self._db.execute(query, part))
        return frame(row for name in ids if name in texts for row in json.loads(texts[name]))

    def damaged(self) -> pd.DataFrame:
        """Folders that are no experiments or cannot be read, by name: `folder` and `reason`."""
        with self._lock:
            faults = {one.id: one.fault for one in self._found if one.fault}
            faults |= {name: fault for name, (_, fault) in self._held.items() if fault}
        return pd.DataFrame(sorted(faults.items()), columns=["folder", "reason"])

    # -------------------------------------------------------------------- file

    def _opened(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return _connect(self._path)
        except sqlite3.DatabaseError:  # damaged, or of another kind: it is made anew
            with contextlib.suppress(OSError, sqlite3.Error):
                self._path.unlink(missing_ok=True)
                return _connect(self._path)
        except OSError:
            pass
        return _connect(":memory:")

    def _leave(self, anew: bool) -> None:
        """Go on without the file after a fault of it. anew: it is damaged, so it is made again."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            if anew:
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)
            self._db = self._opened() if anew else _connect(":memory:")


_HELD: Final = "SELECT id, stamp, fault FROM remembered"
_SUMMARIES: Final = "SELECT id, summary FROM remembered"


def place(store: Store) -> Path:
    """Where the file of a store lies, made by this very code."""
    where = hashlib.sha256(str(store.root.resolve()).encode(errors="surrogateescape")).hexdigest()
    return artifacts.home() / "leaderboard" / f"{where[:16]}-{_code()}.sqlite"


def _code() -> str:
    """Digest over the source of all that decides what is remembered."""
    whole = hashlib.sha256()
    for file in _sources():
        whole.update(file.read_bytes())
    return whole.hexdigest()[:12]


def _sources() -> Iterator[Path]:
    for name in MADE_BY:
        module = importlib.import_module(name)
        yield from sorted(Path(str(module.__file__)).parent.glob("*.py"))


def _connect(path: Path | str) -> sqlite3.Connection:
    opened = sqlite3.connect(path, timeout=10, check_same_thread=False)
    try:
        opened.execute("PRAGMA synchronous=OFF")  # nothing is lost that could not be made again
        opened.execute(_TABLE)
        opened.execute(_HELD).fetchall()
    except sqlite3.Error:
        opened.close()
        raise
    return opened
