"""What prompts are made of: answers learned from train rows, instructions, demonstrations, baselines, checks."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import Row, Split
from harness.evaluate import TaskSpec
from harness.prompts import (
    PromptSpec,
    budget_problems,
    closed_set,
    contestants,
    least_budget,
    typical_demonstrations,
)
from harness.prompts.answers import constraint, fields_of, json_shape, majority
from harness.prompts.demonstrations import balanced, hard
from harness.prompts.generations import Seen, first, following, promise
from harness.prompts.instructions import by_rule
from harness.prompts.search import ordered
from harness.prompts.space import Recipe, Shown, make_space
from harness.records import Constraint, Item, Message
from harness.retrieval import Shelves

TASK = TaskSpec(metric="exact_match", max_tokens=10, stop=("\n", "###"))
OBJECTS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.one_of(
        st.booleans(),
        st.integers(-5, 5),
        st.sampled_from(["x", "y"]),
        st.lists(st.integers(0, 3), max_size=2),
        st.dictionaries(st.sampled_from(["d", "e"]), st.none(), max_size=2),
    ),
)


def train(answers: Sequence[str], name: str = "train") -> Split:
    items = [
        Item(id=f"t{n}", messages=(Message(role="user", content=f"question {n}"),), target=answer)
        for n, answer in enumerate(answers)
    ]
    return Split(name, "train.jsonl", tuple(Row(item, n) for n, item in enumerate(items, 1)))  # type: ignore[arg-type]


LABELS = train(["red", "green", "blue", "red"] * 10)
OPEN = train([f"the answer is {n}" for n in range(40)])
OBJECT = train([json.dumps({"kind": ("a", "b")[n % 2], "place": f"town {n}"}) for n in range(40)])


# ----------------------------------------------------------------------------- answers


def test_answers_that_repeat_are_a_closed_set() -> None:
    assert closed_set(LABELS) == ("blue", "green", "red")
    assert closed_set(OPEN) is None
    assert closed_set(OBJECT) is None


def test_answers_of_which_many_stand_only_once_are_no_closed_set() -> None:
    assert closed_set(train(["red", "blue"] * 50 + ["once", "more"])) == ("blue", "more", "once", "red")
    assert closed_set(train(["red", "blue"] * 20 + ["once", "more"])) is None


def test_one_answer_for_all_is_nothing_to_choose_from() -> None:
    assert closed_set(train(["red"] * 10)) is None
    assert majority(train(["red"] * 10)) is None


def test_the_majority_is_the_most_frequent_answer() -> None:
    assert majority(LABELS) == "red"
    assert majority(OPEN) is None


def test_the_shape_of_objects_names_keys_closed_texts_and_what_is_required() -> None:
    shape = json_shape(OBJECT)
    assert shape
    assert shape["required"] == ["kind", "place"]
    assert shape["properties"] == {"kind": {"type": "string", "enum": ["a", "b"]}, "place": {"type": "string"}}
    assert shape["additionalProperties"] is False
    assert json_shape(LABELS) is None


def test_keys_in_no_fixed_order_may_come_in_any() -> None:
    slots = [{"a-b": "x", "c": "y"}, {"c": "x", "a-b": "y"}, {"c": "z"}]
    shape = json_shape(train([json.dumps({"kind": "k", "slots": slots[n % 3]}) for n in range(30)]))
    assert shape
    assert list(shape["properties"]) == ["kind", "slots"]
    told = list(fields_of(shape))
    assert sorted(path for path, _, _ in told) == ["kind", "slots", "slots.a-b", "slots.c"]
    llguidance = pytest.importorskip("llguidance")
    tokens = llguidance.LLTokenizer("byte")
    for value in slots:
        grammar = llguidance.grammar_from("json_schema", json.dumps(shape))
        answer = tokens.tokenize_str(json.dumps({"kind": "k", "slots": value}))
        assert llguidance.LLMatcher(tokens, grammar).try_consume_tokens(answer) == len(answer)


@settings(deadline=None, max_examples=50)
@given(st.lists(OBJECTS, min_size=1, max_size=30))
def test_every_train_answer_meets_the_shape_that_was_learned(objects: list[dict[str, object]]) -> None:
    shape = json_shape(train([json.dumps(value) for value in objects]))
    assert shape
    schema = jsonschema.Draft202012Validator(shape)
    assert all(schema.is_valid(value) for value in objects)


def test_a_constraint_is_derived_given_or_left_out() -> None:
    own = Constraint(regex="[0-9]+")
    assert constraint("auto", LABELS) == ("choice", Constraint(choices=("blue", "green", "red")))
    assert constraint("auto", OPEN) is None
    assert constraint("never", LABELS) is None
    assert constraint(own, OPEN) == ("regex", own)


# ------------------------------------------------------- instructions, demonstrations


def test_instructions_state_what_the_rows_show() -> None:
    told = {one.name: one.text for one in by_rule(PromptSpec(instructions=("Mine.",)), "Do it.", LABELS)}
    assert told["raw"] == "Do it."
    assert "exactly one of: blue, green, red" in told["labels"]
    assert told["yours1"] == "Mine."
    keys = {one.name: one.text for one in by_rule(PromptSpec(), "Do it.", OBJECT)}["keys"]
    assert '"kind" (one of a, b); "place" (string)' in keys


def test_a_key_that_may_be_null_is_told_in_words() -> None:
    rows = train([json.dumps({"order": None if n % 3 else f"R{n}"}) for n in range(40)])
    keys = {one.name: one.text for one in by_rule(PromptSpec(), "Do it.", rows)}["keys"]
    assert '"order" (null or string)' in keys


def test_no_instruction_stands_twice() -> None:
    texts = [one.text for one in by_rule(PromptSpec(instructions=("Do it.", "Do it.")), "Do it.", OPEN)]
    assert len(set(texts)) == len(texts)


def test_balanced_demonstrations_are_spread_over_the_answers() -> None:
    drawn = balanced(LABELS.items, 6, random.Random(0))
    assert sorted(item.target for item in drawn) == ["blue", "blue", "green", "green", "red", "red"]
    assert len({item.id for item in drawn}) == 6
    assert len(balanced(LABELS.items, 99, random.Random(0))) == len(LABELS.items)


def test_hard_demonstrations_stand_next_to_the_question() -> None:
    drawn = [item.id for item in hard(LABELS.items[:2], LABELS.items, 5, random.Random(0))]
    assert set(drawn[-2:]) == {"t0", "t1"}
    assert len(set(drawn)) == 5


def test_dev_items_come_in_an_order_that_mixes_the_answers() -> None:
    order = ordered(LABELS.items, 0)
    assert sorted(order, key=lambda item: item.id) == sorted(LABELS.items, key=lambda item: item.id)
    for start in range(0, 40, 8):
        assert {item.target for item in order[start : start + 8]} == {"red", "green", "blue"}
    assert ordered(LABELS.items, 0) == order != ordered(LABELS.items, 1)


# --------------------------------------------------------------------------- the space


def test_the_first_generation_has_raw_and_what_is_known_to_help() -> None:
    space = make_space(PromptSpec(instructions=("Mine.",)), TASK, "Do it.", LABELS, Shelves(LABELS.items))
    names = [space.name(recipe) for recipe in first(space)]
    assert names[0] == "raw"
    assert "raw+8 nearest [choice]" in names[:3]
    assert "yours1+8 nearest [choice]" in names
    assert len(set(names)) == len(names)


def test_equal_recipes_are_one_arm_and_others_are_not() -> None:
    space = make_space(PromptSpec(), TASK, "Do it.", LABELS, Shelves(LABELS.items))
    arms = [space.arm(recipe) for recipe in first(space)]
    assert len({arm.key for arm in arms}) == len(arms)
    assert space.arm(Recipe()).key == space.arm(Recipe()).key


def test_the_next_generation_builds_on_what_scored() -> None:
    space = make_space(PromptSpec(), TASK, "Do it.", LABELS, Shelves(LABELS.items))
    good = Recipe("labels", Shown("nearest", 8), constrained=True)
    seen = {Recipe(): Seen(0.1, 20), good: Seen(0.8, 20), Recipe("raw", Shown("balanced", 8)): Seen(0.3, 20)}
    new = following(space, seen, [good], 4)
    assert len(new) == 4
    assert not set(new) & set(seen)
    assert all(recipe.shown and recipe.shown.kind == "nearest" for recipe in new)


def test_what_scored_with_others_is_expected_to_score_again() -> None:
    seen = {Recipe("a"): Seen(0.8, 50), Recipe("b"): Seen(0.2, 50)}
    good, bad = promise(seen, [Recipe("a", constrained=True), Recipe("b", constrained=True)])
    assert good > bad


def test_without_shots_no_demonstrations_are_tried() -> None:
    space = make_space(PromptSpec(shots=(0,)), TASK, "Do it.", LABELS, Shelves(LABELS.items))
    assert all(recipe.shown is None for recipe in first(space))


# ------------------------------------------------------------------ baselines, checks


def test_the_baselines_stand_beside_the_best_prompt() -> None:
    made = contestants(PromptSpec(), TASK, "Do it.", LABELS, Shelves(LABELS.items))
    assert list(made) == ["few_shot", "cot", "rag", "majority"]
    assert len(made["few_shot"].prompt.demonstrations) == 8
    assert made["rag"].prompt.retrieval and made["rag"].prompt.retrieval.use == "demonstrations"  # noqa: PT018
    assert made["majority"].prompt.fixed_answer == "red"
    assert all(arm.prompt.name == name for name, arm in made.items())


def test_reasoning_has_room_and_no_stop_that_cuts_it() -> None:
    cot = contestants(PromptSpec(), TASK, "Do it.", LABELS, Shelves(LABELS.items))["cot"]
    assert cot.decoding.max_tokens == TASK.max_tokens + PromptSpec().reasoning_tokens
    assert cot.decoding.stop == ("###",)
    assert cot.prompt.answer_after
    assert cot.prompt.answer_after in cot.prompt.instruction


def test_only_wanted_baselines_are_made_and_majority_only_where_answers_are_closed() -> None:
    made = contestants(PromptSpec(contestants=("cot", "majority")), TASK, "", OPEN, Shelves(OPEN.items))
    assert list(made) == ["cot"]


def test_rag_looks_in_the_documents_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The sky is blue.")
    spec = PromptSpec.model_validate({"retrieval": {"documents": str(tmp_path)}})
    rag = contestants(spec, TASK, "", LABELS, Shelves(LABELS.items, tmp_path))["rag"]
    assert rag.prompt.retrieval
    assert (rag.prompt.retrieval.source, rag.prompt.retrieval.use) == ("documents", "context")


def test_a_budget_that_cannot_hold_one_prompt_is_told_with_what_would_do() -> None:
    small = PromptSpec.model_validate({"budget": 100, "proposals": {"count": 3}})
    assert least_budget(small, 150) == 153
    (problem,) = budget_problems(small, 150)
    assert "100 calls cannot score one prompt on the 150 dev items and write 3 instructions" in str(problem)
    assert "Give at least 153" in str(problem)
    assert not list(budget_problems(small, 97))
    assert not list(budget_problems(PromptSpec(search="none"), 10**6))


def test_typical_demonstrations_are_as_many_as_asked_for() -> None:
    turns = typical_demonstrations(LABELS.items, 3)
    assert [turn.role for turn in turns] == ["user", "assistant"] * 3
    assert typical_demonstrations((), 3) == ()


def test_the_test_split_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="judging"):
        closed_set(train(["a", "b"] * 5, name="test"))
