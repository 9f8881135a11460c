"""Metric of a generated SQL query: what it returns from a small database, against what the gold query returns."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from functools import lru_cache
from typing import Any

from harness.metrics.registry import metric
from harness.metrics.scoring import Unscored, fenced, field_of, target_object

ROWS = 10_000
"""A query that returns more is wrong."""
STEPS = 20_000_000
"""Steps of SQLite's machine that a query may take: a limit that is the same on every machine."""
BYTES = 1_000_000
"""Longest text or blob that a query may make."""
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_REFUSED = {"load_extension", "random", "randomblob", "fts3_tokenizer", "sqlite_compileoption_get"}
_EXAMPLE = (
    '{"setup": ["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1), (2)"], "sql": "SELECT a FROM t WHERE a > 1"}'
)
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


def _reads_only(action: int, one: str | None, two: str | None, *_: Any) -> int:
    allowed = action in _READS and not (action == sqlite3.SQLITE_FUNCTION and str(two).lower() in _REFUSED)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _database(setup: tuple[str, ...]) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    try:
        for statement in setup:
            database.executescript(statement)
    except sqlite3.Error as fault:
        database.close()
        raise Unscored(f"the target's setup fails: {fault}") from fault
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, BYTES)
    database.set_authorizer(_reads_only)
    return database


def _rows(setup: tuple[str, ...], query: str) -> list[tuple[Any, ...]] | None:
    """What a query returns; None when it fails, writes, or goes over a limit. A fresh database each time."""
    database = _database(setup)
    left = [STEPS // 1000]

    def tick() -> bool:
        left[0] -= 1
        return left[0] < 0

    try:
        database.set_progress_handler(tick, 1000)
        cursor = database.execute(query)
        if cursor.description is None:
            return None
        rows = cursor.fetchmany(ROWS + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError):
        return None
    finally:
        database.close()
    return None if len(rows) > ROWS else [tuple(map(_plain, row)) for row in rows]


def _plain(value: Any) -> Any:
    """Numbers by nine digits, for a sum may be added up in another order."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


@lru_cache(maxsize=1024)
def _gold(setup: tuple[str, ...], query: str) -> list[tuple[Any, ...]] | None:
    return _rows(setup, query)


def _is_ordered(query: str) -> bool:
    """Whether the outermost query says ORDER BY."""
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"", "''", query)
    while (inner := re.sub(r"\([^()]*\)", "", bare)) != bare:
        bare = inner
    return _ORDERED.search(bare) is not None


@metric(
    "sql_match",
    binary=True,
    example=_EXAMPLE,
    target="JSON: `setup` (a list of SQL statements that make the database) and the gold query `sql`",
    gold=field_of("sql"),
    learnable=False,
)
def sql_match(answer: str, target: str) -> float:
    """1 when the answer, one SQLite query, returns the gold query's rows (execution match).

    Each runs in a fresh database in memory that can only be read. The order of rows counts only where the gold
    query says ORDER BY; names of columns do not count. A query in a Markdown fence is taken out of it.
    """
    item = target_object(target, "sql")
    statements = item.get("setup", [])
    if not isinstance(item["sql"], str) or not isinstance(statements, list):
        raise Unscored("the target's sql is no text, or its setup no list")
    setup = tuple(map(str, statements))
    wanted = _gold(setup, item["sql"])
    if wanted is None:
        raise Unscored("the gold query fails")
    query = fenced(answer).strip().rstrip(";").strip()
    got = _rows(setup, query) if query and "\0" not in query else None
    if got is None:
        return 0.0
    return float(got == wanted if _is_ordered(item["sql"]) else Counter(got) == Counter(wanted))
