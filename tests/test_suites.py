"""Suites load as written, the bundled ones are sound, and every fault names file, key and way out."""

import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from harness import metrics
from harness.errors import SuiteError
from harness.suites import Suite, known_suites, load_suite
from harness.suites.config import TASK_KEYS

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "suites"
CHOICE_DOC = {"q": "The sky is", "options": ["blue", "green"], "gold": 0}
CHOICE: dict[str, Any] = {
    "task": "sky",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "q",
    "doc_to_choice": "options",
    "doc_to_target": "gold",
}
GENERATE = {key: value for key, value in CHOICE.items() if key != "doc_to_choice"} | {"output_type": "generate_until"}


def write(folder: Path, task: dict[str, Any], docs: list[Any] | bytes, group: dict[str, Any] | None = None) -> str:
    folder.mkdir(exist_ok=True)
    manifest = {"group": folder.name, "task": [task["task"]], "metadata": {"role": "safety"}} | (group or {})
    (folder / "suite.yaml").write_text(yaml.safe_dump(manifest))
    (folder / "t.yaml").write_text(yaml.safe_dump(task))
    lines = docs if isinstance(docs, bytes) else "".join(json.dumps(doc) + "\n" for doc in docs).encode()
    (folder / "data.jsonl").write_bytes(lines)
    return str(folder)


def load(tmp_path: Path, task: dict[str, Any], docs: list[Any] | bytes, group: dict[str, Any] | None = None) -> Suite:
    return load_suite(write(tmp_path / "mine", task, docs, group))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), SUITES / name / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SUITES / "tickets" / f"{split}.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------ bundled data


@pytest.mark.parametrize("name", ["tickets", "regression-core"])
def test_the_generator_reproduces_the_committed_files(name: str) -> None:
    for file, content in script(name).files().items():
        assert (SUITES / name / file).read_bytes() == content.encode(), file


def test_no_ticket_template_stands_in_two_splits() -> None:
    sets = script("tickets").template_sets()
    assert all(len(templates) >= 40 for templates in sets.values())
    assert len(set.union(*sets.values())) == sum(map(len, sets.values()))


def test_no_ticket_text_stands_twice() -> None:
    texts = [row["messages"][0]["content"] for split in ("train", "dev", "test") for row in rows(split)]
    assert len(texts) == len(set(texts)) == 1450


def test_ticket_answers_are_compact_json_found_in_the_message() -> None:
    for row in rows("test"):
        text, answer = (turn["content"] for turn in row["messages"])
        fields = json.loads(answer)
        assert list(fields) == ["intent", "priority", "order_id", "product"]
        assert answer == json.dumps(fields, separators=(",", ":"))
        assert fields["order_id"] is None or re.search(rf"\b{fields['order_id']}\b", text)


def test_the_first_tickets_are_a_fair_sample() -> None:
    answers = [json.loads(row["messages"][1]["content"]) for row in rows("train")[:120]]
    assert max(Counter(answer["intent"] for answer in answers).values()) <= 24
    assert min(Counter(answer["priority"] for answer in answers).values()) >= 24


def test_regression_core_is_balanced() -> None:
    suite = load_suite("regression-core")
    assert suite.role == "regression"
    for task in suite.tasks:
        if task.output_type == "choice":
            at = Counter(item.choices.index(item.target) for item in task.items if item.choices)
            assert max(at.values()) - min(at.values()) <= 1, task.name


def test_always_taking_the_longest_choice_does_not_pay() -> None:
    for task in load_suite("regression-core").tasks:
        if task.output_type == "choice":
            longest = [max(item.choices or (), key=len) == item.target for item in task.items]
            chance = 1 / len(task.items[0].choices or ())
            assert sum(longest) / len(longest) < chance + 0.15, task.name


