"""Documents to items: fields and templates are rendered as lm-eval renders them."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import ValidationError

from harness.errors import Problem, did_you_mean
from harness.records import Item, Message
from harness.suites.config import TaskConfig
from harness.suites.documents import Document, shown

MOST_TOLD = 10
"""Faults told per task; a wrong template fails on every document."""


class _Fault(Exception):
    """One document cannot become an item."""

    def __init__(self, key: str, what: str, allowed: str = "") -> None:
        super().__init__(what)
        self.key, self.what, self.allowed = key, what, allowed


def _environment() -> SandboxedEnvironment:
    # Plain text for a model, no HTML: nothing to escape. Sandboxed, for a suite may come from anywhere.
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["regex_replace"] = lambda text, pattern, new, count=0: re.sub(pattern, new, text, count=count)
    return environment


class _Renderer:
    """The templates of one task, compiled once."""

    def __init__(self, config: TaskConfig, fields: frozenset[str]) -> None:
        self.config, self.fields = config, fields
        self.environment = _environment()
        self.compiled: dict[str, Template] = {}

    def value(self, key: str, source: str, document: Document) -> Any:
        """A field's value when `source` names a field, else the rendered template."""
        if source in self.fields:
            if document.get(source) is None:
                raise _Fault(key, f"the document has no field {source!r}", did_you_mean(source, list(document)))
            return document[source]
        if source.isidentifier() and key != "description":
            # lm-eval would ask the bare word as if it were the question.
            raise _Fault(key, f"no field {source!r}", did_you_mean(source, list(self.fields)))
        try:
            if source not in self.compiled:
                self.compiled[source] = self.environment.from_string(source)
            return self.compiled[source].render(**document)
        except TemplateSyntaxError as fault:
            raise _Fault(key, f"is no valid template: {fault.message}") from fault
        except Exception as fault:  # a template can raise anything
            raise _Fault(key, f"cannot be rendered: {fault}", f"Fields: {', '.join(sorted(document))}") from fault

    def text(self, document: Document) -> str:
        text = self.value("doc_to_text", self.config.text, document)
        if not isinstance(text, str):
            raise _Fault("doc_to_text", f"gives {text!r}", "A string is needed")
        if self.config.kind == "multiple_choice" and text.isdigit():
            raise _Fault("doc_to_text", f"gives the bare number {text}", "lm-eval reads it as an index of contexts")
        return text

    def description(self, document: Document) -> str:
        return str(self.value("description", self.config.description, document)) if self.config.description else ""

    def example(self, document: Document) -> str:
        """A question with its answer, as lm-eval writes it."""
        few = self.config.fewshot
        if few is None:
            raise ValueError("the task has no worked examples")
        question: Any = self.value("fewshot doc_to_text", few.text, document)
        choices: Any = None
        if few.choices is not None:
            choices = self.choices(document, few.choices)
            if isinstance(question, int):  # contexts are compared: the right one is the question
                question, choices = choices[question], None
        answer: Any = few.target if isinstance(few.target, int) else self.value("doc_to_target", few.target, document)
        if choices is not None and isinstance(answer, str) and answer.isdigit() and few.target not in self.fields:
            answer = int(answer)
        if choices is not None and isinstance(answer, int):
            if not 0 <= answer < len(choices):
                raise _Fault("fewshot_config", f"an example's answer is {answer}", f"There are {len(choices)} choices")
            answer = choices[answer]
        if not isinstance(question, str) or not isinstance(answer, str):
            raise _Fault("fewshot_config", f"an example gives {question!r} and {answer!r}", "Texts are needed")
        return f"{question}{few.target_delimiter if answer else ''}{answer}{few.delimiter if answer else ''}"

    def gold(self, document: Document) -> str:
        """The target of a generated answer, or the text whose log-likelihood is asked."""
        source = self.config.target
        target = source if isinstance(source, int) else self.value("doc_to_target", source, document)
        if isinstance(target, list | dict) or isinstance(_literal(target), list):
            raise _Fault("doc_to_target", f"gives {target!r}", "One text is needed; several right answers are not read")
        text = str(target)
        for pattern in self.config.scoring.ignored:
            text = re.sub(pattern, "", text)
        if not text.strip():
            raise _Fault("doc_to_target", "gives an empty text")
        return text

    def choices(self, document: Document, source: Any) -> list[str]:
        choices: Any = source
        if isinstance(choices, dict):
            choices = list(choices.values())
        if isinstance(choices, str):
            choices = self.value("doc_to_choice", choices, document)
            choices = choices if isinstance(choices, list) else _literal(choices)
        if not isinstance(choices, list) or not all(isinstance(choice, str) and choice for choice in choices):
            raise _Fault("doc_to_choice", f"gives {choices!r}", "A list of strings that are not empty is needed")
        if len(choices) < 2 or len(set(choices)) < len(choices):
            raise _Fault("doc_to_choice", f"gives {choices!r}", "Two or more different choices are needed")
        return choices

    def right(self, document: Document, choices: Sequence[str]) -> int:
        """Index of the right choice."""
        source = self.config.target
        target: Any = source if isinstance(source, int) else self.value("doc_to_target", source, document)
        if isinstance(target, str) and target.isdigit() and source not in self.fields:
            target = int(target)
        if isinstance(target, str) and target in choices:
            target = choices.index(target)
        if not isinstance(target, int) or isinstance(target, bool) or not 0 <= target < len(choices):
            allowed = f"One of the {len(choices)} choices, or its index from 0, is needed"
            raise _Fault("doc_to_target", f"gives {target!r}, out of range", allowed)
        return target

    def item(self, index: int, document: Document, examples: Sequence[Document] = ()) -> Item:
        cluster, description = document.get(self.config.cluster), self.description(document)
        worked = "".join(self.example(one) for one in examples)
        common: dict[str, Any] = {
            "id": str(document.get("id", index)),
            "cluster": None if cluster is None else str(cluster),
            "slices": self.slices(document),
        }
        if self.config.kind == "multiple_choice" and type(document.get(self.config.text)) is int:
            return self.contexts_item(document, common, description + worked)
        if self.config.chat:
            return _checked(
                **common,
                messages=_turns(description, worked + self.text(document)),
                target=self.gold(document),
            )
        common["text"] = description + worked + self.text(document)
        if self.config.kind == "loglikelihood":
            after = self.gold(document)
            return _checked(**common, choices=(after,), target=after)
        if self.config.kind == "generate_until":
            return _checked(**common, target=self.gold(document))
        bare = self.choices(document, self.config.choices)
        asked = tuple(f"{self.config.target_delimiter}{choice}" for choice in bare)
        return _checked(**common, choices=asked, target=asked[self.right(document, bare)])

    def contexts_item(self, document: Document, common: dict[str, Any], before: str) -> Item:
        """lm-eval's multiple inputs: the text field holds the index of the right context, the target what follows."""
        contexts = self.choices(document, self.config.choices)
        right = document[self.config.text]
        if not 0 <= right < len(contexts):
            raise _Fault("doc_to_text", f"gives {right}", f"An index of the {len(contexts)} contexts is needed")
        after = f"{self.config.target_delimiter}{self.gold(document)}"
        return _checked(**common, text=before, choices=tuple(contexts), target=contexts[right], continuation=after)

    def slices(self, document: Document) -> Any:
        """The document's own slices and the fields that the YAML names."""
        named = {field: str(document[field]) for field in self.config.slices if document.get(field) is not None}
        own = document.get("slices") or {}
        return own | named if isinstance(own, dict) else own


