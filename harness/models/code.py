"""Code that travels with a model's weights (`auto_map` in its configs): it runs only where the spec trusts it.

transformers and vLLM know it as `trust_remote_code`. What runs lies in the model's own folder and is part of its
digest, so that what is served later is what was read, trained and judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from harness.errors import Problem

CONFIGS: Final = ("config.json", "tokenizer_config.json")
"""Files that may name code, in `auto_map`."""


def counts(name: str) -> bool:
    """Whether a file is code that a model may run by, in whatever folder of it."""
    return name.endswith(".py")


def brought(path: Path) -> dict[str, Any] | None:
    """Auto class to where its code is (`module.Class`), of all configs of a folder; None where there is none."""
    found: dict[str, Any] = {}
    for name in CONFIGS:
        told = _json(path / name).get("auto_map")
        found |= told if isinstance(told, dict) else {"AutoTokenizer": told} if told else {}
    return found or None


def problems(path: Path, where: str, trusted: bool) -> Iterator[Problem]:
    """What is wrong with a folder's code: needed and not trusted, not there, or elsewhere."""
    named = brought(path)
    if named is None:
        return
    if not trusted:
        kind = _json(path / "config.json").get("model_type")
        if "AutoConfig" in named and not _known(kind):
            what = f"has a type of its own, {kind!r}, and runs only by code that comes with it"
            hint = "Read its *.py files; where you trust them, set trust_remote_code: true in the experiment"
            yield Problem(where, what, "Code from outside is off by default", hint)
        return
    for target in sorted({one for value in named.values() for one in _targets(value)}):
        if "--" in target:
            what = f"takes its code from another repository ({target}), which can be changed without it"
            yield Problem(where, what, "The code must lie beside the weights", "Copy it there and name it in auto_map")
        elif not (path / f"{target.partition('.')[0]}.py").is_file():
            yield Problem(where, f"names code that is not there: {target}", next="Copy it again from the original")


def _targets(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _known(kind: Any) -> bool:
    """Whether the installed transformers has a model type; without transformers nobody can tell, and it passes."""
    if find_spec("transformers") is None:
        return True
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return kind in CONFIG_MAPPING_NAMES


def _json(file: Path) -> dict[str, Any]:
    """A config, as far as it can be read; who needs it whole says what is wrong with it."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
