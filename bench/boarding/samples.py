"""Compare and Review on runs of many samples: seconds to the page, the next one, a text that is found, a vote."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boarding.browser import chromium, context, cpu, painted, serving
from harness.store import Store

ITEMS = 20_000
"""Samples of each of the three runs on the task."""


def make(root: Path) -> Store:
    """A store of one experiment, made once."""
    import sample_store

    store = Store(root)
    if not store.ids():
        task = {"base": 0.2, "best_prompt": 0.6, "tuned-seed0": 0.8}
        case = sample_store.Case("long-runs", "promote", "As its gates say.", task, {}, n=ITEMS)
        sample_store.evaluate(sample_store.begin(store, case), case)
    return store


def measure(store: Store, rounds: int) -> list[dict[str, Any]]:
    """Each round with a server and a browser that have seen nothing yet."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        found = []
        for _ in range(rounds):
            found.append(look(browser, store))
            print(found[-1], file=sys.stderr, flush=True)
        browser.close()
    return found


def look(browser: Any, store: Store) -> dict[str, Any]:
    """One round: both pages opened as by a link, and what a person does there."""
    experiment = store.experiments()[0]
    reviewer = f"Reviewer{len(experiment.votes())}"  # one who has not voted yet
    command = [sys.executable, "-m", "harness.ui", "run", "app.py"]
    with tempfile.TemporaryDirectory() as home:
        environment = {"HARNESS_REPORTS": str(store.root), "HARNESS_HOME": home}
        with serving(command, environment) as (address, pid, _), context(browser) as page:
            compare = f"{address}/compare?experiment={experiment.id}&show=all"
            opened = timed(page, lambda: page.goto(compare, wait_until="commit"), f"Sample 1 of {ITEMS:,}")
            at_rest(page)
            following = timed(page, lambda: page.keyboard.press("ArrowRight"), f"Sample 2 of {ITEMS:,}")
            box = page.get_by_label("Search in question, answers and gold")
            box.fill(f"Message {ITEMS - 1}:")
            searched = timed(page, lambda: box.press("Enter"), "Sample 1 of 1")
            review = f"{address}/review?experiment={experiment.id}&reviewer={reviewer}"
            asked = timed(page, lambda: page.goto(review, wait_until="commit"), "0 of [0-9,]+ pairs voted on")
            at_rest(page)
            voted = timed(page, lambda: page.keyboard.press("a"), "1 of [0-9,]+ pairs voted on")
            used = cpu(pid)
    return {
        "compare_s": opened, "next_s": following, "find_s": searched, "review_s": asked, "vote_s": voted,
        "cpu_s": used, "load": os.getloadavg()[0],
    }  # fmt: skip


def timed(page: Any, act: Callable[[], object], wanted: str) -> float:
    """Seconds from an act to a line of text that is painted. wanted: the line, as a regular expression."""
    began = time.perf_counter()
    act()
    painted(page, f"/^{wanted}$/m.test(document.body.innerText)")
    return time.perf_counter() - began


def at_rest(page: Any) -> None:
    """Wait until the server has drawn everything, so that the keys are listened to."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(500)
