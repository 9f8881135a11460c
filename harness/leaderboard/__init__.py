"""The leaderboard's data: plain frames, rebuilt from the records; no pixels, no statistics of its own.

    rows(store)                one row per candidate, newest experiment first, the raw base on top of each
    experiments(store)         one row per experiment: decision, headline, the four answers
    damaged(store)             folders that cannot be read, with the reason
    summary, contestant_rows, gates, slices, broken, finalists, standing, samples,
    learning_curve, prompt_arms, prompt_trace, prompts, prompt_details, findings, facts
                               frames of one experiment

What was not measured is missing (None or NaN) and never 0. `COLUMNS` documents every
column of `rows`, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from harness.evidence import (
    SUMMARY_COLUMNS,
    Contestant,
    Evidence,
    compared,
    contestants,
    gather,
    look_number,
    prompt_parts,
    prompt_text,
    readable,
    summarised,
    who,
)
from harness.leaderboard.detail import facts, findings, learning_curve, prompt_arms, prompt_trace, samples
from harness.leaderboard.gating import GATE_COLUMNS, broken, finalists, gates, slices, standing
from harness.records import Interval
from harness.store import ExperimentStore, Store

__all__ = [
    "COLUMNS",
    "GATE_COLUMNS",
    "SUITE_COLUMNS",
    "SUMMARY_COLUMNS",
    "broken",
    "contestant_rows",
    "damaged",
    "experiments",
    "facts",
    "finalists",
    "findings",
    "gates",
    "learning_curve",
    "prompt_arms",
    "prompt_details",
    "prompt_text",
    "prompt_trace",
    "prompts",
    "rows",
    "samples",
    "slices",
    "stamp",
    "standing",
    "summary",
]

SUITE_COLUMNS: dict[str, str] = {
    "score": "Mean primary score on the suite.",
    "low": "Lower end of its interval.",
    "high": "Upper end of its interval.",
    "n": "Items that entered.",
    "method": "How its interval was computed.",
    "gate": "Worst outcome of the gates on the suite: pass, inconclusive or fail; none when it was not gated.",
}
"""For every other suite S, `rows` has the columns `S score`, `S low`, ..., `S gate`."""

COLUMNS: dict[str, str] = {
    "experiment": "Experiment id: its folder in the store.",
    "name": "Experiment name.",
    "order": "Place inside its experiment: 0 is the raw base, then other prompts, the best one, then the tuned ones.",
    "candidate": "Who answered. `majority` always gives the most frequent training answer.",
    "method": "How it was made: the prompt's name, or the training method and its seed.",
    "asked": "Its prompt in a few words: demonstrations, what is looked up, reasoning, constraint.",
    "score": "Mean primary score on the task's test split.",
    "score_low": "Lower end of the score's interval.",
    "score_high": "Upper end of the score's interval.",
    "score_n": "Items that entered the score.",
    "score_method": "How the score's interval was computed.",
    "delta": "Paired difference to the best prompt on the same items: the gain that fine-tuning has to show.",
    "delta_low": "Lower end of the difference's interval.",
    "delta_high": "Upper end of the difference's interval.",
    "delta_n": "Items joined for the difference.",
    "delta_method": "How the difference's interval was computed.",
    "gain": "The difference as it is read: in its unit, with its interval.",
    "delta_of": "Whose difference it is: the candidate's own, or the mean over the seeds named.",
    "task_gate": "Worst outcome of the gates on the task: pass, inconclusive or fail.",
    "decision": "The experiment's verdict: promote, reject, inconclusive, prompt_suffices, or unfinished.",
    "looks": "Which look at the task's test split it was, of how many declared; missing for one that was not judged.",
    "claim": "What the verdict claims of a judged candidate: artifact, these weights; recipe, training this way.",
    "tokens_in": "Prompt tokens per request on the task.",
    "tokens_out": "Generated tokens per request on the task.",
    "latency_p50_s": "Median seconds per answer on the task; missing where no model answered.",
    "training_s": "Seconds of training, all sittings.",
    "seed": "Training seed.",
    "text_lost": "What held-out general text lost in likelihood against the base model, in nats per byte.",
    **{f"text_lost_{end}": SUITE_COLUMNS[end] for end in ("low", "high", "n", "method")},
    "kl": "KL(base || tuned) on general prompts, in nats per token of the base model's own answers.",
    **{f"kl_{end}": SUITE_COLUMNS[end] for end in ("low", "high", "n", "method")},
    "unscored": "Task items without a score; they count neither as right nor as wrong.",
}
"""Every fixed column of `rows`, with what it means."""

_WORST = ("fail", "inconclusive", "pass")


def rows(store: Store) -> pd.DataFrame:
    """One row per candidate; damaged experiments are left out and told by `damaged`."""
    return _frame(row for evidence in readable(store)[0] for row in _rows(evidence))


def contestant_rows(experiment: ExperimentStore) -> pd.DataFrame:
    """The rows of one experiment."""
    return _frame(_rows(gather(experiment)))


def experiments(store: Store) -> pd.DataFrame:
    """One row per experiment, newest first."""
    return pd.DataFrame([summarised(evidence) for evidence in readable(store)[0]], columns=list(SUMMARY_COLUMNS))


def summary(experiment: ExperimentStore) -> dict[str, Any]:
    """One experiment's row of `experiments`."""
    return summarised(gather(experiment))


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


