"""Two runs side by side, read column by column: who won what, and the texts of the rows that are looked at.

    test_runs(experiment)    its runs on test items: run, candidate, suite, n, metrics
    pairs(...)               the light half: items, scores and flips, without any text
    texts(...)               the heavy half, for the few rows that a page shows
    holding(...)             which items hold a text that is searched for

The two runs may be of two experiments; items meet by task, id and repeat, and only where they are the same item.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness import artifacts
from harness.chat import Found, chat
from harness.errors import HarnessError
from harness.records import Item, Message, Prompt, RunRecord
from harness.store import ExperimentStore

PRIMARY: Final = "primary"
KEY: Final = ["task", "id", "repeat"]
LIGHT: Final = ("task", "id", "repeat", "item_digest", "scores", "slices")
HEAVY: Final = (
    "question", "target", "answer", "reasoning", "retrieved", "scores", "error", "finish", "tokens_in", "tokens_out",
    "latency_s",
)  # fmt: skip
SIDES: Final = ("candidate", "reference")
PAIR_COLUMNS: Final = {
    "task": "Task name.",
    "id": "Item id.",
    "repeat": "Which repetition of the item.",
    "flip": "won, lost, tied or unscored, seen from the candidate.",
    "metric": "Metric of the scores.",
    "slices": "`name=value` of the item, in order, joined by `, `.",
    "candidate_score": "The candidate's score; missing where unscored.",
    "reference_score": "The reference's, likewise.",
    "candidate_row": "Row of the candidate's samples, from 0.",
    "reference_row": "Row of the reference's samples, from 0.",
}
"""Every column of `pairs`, with what it means."""
TEXT_COLUMNS: Final = ("question", "target", *(f"{side}_{name}" for side in SIDES for name in HEAVY[2:]))
"""Every column of `texts`; `scores` are (name, value) pairs."""


def test_runs(experiment: ExperimentStore) -> pd.DataFrame:
    """The complete runs on test items, the task first: `run`, `candidate`, `suite`, `n`, `metrics` (names)."""
    made = [
        (run.id, run.candidate.name, run.suite, run.n, sorted({one.metric for one in run.metrics} - {PRIMARY}))
        for run in experiment.runs()
        if run.split == "test"
    ]
    frame = pd.DataFrame(made, columns=["run", "candidate", "suite", "n", "metrics"])
    return frame.sort_values("suite", key=lambda names: names.ne("task"), kind="stable", ignore_index=True)


def pairs(
    experiment: ExperimentStore, candidate: str, other: ExperimentStore, reference: str, metric: str = PRIMARY
) -> pd.DataFrame:
    """Two runs (their ids) item by item, in the order of the candidate's; see `PAIR_COLUMNS`.

    metric: a name, or `primary` for each task's own first one. Items of the same name but of another content are
    left out, and so are those that one side was never asked.
    """
    sides = []
    for store, run, side in ((experiment, candidate, "candidate"), (other, reference, "reference")):
        table = store.sample_columns(run, LIGHT)
        frame = table.select([*KEY, "item_digest"]).to_pandas()
        frame[f"{side}_score"] = _scores(table, store.run(run), metric)
        frame[f"{side}_row"] = np.arange(len(frame))
        if side == "candidate":
            frame["metric"] = _metrics(frame["task"], store.run(run), metric)
            frame["slices"] = [", ".join(f"{k}={v}" for k, v in sorted(one)) for one in table["slices"].to_pylist()]
        sides.append(frame.drop_duplicates(KEY, keep="last"))
    both = sides[0].merge(sides[1], on=[*KEY, "item_digest"], how="inner")
    ours, theirs = both["candidate_score"], both["reference_score"]
    told = np.select([ours.isna() | theirs.isna(), ours > theirs, ours < theirs], ["unscored", "won", "lost"], "tied")
    made: pd.DataFrame = both.assign(flip=told)[list(PAIR_COLUMNS)]
    return made


def texts(
    experiment: ExperimentStore, candidate: str, other: ExperimentStore, reference: str, rows: pd.DataFrame
) -> pd.DataFrame:
    """The texts of some rows of `pairs`, in their order; see `TEXT_COLUMNS`. Only their row groups are read."""
    if rows.empty:
        return pd.DataFrame(columns=list(TEXT_COLUMNS))
    ours = experiment.sample_columns(candidate, HEAVY, list(rows["candidate_row"])).to_pylist()
    theirs = other.sample_columns(reference, HEAVY[2:], list(rows["reference_row"])).to_pylist()
    made = [
        {"question": one["question"], "target": one["target"]}
        | {f"candidate_{name}": one[name] for name in HEAVY[2:]}
        | {f"reference_{name}": two[name] for name in HEAVY[2:]}
        for one, two in zip(ours, theirs, strict=True)
    ]
    return pd.DataFrame(made, columns=list(TEXT_COLUMNS), index=rows.index).astype(object)


def holding(
    experiment: ExperimentStore, candidate: str, other: ExperimentStore, reference: str, rows: pd.DataFrame, text: str
) -> pd.DataFrame:
    """Those rows of `pairs` whose id, question, gold or one of both answers holds the text, in any case."""
    ours = _hits(experiment.sample_columns(candidate, ("id", "question", "target", "answer")), text)
    theirs = _hits(other.sample_columns(reference, ("answer",)), text)
    return rows[ours[rows["candidate_row"]] | theirs[rows["reference_row"]]]


def turns(run: RunRecord | None, question: str, retrieved: list[str] | None) -> list[tuple[str, str]] | None:
    """The turns that a candidate was sent for a question, as (role, text); None where its record cannot tell.

    What was looked up stands in the record by name, and so it stands here. A prompt that was never put around
    the item (plain texts of suites) has no turns.
    """
    if run is None or run.suite != "task":
        return None
    prompt: Prompt = run.candidate.prompt
    item = Item(id="shown", messages=(Message(role="user", content=question),), target="")
    found = Found(context=f"[looked up: {', '.join(retrieved or ()) or 'nothing'}]") if prompt.retrieval else None
    try:
        return [(turn.role, turn.content) for turn in chat(prompt, item, found)]
    except HarnessError:
        return None


def rendered(run: RunRecord | None, sent: list[tuple[str, str]]) -> str | None:
    """The turns as the model's chat template writes them: what went to the model, to the letter.

    None where the model is not on this machine under its digest or at its path, or has another template by now.
    """
    if run is None or run.candidate.prompt.retrieval is not None:
        return None
    from harness.models import prompt_text  # not needed to draw the page

    model = run.candidate.model
    turns = [{"role": role, "content": content} for role, content in sent]
    for path in (artifacts.folder("models", model.digest), Path(model.name)):
        if text := prompt_text(path, model.chat_template_digest, turns):
            return text
    return None


def _hits(table: pa.Table, text: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found = np.zeros(len(table), dtype=bool)
    for name in table.column_names:
        hits = pc.match_substring(table[name], text, ignore_case=True)
        found |= pc.fill_null(hits, False).to_numpy(zero_copy_only=False).astype(bool)
    return found


def _metrics(tasks: pd.Series, run: RunRecord | None, metric: str) -> pd.Series:
    return tasks.map(run.primary if run else {}) if metric == PRIMARY else pd.Series(metric, index=tasks.index)


def _scores(table: pa.Table, run: RunRecord | None, metric: str) -> pd.Series:
    """One score a sample: of its task's own first metric, or of the one that is named; missing where unscored."""
    names = _metrics(table["task"].to_pandas(), run, metric)
    scores = pd.Series(np.nan, index=names.index, dtype="float64")
    for name in names.dropna().unique():
        found = pc.map_lookup(table["scores"].combine_chunks(), pa.scalar(name), "first")
        mine = names == name
        scores[mine] = pd.Series(found.to_numpy(zero_copy_only=False), dtype="float64")[mine]
    return scores