def test_the_code_goes_on_as_valid_python() -> None:
    task = next(task for task in load_suite("regression-core").tasks if task.name == "core-code")
    for item in task.items:
        code = f"{item.text}{item.target}"
        compile(code + (" pass" if code.endswith(":") else ""), item.id, "exec")


def test_the_arithmetic_is_right() -> None:
    task = next(task for task in load_suite("regression-core").tasks if task.name == "core-arithmetic")
    for item in task.items:
        question = str(item.text).split("\n")[-1].removesuffix(" =")
        assert str(eval(question)) == item.target  # noqa: S307 - our own file


def test_questions_on_one_passage_share_a_cluster() -> None:
    task = next(task for task in load_suite("regression-core").tasks if task.name == "core-reading")
    assert set(Counter(item.cluster for item in task.items).values()) == {2}


# ------------------------------------------------------------------- as written


def test_choices_carry_the_delimiter(tmp_path: Path) -> None:
    task = load(tmp_path, CHOICE | {"target_delimiter": "\n"}, [CHOICE_DOC]).tasks[0]
    assert task.items[0].choices == ("\nblue", "\ngreen")
    assert task.items[0].target == "\nblue"
    assert task.metrics == ("acc", "acc_norm")
    assert metrics.score_choice("acc_norm", [-4.0, -4.5], task.items[0].choices, 1, task.target_delimiter) == 1


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"doc_to_target": "{{gold}}"}, " blue"),
        ({"doc_to_target": 1}, " green"),
        ({"doc_to_target": "{{options[1]}}"}, " green"),
        ({"doc_to_choice": "{{[options[1], 'red']}}"}, " green"),
        ({"doc_to_choice": ["yes", "no"]}, " yes"),
    ],
)
def test_targets_and_choices_may_be_templates(tmp_path: Path, change: dict[str, Any], target: str) -> None:
    assert load(tmp_path, CHOICE | change, [CHOICE_DOC]).tasks[0].items[0].target == target


def test_generation_is_read_whole(tmp_path: Path) -> None:
    task = GENERATE | {
        "description": "Answer.\n",
        "doc_to_text": "{{q | upper}}\n",
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 5, "do_sample": True, "temperature": 0.5},
        "filter_list": [
            {
                "name": "x",
                "filter": [{"function": "regex", "regex_pattern": "(\\d)"}, {"function": "take_first"}],
            }
        ],
        "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": False}],
    }
    suite = load(tmp_path, task, [{"q": "how", "gold": 7, "id": "x", "cluster": 3, "slices": {"kind": "y"}}])
    read, item = suite.tasks[0], suite.tasks[0].items[0]
    assert (item.text, item.target, item.id, item.cluster) == ("Answer.\nHOW\n", "7", "x", "3")
    assert item.slices == {"kind": "y"}
    assert (read.decoding.stop, read.decoding.max_tokens, read.decoding.temperature) == (("\n", "."), 5, 0.5)
    assert metrics.apply_filters("it is 7.", read.filters) == "7"
    assert (read.metrics, suite.role) == (("exact_match_ignore_case",), "safety")


def test_decoding_is_greedy_unless_told_otherwise(tmp_path: Path) -> None:
    decoding = load(tmp_path, GENERATE, [CHOICE_DOC]).tasks[0].decoding
    assert (decoding.temperature, decoding.stop, decoding.max_tokens) == (0.0, ("\n\n",), 256)


def test_jsonl_is_split_at_newlines_only_and_may_start_with_a_mark(tmp_path: Path) -> None:
    document = json.dumps(CHOICE_DOC | {"q": "a\u2028b\u0085c"}, ensure_ascii=False)
    suite = load(tmp_path, CHOICE, b"\xef\xbb\xbf" + f"{document}\r\n\n{document}\n".encode())
    assert [item.text for item in suite.tasks[0].items] == ["a\u2028b\u0085c"] * 2


