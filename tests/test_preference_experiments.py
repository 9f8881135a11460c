"""Experiments over preference rows: read, judged by which answer is likelier, learned from, gone on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_training import tiny

from harness import pipeline
from harness.data import load_preferences
from harness.errors import DataError, SpecError, TrainingError
from harness.progress import Silent
from harness.records import RunRecord, TrainingRecord
from harness.spec import load
from harness.store import ExperimentStore, Store

SIZES = {"train": range(16), "dev": range(20, 26), "test": range(30, 46)}
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "preferences"


def pair(n: int) -> dict[str, Any]:
    """The chosen answer is the longer one, which a model that knows nothing finds less likely."""
    return {"prompt": f"What comes after {n}?", "chosen": f"It is {n + 1}, surely.", "rejected": f"No, {n}."}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def spec_in(folder: Path, model: str, train: dict[str, Any], **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, numbers in SIZES.items():
        write(folder / f"{name}.jsonl", [pair(n) for n in numbers])
    usual = {"rank": 4, "batch_size": 4, "epochs": 2, "learning_rate": 0.02, "select": {"by": "last"}}
    spec = {
        "name": "pairs",
        "model": model,
        "data": {name: f"{name}.jsonl" for name in SIZES} | {"audit": {"rules": {"leak_near": "warn"}}},
        "task": {"metric": "acc", "metrics": ["acc_norm"], "instruction": "Count."},
        "prompt": {"search": "none", "contestants": [], "with_tuned": False},
        "train": usual | train,
        "serve": {"engine": "transformers"},
        "forgetting": False,
        "suites": [],
        "gates": [{"suite": "task", "against": "base", "min_delta": 0.0}],
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(spec | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny(tmp_path_factory.mktemp("tiny")).path)


def faults(spec: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load(spec)
    return str(caught.value)


def run_of(folder: ExperimentStore, name: str) -> RunRecord:
    found = folder.run(f"{name}--task--test")
    assert found is not None
    return found


def test_a_preference_experiment_runs_to_its_verdict_and_another_goes_on_from_what_it_judged(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    store = Store(tmp_path / "reports")
    first = load(spec_in(tmp_path / "sft", model, {}))
    pipeline.run(first, store, Silent())
    after = load(spec_in(tmp_path / "dpo", model, {"objective": "dpo", "start": first.id}, name="after"))
    pipeline.run(after, store, Silent())
    folder = store.at(after.id)
    base, tuned = run_of(folder, "base"), run_of(folder, "tuned-seed0")
    assert [metric.metric for metric in tuned.metrics[:2]] == ["acc", "acc_norm"]
    samples = folder.samples(tuned.id)
    assert all(sample.logprobs is not None and len(sample.logprobs) == 2 for sample in samples)
    assert (base.metrics[0].estimate.value or 0) < (tuned.metrics[0].estimate.value or 0)
    begun, trained = store.at(first.id).read(TrainingRecord), folder.read(TrainingRecord)
    assert begun is not None
    assert trained is not None
    assert trained.seeds[0].curves["rewards/margins"][0].value == 0
    assert begun.seeds[0].adapter.digest[:8] in trained.learned_from

    nowhere = load(
        spec_in(tmp_path / "nowhere", model, {"objective": "dpo", "start": "none--12345678"}, name="nowhere")
    )
    with pytest.raises(TrainingError, match=r"train.start: 'none--12345678' is neither an adapter nor an experiment"):
        pipeline.run(nowhere, store, Silent())


def test_pairs_of_a_file_count_for_the_experiments_identity_and_must_not_give_away_what_is_judged(
    model: str, tmp_path: Path
) -> None:
    spec = spec_in(tmp_path / "e", model, {"objective": "kto", "preference": {"pairs": "more.jsonl"}})
    good = {"prompt": "Say 1.", "completion": "1", "label": True}
    bad = {"prompt": "Say 2.", "completion": "3", "label": False}
    write(tmp_path / "e" / "more.jsonl", [good, bad])
    first = load(spec)
    write(tmp_path / "e" / "more.jsonl", [good, bad, {**bad, "prompt": "Say 4."}])
    assert load(spec).id != first.id
    assert "pairs: ../more.jsonl" in first.resolved_yaml(tmp_path / "e" / "kept")
    write(tmp_path / "e" / "more.jsonl", [good, bad, pair(31)])
    assert "train.preference.pairs: 1 rows ask what test asks, the first as test-" in faults(spec)
    write(tmp_path / "e" / "more.jsonl", [good])
    assert "all rows are found good" in faults(spec)


def test_what_an_objective_cannot_learn_from_is_told_before_anything_runs(model: str, tmp_path: Path) -> None:
    assert "the reward is 'acc', which scores no generated answer" in faults(
        spec_in(tmp_path / "a", model, {"objective": "grpo"})
    )
    spec = spec_in(tmp_path / "b", model, {"objective": "dpo"}, task={"metric": "exact_match"})
    write(tmp_path / "b" / "train.jsonl", [{"prompt": f"Say {n}.", "completion": str(n)} for n in range(8)])
    assert "8 train rows hold no rejected answer" in faults(spec)
    spec = spec_in(tmp_path / "c", model, {"objective": "dpo", "preference": {"pairs": "more.jsonl"}})
    write(tmp_path / "c" / "more.jsonl", [{"prompt": "Say 1.", "completion": "1", "label": True}])
    assert "1 rows hold one answer, such as pair-1. dpo learns from two" in faults(spec)
    assert "objective sft does not learn from pairs" in faults(
        spec_in(tmp_path / "d", model, {"preference": {"pairs": "more.jsonl"}})
    )


def test_a_metric_of_generated_answers_takes_the_chosen_one_for_right(model: str, tmp_path: Path) -> None:
    spec = spec_in(tmp_path / "e", model, {}, task={"metric": "exact_match"})
    assert {item.target for item in load(spec).data.dev.items} == {f"It is {n + 1}, surely." for n in SIZES["dev"]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"prompt": "q", "chosen": "a"}, "a preference row without rejected"),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "the gold answer is empty"),
        (
            {"prompt": "q", "completion": "a"},
            "got a prompt/completion row; a row needs prompt, chosen and rejected, or prompt, completion and a label",
        ),
    ],
)
def test_a_row_that_prefers_nothing_is_refused_with_its_line(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [pair(1), row])
    with pytest.raises(DataError, match=f"rows.jsonl:2: {told}"):
        load_preferences("rows.jsonl", tmp_path)


def test_both_answers_may_be_given_as_whole_conversations_or_after_turns(tmp_path: Path) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}]
    good, bad = ({"role": "assistant", "content": text} for text in "ab")
    rows = [
        {"chosen": [*asked, good], "rejected": [*asked, bad]},
        {"prompt": "q", "prompt_messages": asked, "chosen": "a", "rejected": "b"},
        {"prompt": asked, "chosen": [good], "rejected": [bad]},
    ]
    write(tmp_path / "rows.jsonl", rows)
    found = load_preferences("rows.jsonl", tmp_path)
    assert {(one.messages, one.chosen, one.rejected) for one in found} == {(found[0].messages, "a", "b")}
    assert [turn.content for turn in found[0].messages] == ["q"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real preference sets lie beside the project, not in it")
@pytest.mark.parametrize("name", ["truthfulqa_pref", "dpo_en_demo", "ultrafeedback"])
def test_real_preference_sets_are_read_whole(name: str) -> None:
    lines = (REAL / name / "train.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(load_preferences("train.jsonl", REAL / name)) == sum(bool(line) for line in lines)
