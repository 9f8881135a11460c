"""How a prompt is put around an item: one function for the search, for evaluation and for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from harness.errors import HarnessError, Problem, UsageError, did_you_mean
from harness.records import Item, Message, Prompt, Retrieval

FIELDS = ("input", "context")
"""What a template of the question's turn can name."""
SHOWN = 60
"""Characters of a text in an error message."""
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
    goes through the prompt's template, that of a worked example too. What was looked up stands where the template
    names it, else before the turn. found: may be left out only by a prompt that looks nothing up (else ValueError).
    Raises UsageError when the template fails on this item.
    """
    if found is None and prompt.retrieval is not None:
        raise ValueError(f"prompt {prompt.name!r} looks things up, and nothing was looked up for it")
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
    text = turns[last].content if prompt.turn is None else _rendered(prompt.turn, turns[last].content, context)
    if context and (prompt.turn is None or "context" not in _named(prompt.turn)):
        text = f"{context}\n\n{text}"
    return (*turns[:last], Message(role="user", content=text), *turns[last + 1 :])


def _rendered(text: str, question: str, context: str) -> str:
    """The turn in its template's form. Texts are handed over as values: nothing that stands in them is executed."""
    try:
        rendered = template(text).render(input=question, context=context)
    except HarnessError:
        raise
    except Exception as fault:  # a template is code of the user's, which can fail in any way
        what = f"{_short(text)} fails on the question {_short(question)}: {fault}"
        raise UsageError(Problem("template", what, next="Correct the template, or the row")) from fault
    if not rendered.strip():
        what = f"{_short(text)} gives no text for the question {_short(question)}"
        raise UsageError(Problem("template", what, next="Correct the template, or the row"))
    return rendered


@lru_cache(maxsize=256)
def template(text: str) -> Template:
    """A template of the question's turn. Raises UsageError when it cannot be read or names what there is not."""
    try:
        made, named = _JINJA.from_string(text), _named(text)
    except (TemplateError, SyntaxError, RecursionError) as fault:  # the last two from what Jinja makes of it
        what = f"{_short(text)} cannot be read: {fault}"
        raise UsageError(Problem("template", what, f"Fields: {', '.join(FIELDS)}")) from fault
    problems = [
        Problem("template", f"{_short(text)} names the field {name!r}, which there is not", did_you_mean(name, FIELDS))
        for name in sorted(named - set(FIELDS))
    ]
    if "input" not in named:
        hint = "Put {{ input }} where the question shall stand"
        problems.append(Problem("template", f"{_short(text)} does not hold the question", "It must name input", hint))
    if problems:
        raise UsageError(problems)
    return made


@lru_cache(maxsize=256)
def _named(text: str) -> frozenset[str]:
    """What a template names. Raises TemplateError."""
    return frozenset(meta.find_undeclared_variables(_JINJA.parse(text)))


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def demonstration(item: Item) -> tuple[Message, ...]:
    """An item with its gold answer as a worked example.

    A system message of its own becomes the beginning of its first user turn: what the answer rests on stays with it,
    and a conversation with several system messages is one that chat templates refuse.
    """
    own = [turn.content for turn in item.messages if turn.role == "system"]
    turns = [turn for turn in item.messages if turn.role != "system"]
    first = next((at for at, turn in enumerate(turns) if turn.role == "user"), None)
    if own and first is not None:
        turns[first] = Message(role="user", content="\n".join([*own, turns[first].content]))
    return (*turns, Message(role="assistant", content=item.target))