def _turns(description: str, text: str) -> tuple[Message, ...]:
    """What lm-eval asks under `--apply_chat_template`: the description is a system turn, all else one user turn."""
    system = (Message(role="system", content=description),) if description else ()
    return (*system, Message(role="user", content=text))


def _checked(**fields: Any) -> Item:
    try:
        return Item(**fields)
    except ValidationError as fault:
        error = fault.errors()[0]
        raise _Fault(".".join(map(str, error["loc"])), str(error["msg"])) from fault


def _literal(text: Any) -> Any:
    """The Python value that a rendered template spells, as lm-eval reads it; the text itself if it spells none."""
    if not isinstance(text, str) or not (text.strip().startswith("[") and text.strip().endswith("]")):
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def example_ends(config: TaskConfig) -> tuple[str, ...]:
    """How a text would end whose question is that of a worked example. For tasks whose items could be rendered."""
    few = config.fewshot
    if few is None:
        return ()
    documents = few.documents if few.sampler == "default" else few.documents[: few.count]
    renderer = _Renderer(config, frozenset(key for document in documents for key in document))
    texts: list[Any] = []
    for document in documents:
        with suppress(_Fault):  # one that no item drew; what an item draws was rendered before
            texts.append(renderer.value("fewshot doc_to_text", few.text, document))
    return tuple(f"{few.delimiter}{text}" for text in texts if isinstance(text, str) and text.strip())


def render_items(config: TaskConfig, documents: Sequence[Document], problems: list[Problem]) -> tuple[Item, ...]:
    """All items of a task; faults are added to `problems`, the first ten in full."""
    renderer = _Renderer(config, frozenset(key for document in documents for key in document))
    items: list[Item] = []
    faults: list[Problem] = []
    few = config.fewshot.chosen(len(documents)) if config.fewshot else [()] * len(documents)
    for index, (document, examples) in enumerate(zip(documents, few, strict=True)):
        try:
            items.append(renderer.item(index, document, examples))
        except _Fault as fault:
            where = f"{shown(config.file)}: {fault.key}"
            name = str(document.get("id", index))
            faults.append(Problem(where, f"item {name!r} of {config.data.name}: {fault.what}", fault.allowed))
    twice = sorted(name for name, count in Counter(item.id for item in items).items() if count > 1)
    if twice:
        faults.append(Problem(shown(config.data), f"ids stand more than once: {', '.join(twice[:MOST_TOLD])}"))
    problems.extend(faults[:MOST_TOLD])
    if len(faults) > MOST_TOLD:
        problems.append(Problem(shown(config.file), f"and {len(faults) - MOST_TOLD} more items with faults"))
    return tuple(items)
