"""The page Production: where each alias points, who moved it and why, and a broken pointer told plainly."""

from __future__ import annotations

import html
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import released_store
from released_store import PROMOTED, REJECTED

from harness import leaderboard
from harness.releasing import promote, rollback
from harness.store import Store

with warnings.catch_warnings():
    # What Streamlit's own imports deprecate is not ours to answer for.
    warnings.simplefilter("ignore")
    AppTest = pytest.importorskip("streamlit.testing.v1", reason="needs the extra [ui]").AppTest

PAGE = """
import streamlit as st
from harness.ui import places

st.navigation([places.page(name) for name in places.PLACES], position="hidden").run()
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    made = released_store.build(tmp_path / "reports")
    promote(made, made.find(PROMOTED[0]), why="two points *better*", by="ada")
    promote(made, made.find(PROMOTED[1]), by="bo")
    promote(made, made.find(REJECTED), "staging", override="to try it", by="bo")
    rollback(made, why="slower", by="cy")
    return made


def opened(store: Store, page: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    from harness.ui import board, places
    from harness.ui.shared import index_of

    monkeypatch.setenv("HARNESS_REPORTS", str(store.root))
    monkeypatch.setattr(places, "HOME", page)
    monkeypatch.setattr(board, "AT_ONCE", 60.0)
    index_of(str(Store().root)).refresh()  # all is read before the first page, however slow this machine is
    app = AppTest.from_string(PAGE, default_timeout=60).run()
    assert not app.exception
    return app


def said(app: Any) -> str:
    parts = [*app.markdown, *app.caption, *app.error, *app.warning, *app.info]
    return html.unescape("\n".join(str(part.value) for part in parts).replace("\\", ""))


def test_each_alias_shows_where_it_points_who_moved_it_and_why(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(store, "production", monkeypatch)
    text = said(app)
    assert "Move 3, gone back to (move 1) by cy" in text
    assert ": slower" in text
    assert "Deployed against its verdict: to try it" in text
    (history,) = (frame.value for frame in app.dataframe if "back_to" in frame.value.columns)
    assert list(history["number"]) == [3, 2, 1]
    assert list(history["by"]) == ["cy", "bo", "ada"]
    assert "No logs were replayed yet." in text


def test_a_pointer_to_what_is_gone_is_told_and_the_others_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(store.find(PROMOTED[0]).path)
    app = opened(store, "production", monkeypatch)
    assert "which is no longer in the store" in app.error[0].value.replace("\\", "")
    assert "staging" in said(app)


def test_a_registry_that_cannot_be_read_is_told_on_its_page_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.registry.path.write_text("{}\n")
    assert "cannot be read" in opened(store, "production", monkeypatch).error[0].value
    assert not opened(store, "leaderboard", monkeypatch).error


def test_a_card_of_the_leaderboard_says_where_it_is_deployed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "production" in said(opened(store, "leaderboard", monkeypatch))


def test_the_frames_have_the_columns_that_they_document(store: Store) -> None:
    assert list(leaderboard.pointers(store).columns) == list(leaderboard.POINTER_COLUMNS)
    assert list(leaderboard.moves(store).columns) == list(leaderboard.MOVE_COLUMNS)
    assert list(leaderboard.moves(store)["number"]) == [3, 1, 2, 1]
    assert list(leaderboard.pointers(store)["alias"]) == ["production", "staging"]
    assert leaderboard.pointers(Store(store.root / "nowhere")).empty
