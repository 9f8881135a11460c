"""lm-eval asks of the published suites, item by item, what the harness asks, and scores the answers alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval_tasks import manager, requests

from harness import metrics
from harness.errors import SuiteError
from harness.models import LocalModel, turns
from harness.records import Item
from harness.suites import SuiteUse, Task, load_suite, published_suites
from harness.suites.lm_eval_tasks import suite_of

pytest.importorskip("lm_eval")

# lm-eval and its libraries warn about their own insides; those warnings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

PUBLISHED = Path(__file__).resolve().parent.parent / "suites" / "published"
OWN_METRICS = {"ifeval", "humaneval", "mbpp", "xstest"}
"""Scored by metrics that lm-eval does not have."""
NAMES = [name for name in published_suites() if name not in OWN_METRICS]
MOST = 60


@pytest.fixture(scope="module")
def theirs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_data / "suites")
        found = manager(PUBLISHED, tmp_path_factory.mktemp("datasets"), patch).load(NAMES)["tasks"]
        for task in found.values():
            task.set_fewshot_seed(1234)
            task.build_all_requests(limit=MOST)
        yield found


def ours(name: str, shared_data: Path) -> Task:
    return load_suite(name, data=shared_data / "suites").tasks[0].first(MOST)


def asked(item: Item) -> list[tuple[str, str]]:
    """Context and continuation of each request, the last empty where text is generated."""
    before = item.text or ""
    if item.continuation is not None:
        return [(before + choice, item.continuation) for choice in item.choices or ()]
    return [(before, choice) for choice in item.choices or ("",)]


@pytest.mark.parametrize("name", NAMES)
def test_both_ask_the_same(theirs: dict[str, Any], shared_data: Path, name: str) -> None:
    task = ours(name, shared_data)
    for item, instances in zip(task.items, requests(theirs[name]), strict=True):
        generated = task.output_type == "generate"
        wanted = [(i.args[0], "" if generated else i.args[1]) for i in instances]
        assert asked(item) == wanted
        assert item.id == instances[0].doc["id"]


@pytest.mark.parametrize("name", NAMES)
def test_both_score_alike(theirs: dict[str, Any], shared_data: Path, name: str) -> None:
    task = ours(name, shared_data)
    found = []
    for index, (item, (first, *_)) in enumerate(zip(task.items, requests(theirs[name]), strict=True)):
        result, expected = answered(task, item, index)
        if task.output_type == "generate":
            for instance in (first,):
                instance.resps = [result[0]]
            (ensemble,) = theirs[name]._filters
            ensemble.apply([first])
            result = [first.filtered_resps[ensemble.name]]
        scored = {key: float(value) for key, value in theirs[name].process_results(first.doc, result).items()}
        assert list(scored.values()) == expected, item.id
        found.append(expected[0])
    assert 0 < sum(found) < len(found)


def answered(task: Task, item: Item, index: int) -> tuple[list[Any], list[float]]:
    """A made-up answer in lm-eval's form, right on some items and wrong on others, and our scores of it."""
    if item.choices is None:
        text = f" The answer is {item.target}." if index % 3 else " 12 and 7.5"
        text = text if task.filters[0][0] == "regex" else f" {item.target}\n" if index % 3 else " 7"
        filtered = metrics.apply_filters(text, task.filters)
        return [text], [metrics.score_text(name, filtered, item.target) for name in task.metrics]
    if len(item.choices) == 1:
        return [(-3.0, bool(index % 3))], [float(bool(index % 3))]
    logprobs = [-1.0 - ((index * 7 + place * 5) % 11) for place in range(len(item.choices))]
    at, delimiter = item.choices.index(item.target), task.target_delimiter
    scores = [metrics.score_choice(name, logprobs, item.choices, at, delimiter) for name in task.metrics]
    return [(value, False) for value in logprobs], scores


@pytest.mark.parametrize("name", NAMES)
def test_both_generate_under_the_same_limits(theirs: dict[str, Any], shared_data: Path, name: str) -> None:
    task = ours(name, shared_data)
    if task.output_type == "generate":
        stated = theirs[name].config.generation_kwargs
        assert (tuple(stated["until"]), task.decoding.temperature) == (task.decoding.stop, 0.0)
        assert task.decoding.max_tokens == stated.get("max_gen_toks", 256)


