"""A Modelfile: Ollama's description of a model, with the chat template in its own language, stops, prompt, decoding.

Ollama knows Go's templates, not Jinja. So what the model's own template writes around each turn is read off it by
marked turns, said again in Go's language, and held against the template on real conversations before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import Problem, UsageError
from harness.records import Candidate, Message

MARKS: Final = tuple(f"mark-of-turn-{name}" for name in ("a", "b", "c", "d"))
Render = Callable[[Sequence[Message]], str]
"""Turns to the prompt's text by the model's chat template, up to where the answer begins."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What stands before each turn, by the turn before it, and before the answer."""

    system: str | None
    """Before a system message, which comes first; None where the template refuses one."""
    first: str
    """Before a user turn that comes first, a system message of the template's own included."""
    after_system: str
    after_assistant: str
    assistant: str
    """Before an assistant's turn."""
    answer: str
    """Before the answer."""

    def render(self, turns: Sequence[Message]) -> str:
        """What the Go template writes for these turns."""
        text, last = "", ""
        for turn in turns:
            before = {"system": self.system or "", "assistant": self.assistant}.get(turn.role)
            text += (self._user(last) if before is None else before) + turn.content
            last = turn.role
        return text + self.answer

    def _user(self, last: str) -> str:
        return {"system": self.after_system, "assistant": self.after_assistant}.get(last, self.first)

    @property
    def go(self) -> str:
        """The template in Go's language; one line, since every line break in it is written."""
        system = "" if self.system is None else f'{{{{ if eq .Role "system" }}}}{_literal(self.system)}{{{{ else }}}}'
        user = (
            f'{{{{ if eq $last "system" }}}}{_literal(self.after_system)}'
            f'{{{{ else if eq $last "assistant" }}}}{_literal(self.after_assistant)}'
            f"{{{{ else }}}}{_literal(self.first)}{{{{ end }}}}"
        )
        turn = f'{{{{ if eq .Role "assistant" }}}}{_literal(self.assistant)}{{{{ else }}}}{user}{{{{ end }}}}'
        ended = "" if self.system is None else "{{ end }}"
        body = f"{system}{turn}{ended}{{{{ .Content }}}}{{{{ $last = .Role }}}}"
        return f'{{{{ $last := "" }}}}{{{{ range .Messages }}}}{body}{{{{ end }}}}{_literal(self.answer)}'


def _literal(text: str) -> str:
    """A text as it stands; what would begin an action of the template is written by one."""
    return text.replace("{{", '{{ "{{" }}')


def pieces(render: Render) -> Pieces:
    """What a chat template writes around turns.

    Raises UsageError for one that cannot be said so: it changes turns, or what it writes depends on more than the
    turn before.
    """
    a, b, c, d = MARKS
    user = [Message(role="user", content=b)]
    talk = [*user, Message(role="assistant", content=c), Message(role="user", content=d)]
    first, answer = _split(render(user), [b])
    _, assistant, after_assistant, _ = _split(render(talk), [b, c, d])
    try:
        system, after_system, _ = _split(render([Message(role="system", content=a), *user]), [a, b])
    except UsageError:
        raise
    except Exception:  # a template may refuse a system message in any way
        return Pieces(None, first, first, after_assistant, assistant, answer)
    return Pieces(system, first, after_system, after_assistant, assistant, answer)


def _split(text: str, marks: Sequence[str]) -> list[str]:
    """The texts between the marks, each of which stands in it once and in their order."""
    parts, rest = [], text
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found or mark in rest:
            raise _unsayable("it leaves out a turn, or writes one twice")
        parts.append(before)
    return [*parts, rest]


def _unsayable(why: str) -> UsageError:
    hint = "Export the GGUF file (--format gguf): llama-server runs the model's own template"
    return UsageError(Problem("chat template", f"cannot be said in Ollama's language: {why}", next=hint))


def check(made: Pieces, render: Render, conversations: Sequence[Sequence[Message]]) -> None:
    """Raise UsageError where the pieces write another prompt than the chat template does, naming the first."""
    for turns in conversations:
        if made.system is None and any(turn.role == "system" for turn in turns):
            raise _unsayable("it refuses a system message, and the prompt has one")
        if (wanted := render(turns)) != (got := made.render(turns)):
            at = next((i for i, (x, y) in enumerate(zip(wanted, got, strict=False)) if x != y), len(wanted))
            raise _unsayable(f"it writes {wanted[max(0, at - 20) : at + 20]!r}, not {got[max(0, at - 20) : at + 20]!r}")


def modelfile(candidate: Candidate, file: str, made: Pieces, stops: Sequence[str], context: int) -> str:
    """The whole Modelfile. file: name of the GGUF file beside it. stops: texts of the tokens that end a turn."""
    decoding, prompt = candidate.decoding, candidate.prompt
    settings: dict[str, object] = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "top_k": 0 if decoding.temperature else 1,
        "min_p": 0,
        "repeat_penalty": 1,  # Ollama's own default is another one
        "seed": decoding.seed,
        "num_predict": decoding.max_tokens,
        "num_ctx": context,
    }
    lines = [f"FROM ./{file}", f"TEMPLATE {_quoted(made.go)}"]
    if prompt.instruction:
        lines.append(f"SYSTEM {_quoted(prompt.instruction)}")
    lines += [f"PARAMETER {name} {value}" for name, value in settings.items()]
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in dict.fromkeys((*stops, *decoding.stop))]
    lines += [f"MESSAGE {t.role} {_quoted(t.content)}" for shown in prompt.demonstrations for t in shown]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if '"""' in text:
        what = f"{text[:40]!r} has three quotation marks in a row, which a Modelfile cannot hold"
        raise UsageError(Problem("Modelfile", what, next="Export the GGUF file (--format gguf)"))
    return f'"""{text}"""'
