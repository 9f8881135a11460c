"""Tables of texts that wrap, so that nothing is cut off on a laptop; sorted as they are given, every text inert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from harness.leaderboard.text import GLYPHS
from harness.ui.markup import DASH, number, text

OUTCOME: Final = "outcome"
"""A column of this name is told by sign, word and colour."""


@dataclass(frozen=True)
class Told:
    """One column of such a table."""

    title: str
    told: str
    """Hover help."""
    width: float = 0.0
    """In rem; 0 shares what the others leave."""
    form: str = ""
    """How a number is written, e.g. `.3f`; then it stands to the right. Empty for text."""
    below: str = ""
    """A column whose text stands below, smaller."""


def table(frame: pd.DataFrame, columns: Mapping[str, Told], caption: str) -> str:
    """The HTML of a frame. columns: those of the frame that are shown, in their order; caption: for screen readers."""
    widths = "".join(f'<col style="width:{one.width}rem">' if one.width else "<col>" for one in columns.values())
    head = "".join(
        f'<th scope="col"{_right(one)} title="{text(one.told)}">{text(one.title)}</th>' for one in columns.values()
    )
    body = "".join(
        "<tr>" + "".join(f"<td{_right(one)}>{_cell(row, key, one)}</td>" for key, one in columns.items()) + "</tr>"
        for row in frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    )
    return (
        f'<div class="hx hx-lines"><table><caption class="gone">{text(caption)}</caption><colgroup>{widths}</colgroup>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _right(column: Told) -> str:
    return ' class="num"' if column.form else ""


def _cell(row: Mapping[Any, Any], key: str, column: Told) -> str:
    value = row[key]
    if key == OUTCOME:
        return f'<span class="{text(value)}">{GLYPHS[value]}</span>'
    shown = (number(value, column.form) if column.form else text(value)) or DASH
    below = text(row[column.below]) if column.below else ""
    return shown + (f"<small>{below}</small>" if below else "")
