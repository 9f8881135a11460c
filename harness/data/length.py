"""How long rows are under a model's own tokenizer and chat template, and which answers `max_length` would cut."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness import models
from harness.data.example import Example
from harness.data.policy import AuditSpec
from harness.errors import DataError, Problem
from harness.records import Finding

BATCH = 512


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens per row, prompt and answer together."""

    model: str
    median: int
    p95: int
    longest: int
    max_length: int | None
    cut: int
    """Rows whose answer `max_length` would cut."""
    rows: int

    def told(self) -> str:
        """One line for a reader."""
        line = f"tokens under {self.model}: median {self.median}, 95 % up to {self.p95}, longest {self.longest}"
        if self.max_length is None:
            return line
        return (
            f"{line}; max_length {self.max_length} cuts {self.cut} of {self.rows} answers ({self.cut / self.rows:.1%})"
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        keys = ("model", "median", "p95", "longest", "max_length", "cut")
        return {key: getattr(self, key) for key in keys}


def measure(
    examples: Iterable[tuple[Example, str]], file: str, model: str, max_length: int | None, spec: AuditSpec
) -> tuple[Lengths | None, tuple[Finding, ...]]:
    """Token lengths of every well-formed row, and a finding for each whose answer would be cut.

    Raises ModelError when there is no such model, DataError when transformers is not installed.
    """
    tokenizer = _tokenizer(model)
    return measure_by(partial(_tokens, tokenizer), (row for row, _ in examples), file, model, max_length, spec)


def measure_on_disk(
    examples: Iterable[Example], file: str, model: str, near: Path, max_length: int | None, spec: AuditSpec
) -> tuple[Lengths | None, tuple[Finding, ...]] | None:
    """The same for a model that is on this machine already, without torch; None where it is not.

    near: the folder that a relative model path is meant from. Raises ModelError for a name that is none.
    """
    path = models.on_disk(model, near)
    count = models.token_counter(path) if path else None
    if count is None:
        return None
    return measure_by(lambda rows: count([_turns(row) for row in rows]), examples, file, model, max_length, spec)


def measure_by(
    count: Callable[[list[Example]], Iterable[int]],
    examples: Iterable[Example],
    file: str,
    model: str,
    max_length: int | None,
    spec: AuditSpec,
) -> tuple[Lengths | None, tuple[Finding, ...]]:
    """Token lengths by any counter of rows."""
    counts, findings = array("q"), []
    rows = iter(examples)
    while batch := list(islice(rows, BATCH)):
        for example, tokens in zip(batch, count(batch), strict=True):
            counts.append(tokens)
            if max_length is not None and tokens > max_length:
                findings.append(_cut(example, file, tokens, max_length, spec))
    if not counts:
        return None, ()
    seen = np.frombuffer(counts, dtype=np.int64)
    median, p95 = (int(np.quantile(seen, q, method="higher")) for q in (0.5, 0.95))
    lengths = Lengths(model, median, p95, int(seen.max()), max_length, len(findings), len(seen))
    return lengths, tuple(f for f in findings if f.action != "ignore")


def _cut(example: Example, file: str, tokens: int, max_length: int, spec: AuditSpec) -> Finding:
    rule = "cut_by_max_length"
    message = f"has {tokens} tokens; max_length {max_length} would cut the end of its answer"
    action, severity = spec.action(rule), spec.severity(rule)
    return Finding(rule=rule, severity=severity, file=file, line=example.line, message=message, action=action)


def _tokens(tokenizer: Any, examples: list[Example]) -> Iterator[int]:
    """Tokens of prompt, answer and end of turn, as the chat template writes them."""
    texts = [_rendered(tokenizer, example) for example in examples]
    for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
        yield len(ids)


def _turns(example: Example) -> list[dict[str, str]]:
    asked = [{"role": turn.role, "content": turn.said} for turn in example.prompt]
    return [*asked, {"role": "assistant", "content": example.answer}]


def _rendered(tokenizer: Any, example: Example) -> str:
    turns = _turns(example)
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception:  # a template may refuse a role with whatever its author raises; the words count all the same
        return "\n".join(turn["content"] for turn in turns)


def _tokenizer(model: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as fault:
        hint = "pip install 'finetune-harness[train]'"
        raise DataError(Problem("--model", "transformers is not installed", next=hint)) from fault
    path = models.resolve(model, near=Path(), note=lambda _: None).path
    return AutoTokenizer.from_pretrained(path)
