"""Constraints as grammars: what can be enforced is told before any model is asked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from harness.engines import check_constraint, refusal
from harness.engines.constrain import structured_outputs
from harness.errors import UsageError
from harness.records import Conditions, Constraint


@pytest.mark.parametrize(
    "given",
    [
        {"choices": ("yes", "yes, please", 'say "no"\n', "naïve 😀")},
        {"regex": "[0-9]{4}-[0-9]{2}|\\w+/é"},
        {"json_schema": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}},
    ],
)
def test_constraints_of_every_kind_can_be_enforced(given: dict[str, Any]) -> None:
    check_constraint(Constraint(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"regex": "[0-9"}, r"spec.yaml: prompt.constrain.regex: '\[0-9' cannot be enforced: unclosed character class"),
        ({"regex": "(?=a)b"}, "look-around, including look-ahead and look-behind, is not supported"),
        ({"json_schema": {"type": "nope"}}, "prompt.constrain.json_schema: cannot be enforced: Invalid type: nope"),
        ({"json_schema": {"not": {"type": "string"}}}, "Unimplemented keys"),
        ({"json_schema": {"$ref": "http://example.org/x"}}, "does not fetch resources"),
    ],
)
def test_a_constraint_that_cannot_be_enforced_is_told_with_its_place(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_constraint(Constraint(**given), "spec.yaml: prompt.constrain")


def test_whether_an_engine_refuses_a_constraint_is_told_without_asking_it() -> None:
    for name in ("vllm", "transformers"):
        under = Conditions(engine=name, engine_version="1", dtype="x", device="x", chat_template_digest=None)
        assert refusal(under, Constraint(choices=("a", "b"))) == ""
        assert "unclosed character class" in refusal(under, Constraint(regex="[0-9"))


def test_white_space_in_json_is_bounded_unless_the_schema_says_otherwise() -> None:
    import llguidance

    def allows(schema: dict[str, Any], text: str) -> bool:
        # Bytes as tokens: what the grammar allows, whatever the model's own tokens are.
        tokenizer = llguidance.LLTokenizer("byte")
        sent = structured_outputs(Constraint(json_schema=schema))["json"]
        matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_json_schema(sent), log_level=0)
        return bool(matcher.try_consume_tokens(list(text.encode())) == len(text.encode()) and matcher.is_accepting())

    schema = {"type": "array", "items": {"type": "integer"}}
    assert allows(schema, "[1,2]")
    assert allows(schema, "[\n    1,\n    2\n]")
    assert not allows(schema, "[1," + " " * 40 + "2]")
    assert not allows(schema | {"x-guidance": {"whitespace_flexible": False}}, "[1, 2]")


def test_checking_a_constraint_loads_no_model_library() -> None:
    code = (
        "import sys; from harness.engines import check_constraint; from harness.records import Constraint; "
        "check_constraint(Constraint(choices=('a',))); "
        "print([n for n in ('torch', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
