"""The leaderboard's data: plain frames, rebuilt from the records; no pixels, no statistics of its own.

    Index(store)               the frames of all experiments below, remembered and read anew only where a file changed:
                               what a page is drawn from
    rows(store)                one row per candidate, newest experiment first, the raw base on top of each
    experiments(store)         one row per experiment: decision, headline, the four answers
    damaged(store)             folders that cannot be read, with the reason
    pointers(store), moves(store)  where each alias points, and every move that led there
    summary, contestant_rows, gates, slices, broken, finalists, standing,
    comparing                  two runs side by side, column by column
    learning_curve, learning_dev, trials, prompt_arms, prompt_trace, prompts, prompt_details, findings, facts
                               frames of one experiment

What was not measured is missing (None or NaN) and never 0. `COLUMNS` documents every
column of `rows`, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.evidence import (
    SUMMARY_COLUMNS,
    contestants,
    gather,
    prompt_parts,
    prompt_text,
    readable,
    summarised,
)
from harness.leaderboard import comparing, examining
from harness.leaderboard.answered import BOARD_COLUMNS, answered
from harness.leaderboard.candidates import COLUMNS, SUITE_COLUMNS, frame, rows_of
from harness.leaderboard.costs import money_monthly, money_rows, money_stages, money_terms
from harness.leaderboard.deployed import MOVE_COLUMNS, POINTER_COLUMNS, aliases, moves, pointers
from harness.leaderboard.detail import (
    TRIAL_COLUMNS,
    facts,
    findings,
    learning_curve,
    learning_dev,
    prompt_arms,
    prompt_trace,
    supervised,
    trials,
)
from harness.leaderboard.gating import GATE_COLUMNS, broken, finalists, gates, slices, standing
from harness.leaderboard.index import Index
from harness.store import ExperimentStore, Store

__all__ = [
    "BOARD_COLUMNS",
    "COLUMNS",
    "GATE_COLUMNS",
    "MOVE_COLUMNS",
    "POINTER_COLUMNS",
    "SUITE_COLUMNS",
    "SUMMARY_COLUMNS",
    "TRIAL_COLUMNS",
    "Index",
    "aliases",
    "answered",
    "broken",
    "comparing",
    "contestant_rows",
    "damaged",
    "examining",
    "experiments",
    "facts",
    "finalists",
    "findings",
    "gates",
    "learning_curve",
    "learning_dev",
    "money_monthly",
    "money_rows",
    "money_stages",
    "money_terms",
    "moves",
    "pointers",
    "prompt_arms",
    "prompt_details",
    "prompt_text",
    "prompt_trace",
    "prompts",
    "rows",
    "slices",
    "standing",
    "summary",
    "supervised",
    "trials",
]


def rows(store: Store) -> pd.DataFrame:
    """One row per candidate; damaged experiments are left out and told by `damaged`."""
    return frame(row for evidence in readable(store)[0] for row in rows_of(evidence))


def contestant_rows(experiment: ExperimentStore) -> pd.DataFrame:
    """The rows of one experiment."""
    return frame(rows_of(gather(experiment)))


def experiments(store: Store) -> pd.DataFrame:
    """One row per experiment, newest first."""
    return pd.DataFrame([summarised(evidence) for evidence in readable(store)[0]], columns=list(SUMMARY_COLUMNS))


def summary(experiment: ExperimentStore) -> dict[str, Any]:
    """One experiment's row of `Index.experiments`; see `BOARD_COLUMNS`."""
    return answered(gather(experiment))


def prompts(experiment: ExperimentStore) -> dict[str, str]:
    """Every contestant's prompt on the task, in full."""
    return {c.name: prompt_text(c.candidate.prompt) for c in contestants(gather(experiment))}


def prompt_details(experiment: ExperimentStore) -> pd.DataFrame:
    """What every contestant's prompt is made of, as `candidate`, `what`, `value`."""
    everyone = contestants(gather(experiment))
    made = [(c.name, *part) for c in everyone for part in prompt_parts(c.candidate.prompt, c.candidate.decoding)]
    return pd.DataFrame(made, columns=["candidate", "what", "value"])


def damaged(store: Store) -> pd.DataFrame:
    """Folders that are no experiments or cannot be read: `folder` and `reason`."""
    faults = {**store.damaged(), **readable(store)[1]}
    return pd.DataFrame(sorted(faults.items()), columns=["folder", "reason"])
