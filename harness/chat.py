"""How a prompt is put around an item: one function for the search, for evaluation and for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from harness.errors import Problem, UsageError, did_you_mean
from harness.records import Item, Message, Prompt, Retrieval

FIELDS = ("input", "context")
"""What a template of the question's turn can name."""
_JINJA = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked up for one item."""

    ids: tuple[str, ...] = ()
    """Ids of train rows, or `FILE#N` for passages, best first."""
    demonstrations: tuple[tuple[Message, ...], ...] = ()
    """Worked examples, nearest last: what stands next to the question counts most."""
    context: str = ""
    """Text to put before the question."""


class Library(Protocol):
    """Looks things up for questions; `harness.retrieval` holds the real one."""

    def look_up(self, retrieval: Retrieval, items: Sequence[Item]) -> list[Found]:
        """What belongs to each item, in their order. An item is never found for itself.

        Raises UsageError when the corpus is not the one that `retrieval` names by digest.
        """
        ...


def chat(prompt: Prompt, item: Item, found: Found | None = None) -> tuple[Message, ...]:
    """The turns before the answer: instruction, demonstrations, what was looked up, then the item's own turns.

    A system message of the item's own is joined to the instruction: chat templates allow one. The last user turn
    goes through the prompt's template; without one, what was looked up stands before it.
    """
    found = found or Found()
    own = [turn.content for turn in item.messages if turn.role == "system"]
    instruction = "\n".join(part for part in (prompt.instruction, *own) if part)
    system = (Message(role="system", content=instruction),) if instruction else ()
    shown = tuple(
        turn
        for demonstration in (*prompt.demonstrations, *found.demonstrations)
        for turn in _asked(prompt, demonstration, "")
    )
    turns = tuple(turn for turn in item.messages if turn.role != "system")
    return system + shown + _asked(prompt, turns, found.context)


def _asked(prompt: Prompt, turns: tuple[Message, ...], context: str) -> tuple[Message, ...]:
    """Turns with the last user turn put into the prompt's form: a worked example looks as the question does."""
    last = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None or (prompt.turn is None and not context):
        return turns
    if prompt.turn is None:
        text = f"{context}\n\n{turns[last].content}"
    else:
        text = template(prompt.turn).render(input=turns[last].content, context=context)
    return (*turns[:last], Message(role="user", content=text), *turns[last + 1 :])


@lru_cache(maxsize=256)
def template(text: str) -> Template:
    """A template of the question's turn. Raises UsageError when it cannot be read or names what there is not."""
    try:
        named = meta.find_undeclared_variables(_JINJA.parse(text))
        made = _JINJA.from_string(text)
    except TemplateError as fault:
        raise UsageError(Problem("template", f"cannot be read: {fault}", f"Fields: {', '.join(FIELDS)}")) from fault
    for name in sorted(named - set(FIELDS)):
        raise UsageError(
            Problem("template", f"names the field {name!r}, which there is not", did_you_mean(name, FIELDS))
        )
    if "input" not in named:
        hint = "Put {{ input }} where the question shall stand"
        raise UsageError(Problem("template", "does not hold the question", "It must name input", hint))
    return made


def demonstration(item: Item) -> tuple[Message, ...]:
    """An item with its gold answer as a worked example.

    A system message of its own becomes the beginning of its first turn: what the answer rests on stays with it.
    """
    own = [turn.content for turn in item.messages if turn.role == "system"]
    turns = [turn for turn in item.messages if turn.role != "system"]
    if own and turns:
        turns[0] = Message(role=turns[0].role, content="\n".join([*own, turns[0].content]))
    return (*turns, Message(role="assistant", content=item.target))
