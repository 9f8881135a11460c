"""Reads the values of one YAML mapping and gathers its faults, each with file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import Problem, did_you_mean
from harness.suites.documents import Document, shown


class Reader:
    """One YAML mapping and what is wrong with it."""

    def __init__(self, file: Path, config: Document) -> None:
        self.file, self.config = file, config
        self.problems: list[Problem] = []

    def fault(self, path: str, what: str, allowed: str = "", hint: str = "") -> None:
        """Remember that the value under `path` cannot be used."""
        self.problems.append(Problem(f"{shown(self.file)}: {path}", what, allowed, hint))

    def unknown_keys(self, mapping: Document, known: tuple[str, ...], path: str = "") -> None:
        """Every key that is not known is a fault."""
        for key in mapping:
            if key not in known:
                self.fault(f"{path}{key}", "is not supported", did_you_mean(str(key), known))

    def text(self, key: str, default: str | None = None) -> str:
        """A string value; a missing key without a default is a fault."""
        value = self.config.get(key, default)
        if isinstance(value, str):
            return value
        self.fault(key, "is missing" if key not in self.config else f"is {value!r}", "A string is needed")
        return ""

    def mapping(self, key: str) -> Document:
        """A mapping; empty where the key is missing."""
        value = self.config.get(key, {})
        if isinstance(value, dict):
            return value
        self.fault(key, f"is {value!r}", "A mapping is needed")
        return {}

    def entries(self, value: Any, path: str) -> list[Document]:
        """A list of mappings."""
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            return value
        self.fault(path, f"is {value!r}", "A list of mappings is needed")
        return []
