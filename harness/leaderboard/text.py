"""How the app spells the frames' values: intervals, outcomes, scores, and text that must not become markdown."""

from __future__ import annotations

import re

import pandas as pd

GLYPHS = {"pass": "● pass", "inconclusive": "◆ inconclusive", "fail": "■ fail"}
FLIPS = {"won": "▲ won", "lost": "▼ lost", "tied": "= tied", "unscored": "? unscored"}


def plain(text: str) -> str:
    """Text for a place that reads markdown: every special character escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])", r"\\\1", " ".join(text.split()))


def spans(rows: pd.DataFrame, value: str, low: str, high: str) -> list[str | None]:
    """`0.742 [0.689, 0.789]` for each row, None where it was not measured."""
    made: list[str | None] = []
    for middle, *ends in zip(rows[value], rows[low], rows[high], strict=True):
        interval = "" if pd.isna(ends[0]) or pd.isna(ends[1]) else f" [{ends[0]:.3f}, {ends[1]:.3f}]"
        made.append(None if pd.isna(middle) else f"{middle:.3f}{interval}")
    return made


def methods_line(rows: pd.DataFrame) -> str:
    """How the intervals in a table were computed."""
    scores, deltas = (", ".join(sorted(set(rows[name].dropna()))) for name in ("score_method", "delta_method"))
    return f"Intervals in brackets: scores {scores}" + (f", differences {deltas}." if deltas else ".")


def score_text(sample: pd.Series, side: str) -> str:
    """`1.00, 64→4 tokens`, with the finish when it was not a plain stop, or why there is no score."""
    score, error = sample[f"{side}_score"], sample[f"{side}_error"]
    told = f"unscored: {error}" if pd.isna(score) else f"{score:.2f}"
    counts = [sample[f"{side}_tokens_in"], sample[f"{side}_tokens_out"]]
    told += "" if any(map(pd.isna, counts)) else f", {counts[0]:.0f}→{counts[1]:.0f} tokens"
    finish = sample[f"{side}_finish"]
    return f"{told}, {finish}" if isinstance(finish, str) and finish != "stop" else told