def test_a_split_is_read_from_its_own_file(tmp_path: Path) -> None:
    files = {"data_files": {"test": "data.jsonl", "few": "dev.jsonl"}}
    folder = Path(write(tmp_path / "mine", CHOICE | {"validation_split": "few", "dataset_kwargs": files}, [CHOICE_DOC]))
    (folder / "dev.jsonl").write_text(json.dumps(CHOICE_DOC | {"q": "dev"}))
    assert load_suite(str(folder), split="dev").tasks[0].items[0].text == "dev"
    with pytest.raises(SuiteError, match="training_split: is missing"):
        load_suite(str(folder), split="train")


def test_data_files_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    items = load_suite("regression-core").size
    assert items > 200


def test_the_fingerprint_follows_content_not_order(tmp_path: Path) -> None:
    other = CHOICE_DOC | {"q": "Grass is", "gold": 1}
    first, second = ({"id": "a"} | CHOICE_DOC), ({"id": "b"} | other)
    one = load(tmp_path, CHOICE, [first, second]).fingerprint
    assert one == load(tmp_path, CHOICE, [second, first]).fingerprint
    assert one != load(tmp_path, CHOICE, [first, second | {"gold": 0}]).fingerprint
    assert one != load(tmp_path, CHOICE | {"target_delimiter": ""}, [first, second]).fingerprint


# ------------------------------------------------------------------------ finding


def test_a_suite_near_the_spec_wins_over_a_bundled_one(tmp_path: Path) -> None:
    write(tmp_path / "regression-core", CHOICE, [CHOICE_DOC])
    assert load_suite("regression-core", near=tmp_path).size == 1


def test_suites_under_the_current_folder_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suites").mkdir()
    write(tmp_path / "suites" / "mine", CHOICE, [CHOICE_DOC])
    monkeypatch.chdir(tmp_path)
    assert {"mine", "regression-core"} <= set(known_suites())
    assert load_suite("mine").size == 1


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(SuiteError, match=r"unknown suite 'regresion-core'\. Did you mean 'regression-core'"):
        load_suite("regresion-core")


def test_a_folder_without_a_manifest_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"has no suite\.yaml\. Write one with `group:"):
        load_suite(str(tmp_path))


