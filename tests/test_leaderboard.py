"""The leaderboard's frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sample_store import build

from harness import leaderboard
from harness.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def rows(store: Store) -> pd.DataFrame:
    return leaderboard.rows(store)


def of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["name"] == name].set_index("candidate")


def test_every_experiment_starts_with_the_raw_base_then_the_best_prompt_then_the_tuned(rows: pd.DataFrame) -> None:
    assert list(of(rows, "tickets-lora").index) == ["base", "best_prompt", "tuned-seed0", "tuned-seed1", "majority"]
    assert all(group["candidate"].iloc[0] == "base" for _, group in rows.groupby("experiment"))
    assert all(list(group["order"]) == list(range(len(group))) for _, group in rows.groupby("experiment"))


def test_the_newest_experiment_stands_first(rows: pd.DataFrame) -> None:
    names = ["tickets-lora", "intents-lora", "summary-lora", "faq-prompt", "half-done"]
    assert list(dict.fromkeys(rows["name"])) == names


def test_every_column_is_documented(rows: pd.DataFrame, store: Store) -> None:
    suites = [c for c in rows.columns if c not in leaderboard.COLUMNS]
    assert list(rows.columns) == [*leaderboard.COLUMNS, *suites]
    assert suites == [f"regression-core {what}" for what in leaderboard.SUITE_COLUMNS]
    assert list(leaderboard.experiments(store).columns) == list(leaderboard.SUMMARY_COLUMNS)
    assert list(leaderboard.gates(store.find("tickets")).columns) == list(leaderboard.GATE_COLUMNS)


def test_a_score_stands_with_its_interval_n_and_method(rows: pd.DataFrame) -> None:
    base = of(rows, "tickets-lora").loc["base"]
    assert base["score_low"] < base["score"] < base["score_high"]
    assert (base["score_n"], base["score_method"], base["unscored"]) == (119, "wilson", 1)


def test_the_difference_to_the_bar_is_the_one_that_the_gate_judged(rows: pd.DataFrame, store: Store) -> None:
    tuned = of(rows, "tickets-lora").loc["tuned-seed0"]
    gate = leaderboard.gates(store.find("tickets")).iloc[0]
    assert (tuned["delta"], tuned["delta_low"], tuned["delta_n"]) == (gate["delta"], gate["low"], gate["n"])
    assert tuned["task_gate"] == "pass"


def test_what_was_not_measured_is_missing_and_never_zero(rows: pd.DataFrame) -> None:
    prompt = of(rows, "faq-prompt").loc["best_prompt"]
    absent = ["delta", "delta_n", "training_s", "seed", "task_gate", "regression-core score", "regression-core gate"]
    assert prompt[absent].isna().all()
    majority = of(rows, "faq-prompt").loc["majority"]
    assert majority[["score_low", "tokens_in", "latency_p50_s", "unscored"]].isna().all()


def test_a_broken_suite_is_seen_in_the_row_of_the_candidate(rows: pd.DataFrame) -> None:
    intents = of(rows, "intents-lora")
    assert intents.loc["tuned-seed0", "regression-core gate"] == "fail"
    assert pd.isna(intents.loc["base", "regression-core gate"])


def test_damaged_and_foreign_folders_are_told_with_the_reason(store: Store) -> None:
    reasons = leaderboard.damaged(store).set_index("folder")["reason"]
    assert "not an experiment" in reasons["notes"]
    assert "not a VerdictRecord" in reasons["torn--00000000"]


def test_damaged_comparisons_are_told_too(tmp_path: Path) -> None:
    store = build(tmp_path)
    (store.find("tickets").path / "comparisons.jsonl").write_text("{}\n")
    assert "tickets-lora" not in set(leaderboard.rows(store)["name"])
    assert any("tickets" in folder for folder in leaderboard.damaged(store)["folder"])


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("tickets", "Promote: tuned-seed0 beats the best prompt on the task: +0."),
        ("intents", "Reject: tuned-seed0 beats the best prompt"),
        ("summary", "Inconclusive: tuned-seed0 is not shown to beat the best prompt"),
        ("faq", "Prompt suffices: the best prompt scores 0."),
        ("half", "Unfinished: there is no prompt search, no training, no verdict yet."),
    ],
)
def test_the_verdict_is_one_sentence_with_its_number(store: Store, name: str, start: str) -> None:
    assert leaderboard.summary(store.find(name))["headline"].startswith(start)


def test_the_four_answers_say_what_broke(store: Store) -> None:
    broke = leaderboard.experiments(store).set_index("name")["broke"]
    assert broke["intents-lora"] == "regression-core"
    assert broke["tickets-lora"] == "Nothing found"
    assert broke["faq-prompt"] == "Not measured"


def test_samples_are_joined_on_their_id_and_count_the_same_flips_as_the_gate(store: Store) -> None:
    experiment = store.find("intents")
    samples = leaderboard.samples(experiment, "regression-core", "tuned-seed0", "base")
    gate = leaderboard.gates(experiment).iloc[1]
    counts = samples["flip"].value_counts()
    assert [counts.get(flip, 0) for flip in ("won", "lost", "tied", "unscored")] == [
        gate[flip] for flip in ("won", "lost", "tied", "unscored")
    ]


def test_an_unscored_sample_is_neither_won_nor_lost(store: Store) -> None:
    samples = leaderboard.samples(store.find("tickets"), "task", "best_prompt", "base").set_index("id")
    failed = samples.loc["test-5"]
    assert failed["flip"] == "unscored"
    assert pd.isna(failed["reference_score"])
    assert failed["reference_error"] == "the engine died"


def test_an_empty_store_has_empty_frames_with_all_columns(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere")
    assert leaderboard.rows(store).empty
    assert list(leaderboard.rows(store).columns) == list(leaderboard.COLUMNS)
    assert leaderboard.experiments(store).empty
    assert leaderboard.damaged(store).empty
    assert leaderboard.stamp(store)


def test_the_stamp_changes_with_a_manifest(tmp_path: Path) -> None:
    store = build(tmp_path)
    before = leaderboard.stamp(store)
    store.create("new--11111111", "name: new\n")
    assert leaderboard.stamp(store) != before


def test_frames_of_an_unfinished_experiment_are_empty_and_not_faulty(store: Store) -> None:
    experiment = store.find("half")
    frames = (leaderboard.gates, leaderboard.learning_curve, leaderboard.prompt_arms, leaderboard.findings)
    assert all(frame(experiment).empty for frame in frames)
    assert "provenance" in set(leaderboard.facts(experiment)["group"])


def test_prompts_are_told_in_full(store: Store) -> None:
    arms = leaderboard.prompt_arms(store.find("tickets")).set_index("arm")
    assert arms.loc["labels+2", "text"].count("[user]") == 2
    assert arms.loc["raw", "n"] == 1
    assert leaderboard.prompts(store.find("tickets"))["base"] == "[system]\nAnswer with the intent label only."


def test_the_frames_need_neither_streamlit_nor_altair() -> None:
    code = "import sys, harness.leaderboard; assert not {'streamlit', 'altair', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
