"""Logs to requests: files (gzip too) and URLs, JSON lines or vLLM's own text; lines that are none are named."""

from __future__ import annotations

import ast
import datetime
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from harness.data.lines import json_row
from harness.data.personal import masked
from harness.engines.http import CallError, HttpClient
from harness.errors import DataError, Problem
from harness.monitoring.requests import Request, read_request

KEY_ENV: Final = "HARNESS_LOGS_KEY"
"""Environment variable with the key of a URL that asks for one."""
NAMED: Final = 20
"""Broken lines that are named; all are counted."""
LEAP: Final = 9
"""Years in which every date comes: eight lie between two leap days where a century is passed over."""
GZIP: Final = b"\x1f\x8b"

_VLLM = re.compile(
    r"^(?:\(.*?\) )?(?P<level>INFO|DEBUG) (?P<time>\d\d-\d\d \d\d:\d\d:\d\d)[^\]]*\] "
    r"(?:Request (?P<asked>\S+) details: prompt: (?P<prompt>.*), prompt_token_ids: .*"
    r"|Received request (?P<received>\S+): params: .*"
    r"|Generated response (?P<done>\S+)(?: \(streaming complete\))?: output: (?P<output>.*), "
    r"finish_reason: (?P<why>\S+))$"
)
_PREFIX = re.compile(r"^(?:\(.*?\) )?(?:INFO|DEBUG|WARNING|ERROR) \d\d-\d\d \d\d:\d\d:\d\d ")


@dataclass(frozen=True, slots=True)
class Read:
    """What logs hold."""

    names: tuple[str, ...]
    requests: tuple[Request, ...]
    """By time where all have one, else as they stand."""
    lines: int
    """Lines that are not blank."""
    broken: int
    other: int
    """Lines of a text log that speak of something else."""
    faults: tuple[str, ...]
    """The first broken lines, as `file:line: what is wrong`."""


def read_logs(places: Sequence[str]) -> Read:
    """Read files, folders of `*.jsonl`, `*.jsonl.gz` and `*.log`, and http(s) URLs.

    Raises DataError where a place cannot be read, holds nothing, or none of its lines is a request.
    """
    requests: list[Request] = []
    faults: list[str] = []
    lines = broken = other = 0
    names = [name for place in places for name in _named(place)]
    for name in names:
        reader = _Reader(Path(urlsplit(name).path).name if _is_url(name) else name)
        with _opened(name) as stream:
            requests += reader.read(stream)
        lines, broken, other = lines + reader.lines, broken + reader.broken, other + reader.other
        faults += reader.faults[: NAMED - len(faults)]
    if not requests:
        what = f"none of {lines} lines is a request" if lines else "no lines"
        told = f"First: {faults[0]}" if faults else ""
        hint = "See docs/monitoring.md for the forms that are read"
        raise DataError(Problem(", ".join(names), what, told, hint))
    if all(request.time is not None for request in requests):
        requests.sort(key=lambda request: request.time or 0.0)
    return Read(tuple(names), tuple(requests), lines, broken, other, tuple(faults))


def _named(place: str) -> list[str]:
    """The files that a place stands for."""
    if _is_url(place) or not Path(place).is_dir():
        return [place]
    found = sorted(str(p) for p in Path(place).iterdir() if p.name.endswith((".jsonl", ".jsonl.gz", ".log")))
    if not found:
        raise DataError(Problem(place, "a folder without logs", "*.jsonl, *.jsonl.gz or *.log"))
    return found


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


@contextmanager
def _opened(name: str) -> Iterator[Iterable[bytes]]:
    """The lines of a place, unpacked where they are packed."""
    with ExitStack() as held:
        try:
            raw: IO[bytes] = io.BytesIO(_fetched(name)) if _is_url(name) else held.enter_context(Path(name).open("rb"))
            packed = raw.read(2) == GZIP
        except FileNotFoundError as fault:
            raise DataError(Problem(name, "no such file", next="Correct the path")) from fault
        except OSError as fault:
            raise DataError(Problem(name, f"cannot read: {fault.strerror}")) from fault
        raw.seek(0)
        yield held.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw


def _fetched(url: str) -> bytes:
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with HttpClient(root, api_key=os.environ.get(KEY_ENV), timeout_s=120.0, attempts=3) as client:
        try:
            return client.fetch("GET", path)
        except CallError as fault:
            raise DataError(Problem(url, f"cannot be had: {fault}")) from fault


class _Reader:
    """One file: its requests, and what its other lines are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.lines = self.broken = self.other = 0
        self.faults: list[str] = []
        self._asked: dict[str, tuple[str | None, float]] = {}

    def read(self, stream: Iterable[bytes]) -> Iterator[Request]:
        number = 0
        try:
            for number, line in enumerate(stream, start=1):
                data = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                data = data.strip()
                if data:
                    self.lines += 1
                    made = self._line(number, data)
                    if made is not None:
                        yield made
        except (EOFError, zlib.error, OSError) as fault:
            self.lines += 1
            self._fault(number + 1, f"the file breaks off here ({fault})")

    def _line(self, number: int, data: bytes) -> Request | None:
        if data.startswith((b"INFO ", b"DEBUG ", b"WARNING ", b"ERROR ", b"(")):
            return self._vllm(number, data.decode("utf-8", "replace"))
        row = json_row(number, data)
        if row.value is None:
            self._fault(number, row.faults[0].message)
            return None
        try:
            return read_request(row.value, f"{self._name}:{number}")
        except ValueError as fault:
            self._fault(number, str(fault))
            return None

    def _vllm(self, number: int, line: str) -> Request | None:
        """vLLM's own log: a request's prompt (level DEBUG), that it came, and its answer, joined by its id."""
        found = _VLLM.match(line)
        if found is None:
            if _PREFIX.match(line):
                self.other += 1
            else:
                self._fault(number, "neither JSON nor a line of vLLM's log")
            return None
        at = moment(found["time"], datetime.datetime.now(datetime.UTC))
        if at is None:
            self._fault(number, f"no day has the date and time {found['time']}")
            return None
        if found["done"] is None:
            self.other += 1
            id = found["asked"] or found["received"]
            prompt = _literal(found["prompt"]) if found["asked"] else self._asked.get(id, (None, at))[0]
            self._asked[id] = prompt, at
            return None
        prompt, began = self._asked.pop(found["done"], (None, at))
        turns = () if prompt is None else (("user", prompt),)
        failed = found["why"] in ("error", "abort")
        return Request(
            where=f"{self._name}:{number}", id=found["done"], time=began, turns=turns,
            answer=None if failed else _literal(found["output"]), error=found["why"] if failed else None,
            finish=found["why"], latency_s=max(0.0, at - began) if turns else None, tokens_in=None, tokens_out=None,
            logprob=None, version=None, label=None, score=None,
        )  # fmt: skip

    def _fault(self, number: int, what: str) -> None:
        self.broken += 1
        if len(self.faults) < NAMED:
            self.faults.append(masked(f"{self._name}:{number}: {what}"))


def moment(text: str, now: datetime.datetime) -> float | None:
    """Seconds since 1970 of a time as vLLM writes it, `02-29 10:00:00` without a year: the last that was, give or take
    a day of clocks that differ. None where no year has such a day."""
    latest = now + datetime.timedelta(days=1)
    for year in range(latest.year, latest.year - LEAP, -1):
        with suppress(ValueError):
            at = datetime.datetime.strptime(f"{year}-{text}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=now.tzinfo)
            if at <= latest:
                return at.timestamp()
    return None


def _literal(text: str) -> str:
    """A text as Python's repr writes it; one that was cut stays as it is."""
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
