"""Pictures of every page of the app on a store, 1280 px wide, into docs/app.

    python bench/shots.py reports            # pictures of your own store
    python bench/shots.py reports --out DIR --dark

Needs Chromium and playwright, as the bench of the leaderboard does. Nothing is written into the store.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from boarding.browser import chromium, serving
from boarding.stores import ROOT

from harness.store import Store

WIDTH, HIGHEST = 1280, 2600
MAIN = "[data-testid=stMain]"


def pages(experiment: str) -> dict[str, tuple[str, str]]:
    """Picture to address and what must be painted first."""
    one = f"experiment={experiment}"
    return {
        "leaderboard": ("/", ".hx table"),
        "experiment": (f"/experiment?{one}", "[data-testid=stTabs]"),
        "compare": (f"/compare?{one}", ".hx-said"),
        "review": (f"/review?{one}&reviewer=Ann", ".hx-said"),
        "data": (f"/data?{one}", "[data-testid=stDataFrame]"),
        "production": ("/production", "[data-testid=stHeading]"),
    }


def still(page: Any) -> None:
    """Wait until the script has run and every part that comes later is drawn."""
    page.wait_for_timeout(1200)
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=90_000)
    page.wait_for_timeout(800)


def picture(page: Any, path: Path) -> None:
    """Everything that is there, also below the fold."""
    still(page)
    height = page.evaluate(f"document.querySelector('{MAIN}').scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(height + 20, HIGHEST)})
    still(page)
    page.screenshot(path=path)
    page.set_viewport_size({"width": WIDTH, "height": 900})


def shoot(store: Store, experiment: str, out: Path, dark: bool) -> None:
    """One picture a page."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        environment = {"HARNESS_REPORTS": str(store.root.resolve()), "HARNESS_HOME": home}
        with serving(command, environment) as (address, _, _):
            browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": 900})
            page.set_default_timeout(90_000)
            page.emulate_media(color_scheme="dark" if dark else "light")
            for name, (path, landmark) in pages(experiment).items():
                page.goto(address + path)
                page.locator(landmark).first.wait_for()
                picture(page, out / f"{name}.png")
                print(out / f"{name}.png", file=sys.stderr, flush=True)
            browser.close()


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="folder of the experiments")
    parser.add_argument("--experiment", default="latest", help="the one that is shown; default: the newest")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "app")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    store = Store(given.store)
    shoot(store, store.find(given.experiment).id, given.out, given.dark)


if __name__ == "__main__":
    main()
