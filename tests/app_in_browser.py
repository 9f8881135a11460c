"""The app of a store as a child process, and tabs of a real headless Chromium that look at it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.store import Store

ROOT = Path(__file__).parent.parent
PATIENCE_S = 180
"""For a server's start and for every step in the browser: a busy machine is slow, not wrong."""
SHORTCUTS = {
    **{"ArrowLeft": "Previous", "ArrowRight": "Next"},
    **{"A": "A is better", "B": "B is better", "T": "Tie", "X": "Both bad"},
}
"""Keys of the pages, and the buttons that listen to them."""
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright's Python package")
playwright.expect.set_options(timeout=PATIENCE_S * 1000)
pytest.importorskip("streamlit", reason="needs the extra [ui]")


def chromium() -> str:
    """The system's browser, or a skip that says how to get one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("HARNESS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no Chromium: install one (apt-get install chromium) or name it in HARNESS_CHROMIUM")
    return found


@contextmanager
def served(store: Store, program: str) -> Iterator[str]:
    """The address of the app on a free loopback port, ended whatever happens.

    program: `harness.ui` as `harness ui` starts it, or `streamlit`.
    """
    chromium()
    with socket.socket() as held, tempfile.TemporaryDirectory() as folder, (Path(folder) / "log.txt").open("w+") as log:
        # Bound and not listened on: the server can take the port, and nobody else is given it meanwhile.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        command = [sys.executable, "-m", program, "run", "app.py", "--server.port", str(port)]
        environment = os.environ | {"HARNESS_REPORTS": str(store.root), "HARNESS_HOME": f"{folder}/home"}
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health", child, Path(log.name))
            yield f"http://127.0.0.1:{port}"
        finally:
            child.kill()
            child.wait()


def _wait_until_healthy(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):  # noqa: S310 - loopback
                return
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
        except OSError:
            pass
        time.sleep(0.25)
    pytest.fail(f"the app did not start:\n{log.read_text()}")


class Tab:
    """A browser tab that remembers what went wrong in it and whom it called."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE_S * 1000)
        self.faults: list[str] = []
        self.calls: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        page.on("request", lambda request: self.calls.append(request.url))

    def _heard(self, message: Any) -> None:
        """Errors of the console. At a page's own address Streamlit's client asks below it where the server is, before
        it asks at the root: these two misses are how it finds the root, and the console tells every miss."""
        probe = urlsplit(message.location.get("url", "")).path
        looked_for = any(probe.endswith(f"/_stcore/{name}") for name in ("health", "host-config"))
        if message.type == "error" and not (looked_for and probe.count("/") > 2):
            self.faults.append(f"{message.text} {probe}")

    def picture(self, path: Path) -> None:
        """A screenshot of everything, also of what a scroll container hides."""
        height = self.page.evaluate("(document.querySelector('[data-testid=stMain]') || document.body).scrollHeight")
        self.page.set_viewport_size({"width": 1280, "height": min(height + 20, 4000)})
        self.page.wait_for_timeout(800)
        self.page.screenshot(path=path)
        assert path.stat().st_size > 10_000


@contextmanager
def opened() -> Iterator[Tab]:
    """A new tab of a new browser."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield Tab(browser.new_page(viewport={"width": 1280, "height": 900}))
        browser.close()


def wait_for_names(page: Any, wanted: list[str]) -> None:
    links = page.locator("[data-testid=stPageLink] a")
    playwright.expect(links).to_have_count(len(wanted))
    playwright.expect(links).to_contain_text(wanted)


def press(page: Any, key: str) -> None:
    """One of the page's shortcuts.

    The caller has waited for what the last click or key changed. This waits until the page is drawn to its end, its
    button too, whose code may have to be fetched, and until the browser has nothing left to do: a button begins to
    listen to its key a moment after it is painted.
    """
    settle(page)
    button = page.locator("[data-testid=stButton] button", has_text=SHORTCUTS[key])
    playwright.expect(button).to_be_enabled()
    # Without the bound never, where the browser stood still for seconds.
    page.evaluate("new Promise(done => requestIdleCallback(() => done(), {timeout: 1000}))")
    page.keyboard.press(key)


def settle(page: Any) -> None:
    """Wait until the page is drawn to its end, so that nothing is left on it of what stood there before."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
