"""Strict YAML: safe, and a key that stands twice is a fault with its line instead of a silently lost block."""

from __future__ import annotations

from typing import Any

import yaml

from harness.errors import Problem, UsageError


def read_strict_yaml(text: str, where: str) -> object:
    """What a YAML text holds (None when it is empty). Safe: no tag runs anything.

    where: the file's name, for messages. Raises UsageError with one Problem whose `where` ends
    with the line, for text that is no YAML, a key given twice in one mapping, or an unknown tag.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as fault:
        line = f" (line {fault.problem_mark.line + 1})" if fault.problem_mark else ""
        hint = "Python functions (!function) are not run" if "!function" in str(fault) else ""
        raise UsageError(Problem(f"{where}{line}", f"not valid YAML: {fault.problem}", hint)) from fault
    except (ValueError, RecursionError, yaml.YAMLError) as fault:  # a date that is none, a control character, ...
        raise UsageError(Problem(where, f"not valid YAML: {' '.join(str(fault).split())}")) from fault


class _StrictLoader(yaml.SafeLoader):
    """Checked while the text is composed: keys that an alias merges in (`<<`) may still be overridden."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                what = f"key {key.value!r} stands twice, on line {lines[name]} too; keep one of them"
                raise yaml.composer.ComposerError(None, None, what, key.start_mark)
            lines[name] = line
        return node
