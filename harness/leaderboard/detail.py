"""Frames of one experiment: learning curves, prompt race, data findings, facts."""

from __future__ import annotations

import pandas as pd

from harness import evidence as ev
from harness.evidence import facts_of, gather, prompt_text, prompt_words
from harness.records import DataRecord, PromptRecord, TrainingRecord
from harness.store import ExperimentStore


def learning_curve(experiment: ExperimentStore) -> pd.DataFrame:
    """Training loss by step and seed."""
    training = experiment.read(TrainingRecord)
    made = [
        {"seed": one.seed, "step": point.step, "loss": point.loss, "learning_rate": point.learning_rate}
        for one in (training.seeds if training else ())
        for point in one.curve
    ]
    return pd.DataFrame(made, columns=["seed", "step", "loss", "learning_rate"])


def learning_dev(experiment: ExperimentStore) -> pd.DataFrame:
    """Looks at dev by step and seed: `seed`, `step`, `score`, `n`, `loss`, `chosen` (whether its weights came out)."""
    training = experiment.read(TrainingRecord)
    made = [
        (one.seed, point.step, point.score, point.n, point.loss, point.step == one.chosen_step)
        for one in (training.seeds if training else ())
        for point in one.dev
    ]
    frame = pd.DataFrame(made, columns=["seed", "step", "score", "n", "loss", "chosen"])
    return frame.astype({"score": "float64", "loss": "float64", "chosen": "bool"})


TRIAL_COLUMNS: dict[str, str] = {
    "number": "Which trial, from 0.",
    "fields": "The settings that it tried; `(taken)` where they were then trained with every seed.",
    "score": "Its best look at dev; missing where it had none.",
    "steps": "Optimizer steps that it took.",
    "ended": "complete, or why it was stopped.",
    "text_lost": "How much less likely general text became, with its interval.",
    "kl": "How far its answers to general prompts lie from the base model's, with its interval.",
    "kl_value": "The same as a number.",
}
"""Every column of `trials`, with what it means."""


def trials(experiment: ExperimentStore) -> pd.DataFrame:
    """Every trial of the sweep; empty where there was none."""
    known = gather(experiment)
    measured = {trial.number: one for trial, one in ev.trade_off(known)}
    made = []
    for one in known.sweep.trials if known.sweep else ():
        told = ", ".join(f"{name} {ev.field(value)}" for name, value in one.fields.items())
        if known.sweep is not None and one.state == "complete" and one.fields == known.sweep.best:
            told += " (taken)"
        forgot = measured.get(one.number)
        lost = (None, None, None) if forgot is None else (ev.span(forgot.text), ev.span(forgot.kl), forgot.kl.value)
        made.append((one.number, told, one.score, one.steps, one.reason or one.state, *lost))
    return pd.DataFrame(made, columns=list(TRIAL_COLUMNS)).astype({"score": "float64", "kl_value": "float64"})


def supervised(experiment: ExperimentStore) -> list[str]:
    """Rows as the trainer was handed them, the learned span between [[ and ]]; empty where nothing was trained."""
    training = experiment.read(TrainingRecord)
    return [training.supervision.example, *training.supervision.more_examples] if training else []


def prompt_arms(experiment: ExperimentStore) -> pd.DataFrame:
    """The prompt search, best first: name, origin, mean on dev, items and tokens, last round, fate, text in full."""
    race = experiment.read(PromptRecord)
    made = [
        {
            "arm": arm.prompt.name,
            "mean": arm.mean,
            "origin": arm.origin or None,
            "what": prompt_words(arm.prompt, arm.decoding),
            "n": sum(score is not None for score in arm.scores),
            "tokens": arm.tokens / len(arm.scores) if arm.tokens is not None and arm.scores else None,
            "round": arm.rung + 1,
            "fate": arm.fate,
            "text": prompt_text(arm.prompt),
        }
        for arm in (race.arms if race else ())
    ]
    columns = ["arm", "origin", "what", "mean", "n", "tokens", "round", "fate", "text"]
    return pd.DataFrame(made, columns=columns).astype({"mean": "float64", "tokens": "float64"})


def prompt_trace(experiment: ExperimentStore) -> pd.DataFrame:
    """How good the best prompt so far was when so much of the budget was spent: `spent`, `unit`, `leader`, `mean`."""
    found = experiment.read(PromptRecord)
    unit = found.budget_unit if found else "calls"
    made = [
        (point.calls if unit == "calls" else point.tokens, unit, point.leader, point.mean)
        for point in (found.trace if found else ())
    ]
    frame = pd.DataFrame(made, columns=["spent", "unit", "leader", "mean"])
    return frame.astype({"spent": "float64", "mean": "float64"}).dropna(subset=["spent", "mean"])


def findings(experiment: ExperimentStore) -> pd.DataFrame:
    """What the data audit found, errors first."""
    data = experiment.read(DataRecord)
    made = [finding.model_dump() for finding in (data.findings if data else ())]
    return pd.DataFrame(made, columns=["severity", "rule", "file", "line", "message"])


def facts(experiment: ExperimentStore) -> pd.DataFrame:
    """Where and with what it was made, as `group`, `what`, `value`: data, prompt, training, provenance."""
    return pd.DataFrame(facts_of(gather(experiment)), columns=["group", "what", "value"])
