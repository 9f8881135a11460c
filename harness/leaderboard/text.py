"""How the app spells the frames' values: intervals, outcomes, scores, and text that must not become markdown."""

from __future__ import annotations

import re

import pandas as pd

GLYPHS = {"pass": "● pass", "inconclusive": "◆ inconclusive", "fail": "■ fail"}
FLIPS = {"won": "▲ won", "lost": "▼ lost", "tied": "= tied", "unscored": "? unscored"}


def plain(text: str) -> str:
    """Text for a place that reads markdown: every special character escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])", r"\\\1", " ".join(text.split()))


def score_text(sample: pd.Series, side: str) -> str:
    """`1.00, 64→4 tokens`, with the finish when it was not a plain stop, or why there is no score."""
    score, error = sample[f"{side}_score"], sample[f"{side}_error"]
    told = f"unscored: {error}" if pd.isna(score) else f"{score:.2f}"
    counts = [sample[f"{side}_tokens_in"], sample[f"{side}_tokens_out"]]
    told += "" if any(map(pd.isna, counts)) else f", {counts[0]:.0f}→{counts[1]:.0f} tokens"
    finish = sample[f"{side}_finish"]
    return f"{told}, {finish}" if isinstance(finish, str) and finish != "stop" else told
