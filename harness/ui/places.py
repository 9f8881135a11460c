"""The pages of the app: what each is called, which module draws it, and how one leads to another.

A page is a module of `harness.ui` with `show(store)`; whatever it shows besides is in its address. A new page is a
line of `PLACES`. Modules are imported when their page is first opened, so that the leaderboard opens fast.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from harness.store import Store


@dataclass(frozen=True)
class Place:
    """One page."""

    title: str
    module: str
    """Module with `show(store)`."""
    listed: bool = True
    """Whether it stands in the menu; one that needs to be told of what it is, is reached by links alone."""


PLACES: Final[dict[str, Place]] = {
    "leaderboard": Place("Leaderboard", "harness.ui.board"),
    "experiment": Place("Experiment", "harness.ui.experiment", listed=False),
    "compare": Place("Compare", "harness.ui.compare"),
    "review": Place("Review", "harness.ui.review"),
    "data": Place("Data", "harness.ui.data"),
    "production": Place("Production", "harness.ui.production"),
}
"""Address to page; the first is home."""
HOME: Final = next(iter(PLACES))


def page(name: str) -> Any:
    """The `st.Page` at an address."""
    place, home = PLACES[name], name == HOME
    visibility = "visible" if place.listed else "hidden"
    draw = functools.partial(_draw, name)
    return st.Page(draw, title=place.title, url_path="" if home else name, default=home, visibility=visibility)


def link(name: str, label: str, **query: str) -> None:
    """A link to a page, its state in the address. label: Markdown, so text of users goes through `plain`."""
    icon = ":material/arrow_forward:"
    st.page_link(page(name), label=label, icon=icon, icon_position="right", query_params=query or None)


def go(name: str, **query: str) -> None:
    """Leave for another page at once."""
    st.switch_page(page(name), query_params=query)


def asked(key: str) -> str:
    """What the address says of `key`; empty where it says nothing."""
    return str(st.query_params.get(key, ""))


def _draw(name: str) -> None:
    importlib.import_module(PLACES[name].module).show(Store())