def test_loading_a_suite_imports_no_heavy_library() -> None:
    code = (
        "import sys, harness.suites as s; s.load_suite('regression-core');"
        "sys.exit(bool({'torch', 'transformers', 'lm_eval', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_to_txt": "q"}, r"t\.yaml: doc_to_txt: is not supported\. Did you mean 'doc_to_text'"),
        ({"include": "base.yaml"}, r"base\.yaml: cannot be read"),
        ({"include": "t.yaml"}, r"include: 't\.yaml' includes itself"),
        ({"num_fewshot": 3}, r"num_fewshot: has no examples\. Give fewshot_split"),
        ({"num_fewshot": -1}, r"num_fewshot: is -1"),
        ({"num_fewshot": 1, "fewshot_split": "test"}, "fewshot_split: 'test' is what is evaluated"),
        ({"num_fewshot": 2, "fewshot_config": {"samples": [CHOICE_DOC]}}, "num_fewshot: is 2, and there are 1"),
        ({"num_fewshot": 1, "fewshot_config": {"sampler": "balanced"}}, "sampler: 'balanced' is not supported"),
        ({"num_fewshot": 1, "fewshot_config": {"process_docs": "f"}}, r"fewshot_config\.process_docs: is not supp"),
        ({"num_fewshot": 1, "fewshot_config": {"samples": [{"q": "x"}]}}, "the document has no field 'options'"),
        ({"output_type": "loglikelihood"}, "doc_to_choice: is not supported with loglikelihood"),
        ({"output_type": "loglikelihood_rolling"}, "output_type: 'loglikelihood_rolling' is not supported"),
        ({"repeats": 2}, r"repeats: is 2\. Only 1"),
        ({"dataset_name": "main"}, "dataset_name: is 'main'"),
        ({"process_docs": "utils.f"}, "process_docs: is not supported"),
        ({"metadata": {"chance": 2}}, r"metadata\.chance: is 2"),
        ({"metadata": {"slices": [1]}}, r"metadata\.slices: is \[1\]"),
        ({"dataset_path": "squad"}, "dataset_path: is 'squad'"),
        ({"dataset_kwargs": {"data_files": {"test": "no.jsonl"}}}, r"data_files\.test: no file 'no\.jsonl'"),
        ({"dataset_kwargs": {"data_dir": "x"}}, r"dataset_kwargs\.data_dir: is not supported"),
        ({"test_split": None}, "test_split: is missing"),
        ({"doc_to_text": 3}, "doc_to_text: is 3"),
        ({"doc_to_text": "{{qq}}"}, "doc_to_text: item '0' of data.jsonl: cannot be rendered: 'qq' is undefined"),
        ({"doc_to_text": "{{q"}, "doc_to_text: item '0' of data.jsonl: is no valid template"),
        ({"doc_to_text": "question"}, r"doc_to_text: .*no field 'question'"),
        ({"doc_to_text": "{{gold}}"}, "gives the bare number 0"),
        ({"doc_to_text": "{{q.__class__.__mro__}}"}, "cannot be rendered: access to attribute '__class__'"),
        ({"doc_to_target": 2}, "doc_to_target: .*gives 2, out of range"),
        ({"doc_to_target": "red one"}, "gives 'red one', out of range"),
        ({"doc_to_choice": [True, False]}, r"doc_to_choice: is \[True, False\]"),
        ({"doc_to_choice": ["a", "a"]}, "Two or more different choices"),
        ({"doc_to_choice": ["a", ""]}, "strings that are not empty"),
        ({"metric_list": [{"metric": "exact_match"}]}, "'exact_match' does not score multiple_choice tasks"),
        ({"metric_list": [{"metric": "ac"}]}, r"metric_list\[0\]\.metric: unknown metric 'ac'\. Did you mean 'acc'"),
        ({"metric_list": [{"metric": "acc", "aggregation": "median"}]}, "aggregation: 'median' is not supported"),
        ({"metric_list": [{"metric": "acc", "higher_is_better": False}]}, "higher_is_better: is True for 'acc'"),
        ({"metric_list": [{"metric": "acc", "ignore_case": True}]}, "go with exact_match only"),
        ({"metric_list": [{"metric": "acc"}] * 2}, "names a metric twice"),
        ({"metric_list": []}, r"metric_list: is \[\]"),
        ({"generation_kwargs": {}}, "generation_kwargs: is not supported with multiple_choice"),
    ],
)
def test_a_wrong_key_is_told_with_its_place(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, CHOICE | change, [CHOICE_DOC])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_to_choice": "options"}, "doc_to_choice: is not supported with generate_until"),
        ({"doc_to_target": "{{options}}"}, "several right answers are not read"),
        ({"doc_to_target": "{{''}}"}, "gives an empty text"),
        ({"generation_kwargs": {"do_sample": True}}, "temperature: is missing"),
        ({"generation_kwargs": {"temperature": 1}}, "do_sample: is missing"),
        ({"generation_kwargs": {"max_gen_toks": 0}}, "generation_kwargs: cannot be used"),
        ({"generation_kwargs": {"num_beams": 2}}, "num_beams: is not supported"),
        (
            {"metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["("]}]},
            "regexes_to_ignore: '\\(' is no val",
        ),
        ({"metric_list": [{"metric": "exact_match", "ignore_numbers": True}]}, "ignore_numbers: is not supported"),
        ({"filter_list": [{"filter": [{"function": "remove"}, {"function": "take_first"}]}]}, "'remove' is not supp"),
        ({"filter_list": [{"filter": [{"function": "lowercase"}]}]}, "take_first must be the last"),
        ({"filter_list": [{"filter": [{"function": "map"}, {"function": "take_first"}]}]}, "'map' is not supported"),
        (
            {"filter_list": [{"filter": [{"function": "regex", "regex_pattern": "("}, {"function": "take_first"}]}]},
            "vali",
        ),
        ({"filter_list": [{"filter": [{"function": "take_first"}]}] * 2}, "has 2 pipelines"),
    ],
)
def test_a_wrong_generation_key_is_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, GENERATE | change, [CHOICE_DOC])


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        (b"", r"data\.jsonl: is empty"),
        (b"\n\n", r"data\.jsonl: is empty"),
        (b'{"q": 1}\n{"q": \n', r"data\.jsonl:2: invalid JSON"),
        (b"[1]\n", r"data\.jsonl:1: holds a list"),
        (b'{"q":"a"}\n{"q":"\xff"}\n', r"data\.jsonl:2: is not UTF-8"),
        ([CHOICE_DOC | {"id": "a"}] * 2, r"data\.jsonl: ids stand more than once: a"),
        ([CHOICE_DOC, {"q": "x", "options": ["a", "b"]}], "the document has no field 'gold'"),
        ([CHOICE_DOC | {"slices": "x"}], "slices: item '0'"),
        ([CHOICE_DOC | {"gold": 9}] * 12, "and 2 more items with faults"),
    ],
)
def test_wrong_data_is_told_with_its_line(tmp_path: Path, docs: list[Any] | bytes, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, CHOICE, docs)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"group": "other"}, r"suite\.yaml: group: is 'other'"),
        ({"task": []}, "task: is missing or empty"),
        ({"task": ["sky", "skyy"]}, r"no YAML in this folder has `task: skyy`\. Did you mean 'sky'"),
        ({"task": ["sky", "sky"]}, "lists a task twice"),
        ({"task": ["see"]}, r"task 'sky' is not listed in suite\.yaml"),
        ({"metadata": {"role": "regresion"}}, r"metadata\.role: is 'regresion'\. One of task, regression, safety"),
        ({"aggregate_metric_list": []}, "aggregate_metric_list: is not supported"),
    ],
)
def test_a_wrong_manifest_is_told(tmp_path: Path, group: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, CHOICE, [CHOICE_DOC], group)


