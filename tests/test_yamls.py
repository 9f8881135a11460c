"""Strict YAML: nothing is dropped silently."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.yamls import read_strict_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {}\ng: [1]\ntrain: {}\n", "x.yaml (line 3): not valid YAML: key 'train' stands twice, on line 1"),
        ("a:\n  b: 1\n  b: 2\n", "x.yaml (line 3): not valid YAML: key 'b' stands twice"),
        ("a: [1\n", "x.yaml (line 2): not valid YAML"),
        ("a: !function f\n", "x.yaml (line 1): not valid YAML"),
        ("a: 2024-13-45\n", "x.yaml: not valid YAML: month"),
        ("a: \x07\n", "x.yaml: not valid YAML"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_strict_yaml(text, "x.yaml")
    assert str(caught.value).startswith(message)


def test_merged_keys_may_be_overridden_at_any_depth() -> None:
    text = "a: &a {x: 1}\no: {i: {d: &b {<<: *a, x: 2}}}\nc: {<<: *b, x: 3}\n"
    assert read_strict_yaml(text, "x") == {"a": {"x": 1}, "o": {"i": {"d": {"x": 2}}}, "c": {"x": 3}}


def test_equal_keys_in_different_mappings_and_an_empty_text_are_fine() -> None:
    assert read_strict_yaml("a: {x: 1}\nb: {x: 1}\n1: y\n'1': z\n", "x") == {
        "a": {"x": 1},
        "b": {"x": 1},
        1: "y",
        "1": "z",
    }
    assert read_strict_yaml("", "x") is None
