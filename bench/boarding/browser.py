"""The app in a headless Chromium: seconds from a start, a click or a key to what is painted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boarding.stores import ROOT, copy, whole
from harness.store import Store

TABLE = ".hx table"
FLOOR = "import streamlit as st\nst.html('<div class=\"hx\"><table><tr><td>1</td></tr></table></div>')\n"
"""The least Streamlit app that paints a table: what no app on this machine can go below."""


@dataclass(frozen=True)
class Opening:
    """One look at one store, in seconds."""

    experiments: int
    kind: str
    """`floor`, `cold` (nothing remembered), `warm` (remembered by an earlier process)."""
    server_s: float
    """From the command to a server that answers."""
    open_s: float
    """From the address to the first painted table, the first visit of that server."""
    complete_s: float | None
    """From the address to all experiments read and counted on the page."""
    cpu_s: float
    """The server's processor time from its start to all experiments read; other work hardly moves it."""
    load: float
    """Load average of the machine at the end: processes that wanted a core, over the last minute."""
    beside_s: float | None = None
    """The first visit of somebody else while the store is still being read; none where it was read at once."""
    again_s: float | None = None
    """A second visit of the same server."""
    page_s: float | None = None
    """From the click to the second page's first experiment."""
    search_s: float | None = None
    """From the Enter key to the one experiment that is searched for."""
    new_s: float | None = None
    """A visit after one more experiment was written, to that experiment painted."""


def chromium() -> str:
    """The system's browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("HARNESS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        raise SystemExit("no Chromium: install one (apt-get install chromium) or name it in HARNESS_CHROMIUM")
    return found


@contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator[tuple[str, int, float]]:
    """The app as a child process; its address, its process, and seconds until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    child = subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while not healthy(address):
            if child.poll() is not None:
                raise SystemExit(f"the app ended with {child.returncode}: {' '.join(command)}")
            time.sleep(0.01)
        yield address, child.pid, time.perf_counter() - began
    finally:
        child.terminate()
        child.wait()


def cpu(pid: int) -> float:
    """Processor time of a process so far, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):  # noqa: S310 - loopback
            return True
    except OSError:
        return False


def painted(page: Any, what: str, timeout_s: float = 300) -> None:
    """Wait until a script's answer is true, looked at once a frame."""
    page.wait_for_function(what, polling="raf", timeout=timeout_s * 1000)


def visit(page: Any, address: str) -> float:
    """Seconds from the address to the first painted table."""
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    painted(page, f"!!document.querySelector('{TABLE}')")
    return time.perf_counter() - began


def all_are_told(size: int) -> str:
    """Script: whether the page counts every experiment, and reads no more."""
    counts = "[...document.querySelectorAll('[data-testid=stCaptionContainer]')].map(one => one.innerText.trim())"
    return f"{counts}.includes('{size:,} experiments') && !document.querySelector('[data-testid=stProgress]')"


def floor(browser: Any) -> Opening:
    """Streamlit and the browser alone."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "floor.py"
        script.write_text(FLOOR)
        command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless", "true"]
        with serving(command, {}) as (address, pid, server_s), context(browser) as page:
            opened = visit(page, address)
            used, again = cpu(pid), visit(page, address)
    return Opening(0, "floor", server_s, opened, None, used, os.getloadavg()[0], again_s=again)


@contextmanager
def context(browser: Any) -> Iterator[Any]:
    """A tab of a browser that has visited nothing yet."""
    fresh = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        yield fresh.new_page()
    finally:
        fresh.close()


def look(browser: Any, store: Store, templates: Store, home: Path, kind: str) -> Opening:
    """Open the leaderboard as a user does, then turn a page, search, and come back after a new experiment."""
    size = len(store.ids())
    command = [sys.executable, "-m", "harness.ui", "run", "app.py"]
    environment = {"HARNESS_REPORTS": str(store.root), "HARNESS_HOME": str(home)}
    with serving(command, environment) as (address, pid, server_s), context(browser) as page:
        began = time.perf_counter()
        opened = visit(page, address)
        beside = None
        if not page.evaluate(all_are_told(size)):
            with context(browser) as other:
                beside = visit(other, address)
        painted(page, all_are_told(size), timeout_s=900)
        complete = time.perf_counter() - began
        used, again = cpu(pid), visit(page, address)
        page_s = turned(page)
        search_s = searched(page, address, store.ids()[-1].rpartition("--")[0])
        one = copy(store, *whole(templates.experiments()[0]), size)
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        painted(page, first_is(one.name))
        new_s = time.perf_counter() - began
    shutil.rmtree(one.path)
    load = os.getloadavg()[0]
    return Opening(size, kind, server_s, opened, complete, used, load, beside, again, page_s, search_s, new_s)


def turned(page: Any) -> float:
    """From the click on the second page to its first experiment."""
    before = page.locator("a[data-testid=stPageLink-NavLink]").first.inner_text()
    button = page.locator("[data-testid=stPagination] button").nth(2)
    button.wait_for()
    page.wait_for_timeout(500)
    began = time.perf_counter()
    button.click()
    painted(page, f"!({first_is(before.split()[0])}) && !!document.querySelector('{TABLE}')")
    return time.perf_counter() - began


def searched(page: Any, address: str, name: str) -> float:
    """From the Enter key to the only experiment found."""
    visit(page, address)
    box = page.get_by_placeholder("Name, hypothesis or model")
    box.fill(name)
    began = time.perf_counter()
    box.press("Enter")
    painted(page, first_is(name))
    return time.perf_counter() - began


def first_is(name: str) -> str:
    """Script: whether an experiment is the first of the page."""
    links = "document.querySelectorAll('a[data-testid=stPageLink-NavLink]')"
    return f"{links}.length > 0 && {links}[0].innerText.includes('{name}')"


def measure(stores: list[Store], templates: Store, rounds: int) -> list[dict[str, Any]]:
    """Every store cold and warm, in turns, so that what else the machine does falls on all alike."""
    from playwright.sync_api import sync_playwright

    found: list[Opening] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for _ in range(rounds):
            found.append(floor(browser))
            for store in stores:
                with tempfile.TemporaryDirectory() as home:
                    for kind in ("cold", "warm"):
                        found.append(look(browser, store, templates, Path(home), kind))
                        print(found[-1], file=sys.stderr, flush=True)
        browser.close()
    return [asdict(one) for one in found]