def test_a_suite_may_not_take_the_name_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="the experiment's own task"):
        load_suite(write(tmp_path / "task", CHOICE, [CHOICE_DOC]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: a\ntask: b\n", r"other\.yaml \(line 2\): not valid YAML: key 'task' stands twice"),
        ("a: [\n", "not valid YAML"),
        ("a: !function f.g\n", "Python functions .* are not run"),
        ("- a\n", "holds a list"),
        ("task: sky\n", "'sky' is also the name in other.yaml"),
    ],
)
def test_a_broken_file_beside_the_tasks_is_told(tmp_path: Path, text: str, message: str) -> None:
    folder = Path(write(tmp_path / "mine", CHOICE, [CHOICE_DOC]))
    (folder / "other.yaml").write_text(text)
    with pytest.raises(SuiteError, match=message):
        load_suite(str(folder))


def test_an_experiment_beside_the_tasks_is_left_alone(tmp_path: Path) -> None:
    folder = Path(write(tmp_path / "mine", CHOICE, [CHOICE_DOC]))
    (folder / "experiment.yaml").write_text("name: x\ntask: {metric: exact_match}\n")
    assert load_suite(str(folder)).size == 1


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    wrong = CHOICE | {"num_fewshot": 3, "dataset_path": "squad", "shuffle": True}
    with pytest.raises(SuiteError) as fault:
        load(tmp_path, wrong, [CHOICE_DOC], {"group": "other"})
    assert len(fault.value.problems) == 4


def test_every_supported_key_is_documented() -> None:
    card = (SUITES / "README.md").read_text()
    assert [key for key in TASK_KEYS if f"`{key}`" not in card] == []
