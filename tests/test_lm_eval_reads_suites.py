"""lm-eval itself reads the bundled suites, and asks, item by item, what the harness asks."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.records import Item
from harness.suites import Task, load_suite

pytest.importorskip("lm_eval")

# lm-eval and its libraries warn about their own insides; those warnings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).resolve().parent.parent
OURS = {task.name: task for task in load_suite("regression-core").tasks}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        import datasets
        from lm_eval.tasks import TaskManager

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        manager = TaskManager(include_path="suites", include_defaults=False)
        found = manager.load(["regression-core", "tickets"])["tasks"]
        for task in found.values():
            task.build_all_requests()
        yield found


def requests(task: Any) -> list[list[Any]]:
    """lm-eval's requests, grouped by document."""
    grouped: dict[int, list[Any]] = {}
    for instance in task.instances:
        grouped.setdefault(instance.doc_id, []).append(instance)
    return [grouped[key] for key in sorted(grouped)]


def test_lm_eval_knows_the_same_tasks(theirs: dict[str, Any]) -> None:
    assert theirs.keys() == OURS.keys() | {"tickets"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_both_ask_the_same(theirs: dict[str, Any], name: str) -> None:
    ours, asked = OURS[name], requests(theirs[name])
    assert len(asked) == len(ours.items)
    for item, instances in zip(ours.items, asked, strict=True):
        assert item.id == instances[0].doc["id"]
        assert all(instance.args[0] == item.text for instance in instances)
        if item.choices is not None:
            assert tuple(instance.args[1] for instance in instances) == item.choices


@pytest.mark.parametrize("name", sorted(OURS))
def test_both_hold_the_same_right_answer(theirs: dict[str, Any], name: str) -> None:
    for item, (first, *_) in zip(OURS[name].items, requests(theirs[name]), strict=True):
        target = theirs[name].doc_to_target(first.doc)
        assert item.target == (target if item.choices is None else item.choices[target])


@pytest.mark.parametrize("name", sorted(OURS))
def test_both_score_alike(theirs: dict[str, Any], name: str) -> None:
    for index, (item, (first, *_)) in enumerate(zip(OURS[name].items, requests(theirs[name]), strict=True)):
        made_up, results = answer(item, index)
        scored = theirs[name].process_results(first.doc, results)
        assert {metric: float(value) for metric, value in scored.items()} == score(OURS[name], item, made_up)


def answer(item: Item, index: int) -> tuple[Any, list[Any]]:
    """A made-up answer, right on some items and wrong on others, for us and in lm-eval's form."""
    if item.choices is None:
        text = item.target if index % 2 else "7"
        return text, [text]
    logprobs = [-1.0 - ((index * 7 + place * 5) % 11) for place in range(len(item.choices))]
    return logprobs, [(value, False) for value in logprobs]


def score(task: Task, item: Item, answer: Any) -> dict[str, float]:
    from harness.metrics import score_choice, score_text

    if item.choices is None:
        return {name: score_text(name, answer, item.target) for name in task.metrics}
    at, delimiter = item.choices.index(item.target), task.target_delimiter
    return {name: score_choice(name, answer, item.choices, at, delimiter) for name in task.metrics}


def test_lm_eval_reads_the_tickets_task(theirs: dict[str, Any]) -> None:
    asked = requests(theirs["tickets"])
    assert len(asked) == 300
    for (instance,) in asked:
        user, assistant = (turn["content"] for turn in instance.doc["messages"])
        assert instance.args[0] == user
        assert theirs["tickets"].doc_to_target(instance.doc) == assistant
        assert theirs["tickets"].process_results(instance.doc, [assistant]) == {"exact_match": 1.0}


def test_lm_eval_generates_under_the_same_limits(theirs: dict[str, Any]) -> None:
    for name, ours in OURS.items():
        if ours.output_type == "generate":
            stated = theirs[name].config.generation_kwargs
            assert (tuple(stated["until"]), stated["max_gen_toks"]) == (ours.decoding.stop, ours.decoding.max_tokens)