def stamp(store: Store) -> str:
    """Changes whenever a manifest of the store does: what a cache of these frames is keyed by."""
    places = [p for pattern in ("*/*", "*/runs/*/run.json") for p in store.root.glob(pattern) if p.is_file()]
    newest = max((p.stat().st_mtime_ns for p in places), default=0)
    return f"{store.root.resolve()}:{len(places)}:{newest}"


def _frame(made: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Fixed columns first, then those of the other suites as they come."""
    listed = list(made)
    extra = dict.fromkeys(key for row in listed for key in row if key not in COLUMNS)
    frame = pd.DataFrame(listed, columns=[*COLUMNS, *extra])
    whole = [c for c in frame.columns if c in ("order", "seed", "unscored") or c.endswith((" n", "_n"))]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _rows(evidence: Evidence) -> list[dict[str, Any]]:
    everyone = contestants(evidence)
    made = [_row(evidence, contestant) for contestant in everyone]
    data = evidence.data
    if data and data.majority_score is not None and "majority" not in [one.name for one in everyone]:
        test = data.splits.get("test")
        made.append(
            {
                **_identity(evidence, len(everyone), "majority"),
                "method": "most frequent",
                "score": data.majority_score,
                "score_n": test.rows if test else None,
                "score_method": "exact share",
            }
        )
    return made


def _identity(evidence: Evidence, order: int, candidate: str) -> dict[str, Any]:
    return {
        "experiment": evidence.id,
        "name": evidence.name,
        "order": order,
        "candidate": candidate,
        "decision": evidence.decision,
    }


def _row(evidence: Evidence, contestant: Contestant) -> dict[str, Any]:
    task = contestant.runs.get("task")
    to_bar = contestant.to_bar
    row = _identity(evidence, contestant.order, contestant.name) | {
        "method": contestant.method,
        "asked": contestant.asked,
        **_interval("score", "_", contestant.score),
        **_interval("delta", "_", to_bar.difference if to_bar else None),
        "gain": compared(to_bar).shown if to_bar else None,
        "delta_of": " + ".join(who(to_bar.candidate)) if to_bar else None,
        "task_gate": _outcome(contestant, "task"),
        "looks": look_number(contestant.look),
        "claim": evidence.verdict.claim if evidence.verdict and contestant.gates else None,
        "tokens_in": contestant.tokens_in,
        "tokens_out": contestant.tokens_out,
        "latency_p50_s": contestant.latency_p50_s,
        "training_s": contestant.training.seconds if contestant.training else None,
        "seed": contestant.seed,
        **_interval("text_lost", "_", contestant.forgotten.text if contestant.forgotten else None),
        **_interval("kl", "_", contestant.forgotten.kl if contestant.forgotten else None),
        "unscored": task.unscored if task else None,
    }
    for suite in evidence.suites:
        run = contestant.runs.get(suite)
        whole = run.metric("*", "primary") if run else None
        row |= _interval(f"{suite} ", "", whole.estimate if whole else None)
        row[f"{suite} gate"] = _outcome(contestant, suite)
    return row


def _interval(prefix: str, joint: str, interval: Interval | None) -> dict[str, Any]:
    """An interval as five columns."""
    names = {"low": "low", "high": "high", "n": "n", "method": "method"}
    value_name = prefix if joint else f"{prefix}score"
    values = {value_name: interval.value if interval else None}
    return values | {f"{prefix}{joint}{n}": getattr(interval, f) if interval else None for n, f in names.items()}


def _outcome(contestant: Contestant, suite: str) -> str | None:
    """The worst outcome of the gates that judged this candidate on a suite."""
    outcomes = {gate.outcome for gate in contestant.gates if gate.suite == suite}
    return next((outcome for outcome in _WORST if outcome in outcomes), None)
