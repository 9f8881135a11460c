"""Pages of the app that are opened while the store is still being read: nothing jumps, and nothing is said too soon."""

from __future__ import annotations

import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_store import build

from harness.leaderboard import Index
from harness.store import Store
from harness.ui import places
from harness.ui.shared import index_of

with warnings.catch_warnings():
    # What Streamlit's own imports deprecate is not ours to answer for.
    warnings.simplefilter("ignore")
    AppTest = pytest.importorskip("streamlit.testing.v1", reason="needs the extra [ui]").AppTest

PAGES = """
import streamlit as st
from harness.ui import places

st.navigation([places.page(name) for name in places.PLACES], position="hidden").run()
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("reports"))


@pytest.fixture
def store(built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that nobody has read."""
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HARNESS_REPORTS", str(tmp_path / "reports"))
    return Store(Path(shutil.copytree(built.root, tmp_path / "reports")))


@pytest.fixture
def let_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let so many experiments be read, the newest first, and wait until they are known. Else none is."""
    turns, read = threading.Semaphore(0), Index._read

    def at_its_turn(self: Index, one: Any) -> Any:
        assert turns.acquire(timeout=60)
        return read(self, one)

    def let(count: int) -> None:
        index = index_of(str(store.root))
        wanted = index.progress()[0] + count
        turns.release(count)
        deadline = time.monotonic() + 60
        while index.progress()[0] < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    monkeypatch.setattr(Index, "_read", at_its_turn)
    yield let
    turns.release(1000)
    for thread in threading.enumerate():
        if thread.name == "leaderboard":
            thread.join(60)


def opened(name: str, monkeypatch: pytest.MonkeyPatch, **query: str) -> Any:
    monkeypatch.setattr(places, "HOME", name)
    app = AppTest.from_string(PAGES, default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize("page", ["compare", "review", "data"])
def test_the_experiment_that_a_link_names_stays_while_others_are_read(
    store: Store, let_read: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    wanted = store.find("claims").id
    app = opened(page, monkeypatch, experiment=wanted)
    assert app.selectbox(key="experiment").value == wanted
    let_read(2)
    app.run()
    assert app.selectbox(key="experiment").value == wanted
    assert len(app.selectbox(key="experiment").options) > 1
    let_read(8)
    app.run()
    assert app.selectbox(key="experiment").value == wanted


def test_so_does_the_one_that_it_is_compared_with(
    store: Store, let_read: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = store.find("claims").id, store.find("intents").id
    app = opened("compare", monkeypatch, experiment=mine, against=theirs)
    let_read(2)
    app.run()
    assert (app.selectbox(key="experiment").value, app.selectbox(key="against").value) == (mine, theirs)


def test_a_page_that_has_nothing_to_show_yet_waits_for_the_first_experiment(
    store: Store, let_read: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened("data", monkeypatch)
    assert not app.info
    assert not app.selectbox
    let_read(2)
    app.run()
    assert app.selectbox(key="experiment").value == store.find("tickets").id