def rows(file: Path, most: int, **wanted: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    return [row for row in found if all(row[key] == value for key, value in wanted.items())][:most]


FEWSHOT: dict[str, dict[str, Any]] = {
    "mmlu": {"fewshot_split": "few", "fewshot_config": {"sampler": "first_n"}, "num_fewshot": 5},
    "svamp": {"fewshot_split": "few", "num_fewshot": 3, "fewshot_delimiter": "\n--\n"},
    "winogrande": {"training_split": "few", "num_fewshot": 2},
    "lambada": {"training_split": "few", "num_fewshot": 2, "fewshot_config": {"target_delimiter": ""}},
    "piqa": {"validation_split": "few", "num_fewshot": 4, "description": "Choose well.\n\n"},
}


@pytest.fixture(scope="module")
def worked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Tasks that include a published YAML and put examples before its questions, as lm-eval reads them."""
    folder = tmp_path_factory.mktemp("worked")
    for name, change in FEWSHOT.items():
        config = {"include": str(PUBLISHED / f"{name}.yaml"), "task": f"{name}_few", **change}
        config["dataset_kwargs"] = {"data_files": {"test": f"{name}.jsonl", "few": f"{name}.few.jsonl"}}
        (folder / f"{name}_few.yaml").write_text(yaml.safe_dump(config))
        found = rows(shared_data / "suites" / f"{name}.jsonl", 40)
        for file, part in ((f"{name}.jsonl", found[:10]), (f"{name}.few.jsonl", found[10:])):
            (folder / file).write_text("".join(json.dumps(row) + "\n" for row in part))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = manager(folder, tmp_path_factory.mktemp("datasets"), patch).load([f"{name}_few" for name in FEWSHOT])
        for task in found["tasks"].values():
            task.set_fewshot_seed(1234)
            task.build_all_requests()
        yield folder, found["tasks"]


@pytest.mark.parametrize("name", FEWSHOT)
def test_worked_examples_are_those_of_lm_eval(worked: tuple[Path, dict[str, Any]], name: str) -> None:
    folder, found = worked
    task = load_suite(str(folder / f"{name}_few.yaml")).tasks[0]
    for item, instances in zip(task.items, requests(found[f"{name}_few"]), strict=True):
        wanted = [(i.args[0], "" if task.output_type == "generate" else i.args[1]) for i in instances]
        assert asked(item) == wanted


def test_a_number_of_worked_examples_is_that_of_num_fewshot(shared_data: Path, tmp_path: Path) -> None:
    use = SuiteUse(suite="mmlu", data=str(shared_data / "suites"), fewshot=5, limit=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_data / "suites")
        task = manager(PUBLISHED, tmp_path, patch).load(["mmlu"])["tasks"]["mmlu"]
        task.set_config(key="num_fewshot", value=5)  # as lm-eval's --num_fewshot does
        task.set_fewshot_seed(1234)
        task.build_all_requests(limit=8)
    items = load_suite(use).tasks[0].items
    assert [asked(item) for item in items] == [[(i.args[0], i.args[1]) for i in one] for one in requests(task)]
    assert (items[0].text or "").count("Answer:") == 6


def test_a_task_without_worked_examples_by_its_yaml_is_given_none(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(f"include: {PUBLISHED / 'mmlu.yaml'}\ntask: none\nnum_fewshot: 0\n")
    use = SuiteUse(suite=str(tmp_path / "none.yaml"), data=str(shared_data / "suites"), fewshot=5)
    with pytest.raises(SuiteError, match=r"none\.yaml: num_fewshot: is stated as 0, and the suite is wanted with 5"):
        load_suite(use)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_that_lm_eval_loads_is_the_same_suite(theirs: dict[str, Any], shared_data: Path, name: str) -> None:
    (found,) = suite_of(name, {name: theirs[name]}, MOST).tasks
    own = ours(name, shared_data)
    plain = [item.model_copy(update={"cluster": None, "slices": {}}) for item in own.items]
    assert [asked(item) for item in found.items] == [asked(item) for item in own.items]
    assert [item.target for item in found.items] == [item.target for item in plain]
    assert list(found.items) == plain
    for part in ("name", "output_type", "metrics", "filters", "decoding", "target_delimiter"):
        assert getattr(found, part) == getattr(own, part), part


def test_a_task_with_several_pipelines_needs_one_named(tmp_path: Path) -> None:
    two = [
        {"name": name, "filter": [{"function": name}, {"function": "take_first"}]}
        for name in ("lowercase", "uppercase")
    ]
    config = {"include": str(PUBLISHED / "svamp.yaml"), "task": "two", "filter_list": two}
    config["dataset_kwargs"] = {"data_files": {"test": "two.jsonl"}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "two.jsonl").write_text(json.dumps({"question": "q", "answer": "1"}))
    with pytest.raises(SuiteError, match=r"has 2 pipelines\. One is read of lowercase, uppercase"):
        load_suite(str(tmp_path / "two.yaml"))
    with pytest.raises(SuiteError, match="has no pipeline 'upper'"):
        load_suite(SuiteUse(suite=str(tmp_path / "two.yaml"), filter="upper"))
    task = load_suite(SuiteUse(suite=str(tmp_path / "two.yaml"), filter="uppercase")).tasks[0]
    assert task.filters[0] == ("uppercase", "")


def test_a_task_whose_data_cannot_be_had_says_how_to_use_local_data(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(SuiteError, match=r"lm-eval:hellaswag: cannot be loaded: .*use local JSONL"):
        load_suite("lm-eval:hellaswag")


def test_an_unknown_task_of_lm_eval_names_its_likes() -> None:
    with pytest.raises(SuiteError, match=r"lm-eval:hellaswg: lm-eval has no such task\. Names like it: hellaswag"):
        load_suite("lm-eval:hellaswg")


@pytest.mark.model
def test_a_chat_suite_is_rendered_as_by_apply_chat_template(
    small_model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    samples = [{"q": f"{i} + {i}?", "a": str(i + i)} for i in (1, 2)]
    config = {
        "task": "chat",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "chat.jsonl"}},
        "test_split": "test",
        "description": "Add.",
        "doc_to_text": "q",
        "doc_to_target": "a",
        "num_fewshot": 2,
        "fewshot_config": {"sampler": "first_n", "samples": samples},
        "generation_kwargs": {"until": []},
        "metadata": {"chat": True},
    }
    (tmp_path / "chat.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "chat.jsonl").write_text(json.dumps({"q": "3 + 4?", "a": "7"}))
    monkeypatch.chdir(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(small_model.path, local_files_only=True)

    def template(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt))

    task = manager(tmp_path, tmp_path / "cache", monkeypatch).load(["chat"])["tasks"]["chat"]
    task.build_all_requests(apply_chat_template=True, chat_template=template)
    (item,) = load_suite("chat.yaml").tasks[0].items
    assert turns.render(tokenizer, item.messages) == task.instances[0].args[0]
