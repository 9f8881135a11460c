"""Suite files name metrics of all answers together: lm-eval's numbers with an interval, or a fault naming the key."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval_tasks import manager, requests
from scripted import Scripted, text

from harness import report
from harness.cli import show
from harness.engines.base import Answer, Request
from harness.errors import SuiteError
from harness.evaluate import evaluate
from harness.progress import Silent
from harness.records import Candidate, Decoding, ModelRef, Prompt, RunRecord
from harness.store import Store
from harness.suites import load_suite

pytestmark = pytest.mark.filterwarnings("ignore")  # lm-eval and its libraries warn about their own insides

BASE: dict[str, Any] = {
    "task": "t",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data.jsonl"}},
    "test_split": "test",
    "doc_to_text": "q",
    "doc_to_target": "a",
}
WORDS = ["the cat sat on the mat", "a dog barked at night", "birds sing in the morning", "we went home by bus"]
LABELLED: dict[str, Any] = {"output_type": "multiple_choice", "doc_to_choice": ["no", "yes"]}
CASES: dict[str, tuple[dict[str, Any], list[Any], dict[str, str]]] = {
    "generate": (
        {"output_type": "generate_until", "metric_list": [{"metric": m} for m in ("exact_match", "bleu", "chrf")]},
        [{"q": f"say {i}", "a": words} for i, words in enumerate(WORDS)],
        {"bleu": "corpus_bleu", "chrf": "corpus_chrf"},
    ),
    "choice": (
        {**LABELLED, "metric_list": [{"metric": m} for m in ("f1", "acc", "mcc")]},
        [{"q": f"say {i}", "a": i % 3 % 2} for i in range(9)],
        {"f1": "choice_f1", "mcc": "choice_mcc"},
    ),
    "last word": (
        {"output_type": "loglikelihood", "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}]},
        [{"q": f"say {i}", "a": f"word{i}"} for i in range(5)],
        {"perplexity": "perplexity"},
    ),
}


def write(folder: Path, task: dict[str, Any], docs: list[Any]) -> Path:
    (folder / "t.yaml").write_text(yaml.safe_dump({**BASE, **task}))
    (folder / "data.jsonl").write_text("".join(json.dumps({"id": str(i), **doc}) + "\n" for i, doc in enumerate(docs)))
    return folder / "t.yaml"


def reply(request: Request) -> Answer:
    """Neither always right nor always wrong."""
    at = int((request.text or "")[4:].split()[0])
    if not request.choices:
        return text(WORDS[at] if at % 2 else WORDS[at].replace("the", "one"))
    likes = tuple(-1.0 - (7 * at + 3 * place) % 5 / 2 for place in range(len(request.choices)))
    return Answer(logprobs=likes, greedy=bool(at % 2), finish="stop", tokens_in=1, tokens_out=1, latency_s=0.0)


def made(folder: Path, file: Path) -> tuple[RunRecord, dict[str, Any]]:
    """The run of a suite, and the answers that it was given in lm-eval's form by item."""
    model = ModelRef(name="m", digest="0" * 64)
    candidate = Candidate(name="base", model=model, prompt=Prompt(name="raw", instruction=""), decoding=Decoding())
    store = Store(folder / "reports").create("x--00000000", "name: x\n")
    run = evaluate(candidate, load_suite(str(file)), Scripted(reply), store, Silent())
    answers = {
        sample.id: [sample.answer]
        if sample.logprobs is None
        else [(value, sample.scores["acc"] == 1) for value in sample.logprobs]
        for sample in store.samples(run.id)
    }
    return run, answers


@pytest.mark.parametrize("case", CASES)
def test_metrics_of_all_answers_are_those_of_lm_eval(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    change, docs, names = CASES[case]
    run, answers = made(tmp_path, write(tmp_path, change, docs))
    monkeypatch.chdir(tmp_path)
    task = manager(tmp_path, tmp_path / "cache", monkeypatch).load(["t"])["tasks"]["t"]
    task.set_config(key="num_fewshot", value=0)
    task.build_all_requests()
    results = [task.process_results(one[0].doc, answers[one[0].doc["id"]]) for one in requests(task)]
    for theirs, ours in names.items():
        found = run.metric("t", ours)
        assert found is not None
        assert found.estimate.value == pytest.approx(task.aggregation()[theirs]([one[theirs] for one in results]))
        assert found.estimate.low is not None
        assert found.estimate.low < found.estimate.value < (found.estimate.high or 0)
    assert run.primary == {"t": "exact_match" if case == "generate" else "acc"}


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ({"output_type": "generate_until", "metric_list": [{"metric": "bleu"}]}, "only metrics of all answers"),
        (
            {"output_type": "generate_until", "metric_list": [{"metric": "exact_match"}, {"metric": "mcc"}]},
            r"metric_list\[1\]\.metric: 'mcc' is not read of generated text: lm-eval takes every answer",
        ),
        (
            {**LABELLED, "metric_list": [{"metric": "acc"}, {"metric": "f1", "aggregation": "mean"}]},
            r"metric_list\[1\]\.aggregation: 'mean' is not that of 'f1'\. Only 'f1'",
        ),
        (
            {**LABELLED, "metric_list": [{"metric": "acc"}, {"metric": "ece", "aggregation": "mean"}]},
            r"metric_list\[1\]\.aggregation: 'mean' is not that of 'ece'\. It has none",
        ),
        (
            {**LABELLED, "doc_to_choice": ["no", "yes", "both"], "metric_list": [{"metric": "acc"}, {"metric": "f1"}]},
            "metric_list: f1 is of two choices, the second being the positive one, and items have 3",
        ),
        (
            {"output_type": "loglikelihood", "metric_list": [{"metric": "acc"}, {"metric": "ece"}]},
            r"metric_list\[1\]\.metric: 'ece' does not score loglikelihood tasks",
        ),
    ],
)  # fmt: skip
def test_what_means_another_number_in_lm_eval_is_refused(tmp_path: Path, task: dict[str, Any], fault: str) -> None:
    file = write(tmp_path, task, [{"q": f"say {i}", "a": i % 2} for i in range(4)])
    with pytest.raises(SuiteError, match=rf"t\.yaml: .*{fault}"):
        load_suite(str(file))


def test_a_mean_of_bleu_is_asked_for_by_its_aggregation_and_labels_have_their_f1(tmp_path: Path) -> None:
    listed = [{"metric": "bleu", "aggregation": "mean"}, {"metric": "macro_f1"}, {"metric": "numeric(tolerance=0.50)"}]
    file = write(tmp_path, {"output_type": "generate_until", "metric_list": listed}, [{"q": "say 1", "a": "1"}])
    (task,) = load_suite(str(file)).tasks
    assert (task.metrics, task.corpus_metrics) == (("bleu", "numeric(tolerance=0.5)"), ("macro_f1",))


def test_they_stand_in_the_reports_and_in_show_with_their_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, docs, _ = CASES["choice"]
    run, _ = made(tmp_path, write(tmp_path, change, docs))
    folder = Store(tmp_path / "reports").at("x--00000000")
    found = run.metric("t", "choice_mcc")
    assert found is not None
    shown = f"{found.estimate.value:.3f} [{found.estimate.low:.3f}, {found.estimate.high:.3f}]"
    report.write_reports(folder)
    show.experiment(folder)
    assert f"| t | choice_mcc | base | {shown} | 9 | 0 |" in (folder.path / "report.md").read_text()
    assert shown in (folder.path / "report.html").read_text()
    assert shown in capsys.readouterr().out
