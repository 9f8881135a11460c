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
from harness.errors import HarnessError
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
    """The experiments of one store. Safe for several threads; see `refresh`."""

    def __init__(self, store: Store, path: Path | None = None) -> None:
        """path: the file; by default under HARNESS_HOME. Nothing is read before `refresh`."""
        self._store = store
        self._path = path or place(store)
        self._lock = threading.RLock()
        self._found: list[Found] = []
        self._held: dict[str, tuple[str, str]] = {}
        self._frame: tuple[str, pd.DataFrame] | None = None
        self._owed, self._looked, self._took = 0, 0.0, 0.0
        self._db = self._opened()

    # ------------------------------------------------------------------ making

    def refresh(self, seconds: float = float("inf"), rest: float = 0.0) -> int:
        """Look at the store and read what is new or has changed, the newest first, for about so long.

        rest: no second look before so many times as long has passed as the last one took, so that a reader's clicks
        do not wait for it. Returns how many experiments are still to be read; the frames are without them until then.
        """
        began = time.monotonic()
        with self._lock:
            if not self._owed and began < self._looked + rest * self._took:
                return 0
            self._found = self._store.scan()
            self._looked = time.monotonic()
            self._took = self._looked - began
            try:
                self._owed = self._bring_up_to_date(began + seconds)
            except sqlite3.Error as fault:
                self._leave(anew=not isinstance(fault, sqlite3.OperationalError))
                self._owed = self._bring_up_to_date(began + seconds)
            return self._owed

    def _bring_up_to_date(self, until: float) -> int:
        self._held = {name: (stamp, fault) for name, stamp, fault in self._db.execute(_HELD)}
        known = {one.id for one in self._found if one.stamp}
        gone = [name for name in self._held if name not in known]
        with self._db:
            self._db.executemany("DELETE FROM remembered WHERE id = ?", [(name,) for name in gone])
        owed = [one for one in self._found if one.stamp and self._stamp_held(one.id) != one.stamp]
        done = 0
        for one in owed:
            if done and time.monotonic() > until:
                break
            fault, summary, rows = self._read(one)
            with self._db:
                line = (one.id, one.stamp, fault, summary, rows)
                self._db.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?, ?, ?)", line)
            self._held[one.id] = (one.stamp, fault)
            done += 1
        return len(owed) - done

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
            key = self.stamp()
            if self._frame is None or self._frame[0] != key:
                summaries = {name: text for name, text in self._db.execute(_SUMMARIES) if text}
                listed = [json.loads(summaries[one.id]) for one in self._found if one.id in summaries]
                self._frame = key, pd.DataFrame(listed, columns=list(BOARD_COLUMNS))
            return self._frame[1]

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

    def stamp(self) -> str:
        """Changes whenever one of the frames does."""
        with self._lock:
            text = "\n".join(f"{one.id} {self._stamp_held(one.id)} {one.fault}" for one in self._found)
        return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=12).hexdigest()

    def _stamp_held(self, name: str) -> str:
        return self._held.get(name, ("", ""))[0]

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
