"""The leaderboard's frames."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from sample_records import training_record
from sample_store import HOSTILE, Case, begin, build, evaluate

from harness import leaderboard
from harness.leaderboard import charts, comparing, examining
from harness.store import ExperimentStore, Store

Sides = tuple[ExperimentStore, str, ExperimentStore, str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def rows(store: Store) -> pd.DataFrame:
    return leaderboard.rows(store)


def more() -> list[str]:
    return [name for name in leaderboard.BOARD_COLUMNS if name not in leaderboard.SUMMARY_COLUMNS]


def of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["name"] == name].set_index("candidate")


def test_every_experiment_starts_with_the_raw_base_then_the_best_prompt_then_the_tuned(rows: pd.DataFrame) -> None:
    assert list(of(rows, "tickets-lora").index) == ["base", "best_prompt", "tuned-seed0", "tuned-seed1", "majority"]
    assert all(group["candidate"].iloc[0] == "base" for _, group in rows.groupby("experiment"))
    assert all(list(group["order"]) == list(range(len(group))) for _, group in rows.groupby("experiment"))


def test_the_newest_experiment_stands_first(rows: pd.DataFrame) -> None:
    names = ["tickets-lora", "intents-lora", "routing-recipe", "claims-lora", "spent-lora", "summary-lora"]
    names += ["faq-prompt", "orders-lora", "half-done"]
    assert list(dict.fromkeys(rows["name"])) == names


def test_every_column_is_documented(rows: pd.DataFrame, store: Store) -> None:
    suites = [c for c in rows.columns if c not in leaderboard.COLUMNS]
    assert list(rows.columns) == [*leaderboard.COLUMNS, *suites]
    assert suites == [f"regression-core {what}" for what in leaderboard.SUITE_COLUMNS]
    assert list(leaderboard.experiments(store).columns) == list(leaderboard.SUMMARY_COLUMNS)
    assert list(leaderboard.summary(store.find("tickets"))) == [*leaderboard.SUMMARY_COLUMNS, *more()]
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
    absent = ["delta", "delta_n", "training_s", "seed", "regression-core score", "regression-core gate"]
    assert prompt[absent].isna().all()
    majority = of(rows, "faq-prompt").loc["majority"]
    assert majority[["score_low", "tokens_in", "latency_p50_s", "unscored"]].isna().all()
    asked = of(rows, "orders-lora").loc["majority"]
    assert pd.isna(asked["latency_p50_s"])
    assert (asked["tokens_in"], asked["asked"]) == (0, "always 'card', no model")


def test_prompts_before_training_come_in_one_order_and_a_tuned_candidate_under_both_of_its_prompts(
    rows: pd.DataFrame,
) -> None:
    names = ["base", "few_shot", "cot", "rag", "majority", "best_prompt", "tuned-seed0", "tuned-seed0+best_prompt"]
    orders = of(rows, "orders-lora")
    assert list(orders.index) == names
    assert list(orders.loc[names[-2:], "looks"]) == ["2 of 5", "1 of 5"]
    assert orders.loc["tuned-seed0+best_prompt", "method"] == "lora, seed 0, prompt labels+2"
    assert orders.loc["tuned-seed0+best_prompt", "delta_of"] == "tuned-seed0+best_prompt"


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
    ("name", "told"),
    [
        (
            "tickets",
            "Promote: this adapter (tuned-seed0) beats the best prompt on the task: +45.0 points [+36.1, +53.9] "
            "(95 % interval, n = 120, paired-normal); every blocking gate passed; look 1 of 5 at this test split.",
        ),
        (
            "routing",
            "Promote: training this way (3 seeds) beats the best prompt on the task: +49.0 points [+38.2, +61.0] "
            "(low end at 1.25 %, high end at 0.625 % one-sided, n = 100, paired-normal); every blocking gate passed; "
            "look 2 of 5 at this test split.",
        ),
        (
            "spent",
            "Inconclusive: this adapter (tuned-seed0) is not shown to beat the best prompt on the task: "
            "+23.8 points [–, +34.5] (no pass is left to this look, n = 80, paired-normal); "
            "not passed: task vs best_prompt, regression-core vs base; look 6 at a test split that is spent "
            "(5 looks were declared): nothing can pass on it any more, so judge on a fresh test split.",
        ),
        (
            "faq",
            "Prompt suffices: the best prompt scores 0.917 [0.819, 0.964] on the task (95 % interval, n = 60, wilson); "
            "fine-tuning is not worth it.",
        ),
        ("half", "Unfinished: there is no prompt search, no training, no verdict yet."),
    ],
)
def test_the_verdict_is_one_sentence_with_its_claim_its_number_and_its_look(store: Store, name: str, told: str) -> None:
    assert leaderboard.summary(store.find(name))["headline"] == told


def test_the_four_answers_say_what_broke(store: Store) -> None:
    broke = leaderboard.experiments(store).set_index("name")["broke"]
    assert broke["intents-lora"] == "regression-core"
    assert broke["claims-lora"] == "language=de, critical.jsonl, latency_p95_s and 1 more"
    assert broke["tickets-lora"] == "Nothing found"
    assert broke["faq-prompt"] == "Not measured"


def sides(folder: ExperimentStore, candidate: str, reference: str, suite: str = "task") -> Sides:
    return folder, f"{candidate}--{suite}--test", folder, f"{reference}--{suite}--test"


def test_samples_are_joined_on_their_id_and_count_the_same_flips_as_the_gate(store: Store) -> None:
    experiment = store.find("intents")
    found = comparing.pairs(*sides(experiment, "tuned-seed0", "base", "regression-core"))
    gate, counts = leaderboard.gates(experiment).iloc[1], found["flip"].value_counts()
    assert [counts.get(flip, 0) for flip in ("won", "lost", "tied", "unscored")] == [
        gate[flip] for flip in ("won", "lost", "tied", "unscored")
    ]


def test_an_unscored_sample_is_neither_won_nor_lost(store: Store) -> None:
    both = sides(store.find("tickets"), "best_prompt", "base")
    failed = comparing.pairs(*both).query("id == 'test-5'")
    assert list(failed["flip"]) == ["unscored"]
    assert failed["reference_score"].isna().all()
    assert list(comparing.texts(*both, failed)["reference_error"]) == ["the engine died"]


def test_an_empty_store_has_empty_frames_with_all_columns(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere")
    assert leaderboard.rows(store).empty
    assert list(leaderboard.rows(store).columns) == list(leaderboard.COLUMNS)
    assert leaderboard.experiments(store).empty
    assert leaderboard.damaged(store).empty


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


def test_a_judged_candidate_has_its_look_and_its_claim_and_no_other_has(rows: pd.DataFrame) -> None:
    claims = of(rows, "claims-lora")
    assert list(claims.loc[["tuned-seed0", "tuned-seed1"], "looks"]) == ["1 of 5", "2 of 5"]
    assert claims.loc[["base", "best_prompt", "majority"], ["looks", "claim"]].isna().all(axis=None)
    recipe = of(rows, "routing-recipe").loc[["tuned-seed0", "tuned-seed1", "tuned-seed2"]]
    assert set(zip(recipe["looks"], recipe["claim"], strict=True)) == {("2 of 5", "recipe")}


def test_the_gates_of_the_judged_finalist_stand_first(store: Store) -> None:
    gates = leaderboard.gates(store.find("claims"))
    assert list(gates["candidate"]) == ["tuned-seed0"] * 6 + ["tuned-seed1"] * 6


def test_a_gate_has_numbers_to_draw_only_where_there_is_a_difference(store: Store) -> None:
    gates = leaderboard.gates(store.find("claims")).iloc[:6].set_index("demand")
    drawn = gates.dropna(subset=["delta", "low", "high", "margin"])
    assert list(drawn["unit"]) == ["points", "points", "s", "points"]
    slower = gates.loc["latency_mean_s at most 0.02 s higher than base's"]
    assert (slower["delta"], slower["margin"], slower["better"]) == (pytest.approx(0.05), 0.02, "lower")


def test_the_margin_of_a_relative_gate_is_drawn_at_zero_and_told_as_a_share(store: Store) -> None:
    gate = leaderboard.gates(store.find("routing")).iloc[2]
    assert (gate["margin"], gate["threshold"], gate["reference"]) == (0.0, "-2 % of base", "0.98 × base")
    assert gate["demand"] == "may lose at most 2 % of base's score"


def test_slices_broken_items_finalists_and_standing_are_frames(store: Store) -> None:
    claims = store.find("claims")
    slices = leaderboard.slices(claims)
    assert list(slices["slice"])[:3] == ["language=de", "language=en", "language=fr"]
    assert list(slices["outcome"])[:3] == ["fail", "pass", "pass"]
    broken = leaderboard.broken(claims)
    assert list(broken["id"]) == ["test-0", "test-5", "test-6"]
    assert list(broken.loc[2, ["target", "answer"]]) == ["card", HOSTILE]
    assert list(leaderboard.finalists(claims)["look"]) == ["1 of 5", "2 of 5"]
    assert list(leaderboard.standing(claims)["what"]) == ["claim", "judged", "test split", "family"]


def test_records_of_version_1_are_read_and_shown() -> None:
    old = Store(Path(__file__).parent / "stored")
    assert leaderboard.damaged(old).empty
    gates = leaderboard.gates(old.find("version-one"))
    assert list(gates["outcome"]) == ["pass", "fail"]
    assert list(gates["found"]) == ["+41.7 points [+12.5, +70.8]", "-63.6 points [-93.5, -33.8]"]
    assert list(gates["levels"]) == ["95 % interval"] * 2
    assert of(leaderboard.rows(old), "version-one").loc["tuned-seed0", "task_gate"] == "pass"


def test_lights_tell_task_regression_and_safety_apart_and_say_every_gate(rows: pd.DataFrame) -> None:
    first, second = (of(rows, "claims-lora").loc[name] for name in ("tuned-seed0", "tuned-seed1"))
    assert (first["task_gate"], first["regression"], second["regression"]) == ("fail", "fail", "inconclusive")
    assert first["regression_gates"].startswith(
        "fail: every item of critical.jsonl right: 3 broken; pass: regression-core may"
    )
    assert rows["safety"].isna().all()


def test_seeds_of_one_recipe_stand_with_their_spread_and_a_single_one_has_none(rows: pd.DataFrame) -> None:
    recipe = of(rows, "routing-recipe").loc["tuned-seed1"]
    assert (recipe["seeds"], recipe["spread_low"], recipe["spread_high"]) == (3, 0.88, 0.95)
    single = of(rows, "orders-lora").loc["tuned-seed0"]
    assert (single["seeds"], pd.isna(single["spread_low"])) == (1, True)


def test_money_is_told_only_at_the_experiments_own_prices(tmp_path: Path) -> None:
    case = Case("priced", "inconclusive", "", {"base": 0.5, "tuned-seed0": 0.9, "tuned-seed1": 0.9}, {}, n=10)
    folder = begin(Store(tmp_path), case)
    evaluate(folder, case)
    folder.write(training_record([0, 1]).model_copy(update={"cost": 1.91}))
    assert leaderboard.contestant_rows(folder)["cost_per_1000"].isna().all()
    spec = folder.path / "spec.yaml"
    spec.write_text(spec.read_text() + "budget: {input_price: 1.0, output_price: 2.0}\n")
    rows = leaderboard.contestant_rows(folder).set_index("candidate")
    assert rows.loc["base", "cost_per_1000"] == pytest.approx((21 + 2 * 4) / 1000)
    assert list(rows["training_cost"].dropna()) == [pytest.approx(0.95), pytest.approx(0.96)]
    assert leaderboard.summary(folder)["cost"] == "3 min of training, 1.91"


def test_two_runs_are_joined_by_column_and_only_the_rows_asked_for_are_read(store: Store) -> None:
    folder = store.find("claims")
    both = sides(folder, "tuned-seed0", "best_prompt")
    found = comparing.pairs(*both)
    assert list(found.columns) == list(comparing.PAIR_COLUMNS)
    ours, theirs = (folder.samples(run) for run in (both[1], both[3]))
    assert list(found["candidate_score"]) == [sample.scores["exact_match"] for sample in ours]
    told = comparing.texts(*both, found.iloc[[7, 3]])
    assert list(told["question"]) == [ours[7].question, ours[3].question]
    assert list(told["reference_answer"]) == [theirs[7].answer, theirs[3].answer]
    held = comparing.holding(*both, found, "PWNED")
    assert list(held["id"]) == [a.id for a, b in zip(ours, theirs, strict=True) if HOSTILE in (a.answer, b.answer)]


def test_runs_of_two_experiments_meet_on_the_same_items_alone(store: Store) -> None:
    ours, theirs = store.find("claims"), store.find("tickets")
    found = comparing.pairs(ours, "tuned-seed0--task--test", theirs, "best_prompt--task--test")
    assert len(found) == 120
    assert comparing.pairs(ours, "base--task--test", theirs, "base--regression-core--test").empty


def test_a_prompt_is_shown_as_the_chat_template_writes_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}<assistant>"
    run = store.find("claims").run("base--task--test")
    assert run is not None
    model = run.candidate.model.model_copy(
        update={"chat_template_digest": hashlib.sha256(template.encode()).hexdigest()}
    )
    run = run.model_copy(update={"candidate": run.candidate.model_copy(update={"model": model})})
    turns = comparing.turns(run, "Where is it?", None)
    assert turns == [("system", "Answer with the intent label only."), ("user", "Where is it?")]
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path))
    assert comparing.rendered(run, turns) is None
    folder = tmp_path / "models" / model.digest
    folder.mkdir(parents=True)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer_config.json").write_text('{"eos_token": "|"}')
    written = "<system>Answer with the intent label only.|<user>Where is it?|<assistant>"
    assert comparing.rendered(run, turns) == written
    (folder / "chat_template.jinja").write_text(template + " ")
    assert comparing.rendered(run, turns) is None


def test_the_data_of_an_experiment_come_with_their_rows_and_the_balance_of_answers(tmp_path: Path) -> None:
    folder = build(tmp_path).find("tickets")
    assert examining.examined(folder)["findings"]["row"].isna().all()
    spec = folder.spec() | {"data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"}}
    (folder.path / "spec.yaml").write_text(yaml.safe_dump(spec))
    row = {"id": "t", "messages": [{"role": "user", "content": "How?\nSo."}, {"role": "assistant", "content": "Thus."}]}
    lines = [json.dumps(row | {"slices": {"line": n}}) for n in range(1, 30)]
    (folder.path / "train.jsonl").write_text("\n".join(lines))
    read = examining.examined(folder)
    assert list(read["findings"]["row"]) == ['[user]\nHow?\nSo.\n\n[assistant]\nThus.\n\nid: t\nslices: {"line": 17}']
    assert read["labels"].groupby("split")["share"].sum().to_dict() == {"test": pytest.approx(1)}
    assert list(read["splits"]["split"]) == ["train", "dev", "test"]


def test_the_lengths_of_rows_come_in_bins_with_the_limit_where_it_is_a_number(tmp_path: Path) -> None:
    folder = build(tmp_path).find("tickets")
    read = examining.examined(folder)
    assert read["bins"]["rows"].sum() == 300
    assert list(read["bins"]["length"])[:2] == ["40 to 49", "50 to 59"]
    assert read["limit"] is None
    training = json.loads((folder.path / "training.json").read_text())
    training["arguments"]["max_length"] = 128
    (folder.path / "training.json").write_text(json.dumps(training))
    assert examining.examined(folder)["limit"] == 128
    drawn = charts.lengths(read["bins"], 128).to_dict()
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["bar", "rule"]
    assert charts.lengths(read["bins"], 8192).to_dict()["mark"]["type"] == "bar"  # too far to be drawn beside them
    del training["supervision"]["lengths"]  # as older records are
    (folder.path / "training.json").write_text(json.dumps(training))
    assert examining.examined(folder)["bins"].empty


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[" * 100_000, "[" * examining.ROW_LENGTH),  # deeper than anything is read
        (json.dumps({"prompt": "x" * 100_000}), "prompt: " + "x" * (examining.ROW_LENGTH - 8)),
        ('{"messages": "none"}', "messages: none"),
        ("[1]", "[1]"),
    ],
)
def test_a_row_of_any_shape_and_length_is_shown(written: str, shown: str, tmp_path: Path) -> None:
    folder = build(tmp_path).find("tickets")
    spec = folder.spec() | {"data": {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"}}
    (folder.path / "spec.yaml").write_text(yaml.safe_dump(spec))
    (folder.path / "train.jsonl").write_text("{}\n" * 16 + written)
    assert list(examining.examined(folder)["findings"]["row"]) == [shown]
