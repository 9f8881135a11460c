"""Before the first call: whether what a prompt spec needs is installed, and whether worked examples fit the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from harness import models
from harness.errors import Problem
from harness.evaluate import TaskSpec
from harness.prompts.checks import typical_demonstrations
from harness.prompts.space import MOST_FEW
from harness.prompts.spec import PromptSpec
from harness.records import Item, Message


def missing_packages(spec: PromptSpec) -> Iterator[Problem]:
    """What the search or the embedding model asks for and is not installed; imports nothing."""
    if spec.search in ("gepa", "dspy") and find_spec(spec.search) is None:
        hint = f"pip install 'finetune-harness[{spec.search}]', or take search: race"
        yield Problem("prompt.search", f"{spec.search!r} is not installed", next=hint)
    if spec.retrieval.by != "bm25" and find_spec("sentence_transformers") is None:
        hint = "pip install 'finetune-harness[retrieval]'; or by: bm25, which needs nothing"
        yield Problem("prompt.retrieval.by", f"{spec.retrieval.by!r} needs sentence-transformers", next=hint)


def too_long(
    spec: PromptSpec, task: TaskSpec, instruction: str, train: Sequence[Item], path: Path, context: int
) -> Iterator[Problem]:
    """Numbers of worked examples that do not fit the model's context, by rows of median length.

    The default numbers of the search are not held against anybody: it drops what does not fit, and goes on.

    path: the model's folder. context: tokens that a prompt and its answer may have together. Nothing is told where
    the folder has no tokenizer that can be counted with.
    """
    count = models.token_counter(path)
    question = typical_demonstrations(train, 1)[:-1]
    if count is None or not question:
        return
    system = (Message(role="system", content=instruction),) if instruction else ()
    stated = spec.shots if spec.search != "none" and spec.shots != PromptSpec().shots else ()
    asked = sorted({*stated, *_few_shot(spec)} - {0})
    turns = [[*system, *typical_demonstrations(train, shots), *question] for shots in asked]
    found = count([[{"role": turn.role, "content": turn.content} for turn in one] for one in turns])
    over = [(shots, tokens) for shots, tokens in zip(asked, found, strict=True) if tokens + task.max_tokens > context]
    if over:
        shots, tokens = over[0]
        fit = [n for n in asked if n < shots]
        what = (
            f"{shots} worked examples with a question take about {tokens:,} tokens, and with {task.max_tokens:,} for "
            f"the answer that is more than the {context:,} that the model takes"
        )
        hint = f"Give prompt.shots: {[0, *fit]}" + ("" if fit else ", and leave few_shot out of prompt.contestants")
        yield Problem("prompt.shots", what, next=hint)


def _few_shot(spec: PromptSpec) -> list[int]:
    """How many worked examples the contestant `few_shot` shows."""
    if "few_shot" not in spec.contestants:
        return []
    return [max((shots for shots in spec.shots if 0 < shots <= MOST_FEW), default=MOST_FEW)]
