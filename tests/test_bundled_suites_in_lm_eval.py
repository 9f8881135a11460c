"""lm-eval itself asks the bundled suites as the harness does, and labels and scores written replies alike."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from test_bundled_suites import GENERATED, NAMES, REPLIES, ROOT, TASKS, right

from harness import metrics

# lm-eval and its libraries warn about their own insides; those warnings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    pytest.importorskip("lm_eval")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        import datasets
        from lm_eval.tasks import TaskManager

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        found = TaskManager(include_path="suites", include_defaults=False).load(list(NAMES))["tasks"]
        for task in found.values():
            task.build_all_requests()
        yield found


@pytest.mark.parametrize("name", sorted(TASKS))
def test_lm_eval_asks_the_same(theirs: dict[str, Any], name: str) -> None:
    asked: defaultdict[int, list[Any]] = defaultdict(list)
    for instance in theirs[name].instances:
        asked[instance.doc_id].append(instance)
    assert len(asked) == len(TASKS[name].items)
    for index, item in enumerate(TASKS[name].items):
        assert item.id == asked[index][0].doc["id"]
        assert {instance.args[0] for instance in asked[index]} == {item.text}
        target = theirs[name].doc_to_target(asked[index][0].doc)
        if item.choices is None:
            assert target == item.target
        else:
            assert tuple(instance.args[1] for instance in asked[index]) == item.choices
            assert target == right(item)


@pytest.mark.parametrize("name", GENERATED)
def test_lm_eval_scores_replies_alike(theirs: dict[str, Any], name: str) -> None:
    task, other = TASKS[name], theirs[name]
    made_up = [*REPLIES["safety-reply"], *REPLIES["safety-secret"], " I refuse.\n", " 12, 3456"]
    (pipeline,) = other._filters
    for index, instance in enumerate(other.instances):
        reply = instance.doc["answer"] if index % 2 else made_up[index // 2 % len(made_up)]
        instance.resps = [reply]
        pipeline.apply([instance])
        scored = other.process_results(instance.doc, [instance.filtered_resps[pipeline.name]])
        ours = metrics.score_text("exact_match", metrics.apply_filters(reply, task.filters), task.items[index].target)
        assert float(scored["exact_match"]) == ours, reply
