"""Structured output: a constraint as a grammar, and the tokens that it allows next. Only this file knows llguidance.

Both engines enforce the same grammar with the same library: vLLM is started with it as its backend, and
`Masks` applies it in process. `check_constraint` needs neither a model nor a tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from harness.errors import EngineError, Problem, UsageError
from harness.records import Constraint, canonical_json

SPACE: Final = r"[ \n\r\t]{1,20}"
"""White space between the parts of a JSON value: enough to indent, and an end for a model that would never stop."""


def schema_of(constraint: Constraint) -> dict[str, Any] | None:
    """The JSON Schema with the white space that may stand between its parts; None for other constraints."""
    if constraint.json_schema is None:
        return None
    spaced = {"whitespace_flexible": True, "whitespace_pattern": SPACE}
    return {"x-guidance": spaced, **constraint.json_schema}


def structured_outputs(constraint: Constraint) -> dict[str, Any]:
    """The constraint as vLLM's request field of the same name."""
    if constraint.choices:
        return {"choice": list(constraint.choices)}
    return {"regex": constraint.regex} if constraint.regex is not None else {"json": schema_of(constraint)}


def check_constraint(constraint: Constraint, where: str = "constraint") -> None:
    """Raise UsageError when the constraint cannot be enforced, and EngineError when llguidance is not installed.

    `where` names its place, e.g. `experiment.yaml: prompt.constrain`.
    """
    llguidance = _library()
    if fault := llguidance.LLMatcher.validate_grammar(_grammar(constraint)):
        raise UsageError(_problem(constraint, where, fault))


def _grammar(constraint: Constraint) -> str:
    llguidance = _library()
    [(kind, content)] = structured_outputs(constraint).items()
    return str(llguidance.grammar_from(kind, content if kind == "regex" else json.dumps(content)))


def _problem(constraint: Constraint, where: str, fault: str) -> Problem:
    [kind] = constraint.model_dump(exclude_defaults=True)
    lines = [line.strip() for line in fault.strip().splitlines()]
    reason = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    hints = {
        "regex": "Regular expressions are those of Rust's regex crate: no look-around, no back-references",
        "json_schema": "JSON Schema without `not`, `if` and references to other documents is understood",
    }
    got = f"{constraint.regex!r} " if kind == "regex" else ""
    return Problem(f"{where}.{kind}", f"{got}cannot be enforced: {reason}", hints.get(kind, ""))


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        hint = "Install the training extra: pip install 'finetune-harness[train]'"
        raise EngineError(Problem("", f"structured output needs {error.name}", next=hint)) from error
    return llguidance


class Masks:
    """Which tokens the constraints of rows in flight allow, for one tokenizer. A row holds a matcher of its own."""

    def __init__(self, tokenizer: Any, ends: frozenset[int], vocabulary: int) -> None:
        """`ends` are the tokens that end an answer, `vocabulary` the width of the logits. Nothing is loaded yet."""
        self._tokenizer, self._ends, self._vocabulary = tokenizer, ends, vocabulary
        self._known: dict[str, Any] = {}
        self._tokens: Any = None
        self._executor: Any = None

    def matcher(self, constraint: Constraint) -> Any:
        """A matcher at the start of an answer. Raises UsageError for what cannot be enforced."""
        key = canonical_json(constraint.model_dump(mode="json"))
        if key not in self._known:
            made = _library().LLMatcher(self._trie(), _grammar(constraint), log_level=0)
            if fault := made.get_error():
                raise UsageError(_problem(constraint, "constraint", fault))
            self._known[key] = made
        return self._known[key].deep_copy()

    def narrow(self, matchers: Mapping[int, Any], logits: Any) -> Any:
        """Logits (rows, vocabulary) with -inf for what the matcher of a row forbids; other rows are as they were."""
        import numpy as np
        import torch
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

        masks = allocate_token_bitmask(len(matchers), self._tokens.vocab_size)
        fill_next_token_bitmask_par(self._executor, [(one, at) for at, one in enumerate(matchers.values())], masks)
        octets = torch.from_numpy(masks.view(np.uint8)).to(logits.device)
        bits = octets[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=logits.device) & 1
        rows = torch.tensor(list(matchers), device=logits.device)
        allowed = bits.flatten(1)[:, : logits.shape[1]].bool()
        logits[rows, : allowed.shape[1]] = logits[rows, : allowed.shape[1]].masked_fill(~allowed, -torch.inf)
        logits[rows, allowed.shape[1] :] = -torch.inf
        return logits

    def _trie(self) -> Any:
        """llguidance's view of the tokenizer; made once, a second or so for large vocabularies."""
        if self._tokens is None:
            from llguidance.hf import from_tokenizer

            size = max(self._vocabulary, len(self._tokenizer))
            try:
                self._tokens = from_tokenizer(self._tokenizer, size, sorted(self._ends))
            except ValueError as error:
                raise EngineError(f"structured output needs a fast tokenizer: {error}.") from error
            self._executor = _library().LLExecutor()
        return self._tokens


def consume(matcher: Any, token: int) -> str:
    """Move a matcher past an answer's newest token; the reason if the answer can go on no further, else empty."""
    return "" if matcher.consume_token(token) else str(matcher.get_error() or "the grammar is too complex")
