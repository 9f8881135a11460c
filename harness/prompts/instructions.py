"""Instruction variants: the task's own, rewritings by rule, the user's, and those that a language model writes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data import Split
from harness.prompts.answers import closed_set, fields_of, json_shape
from harness.prompts.demonstrations import balanced
from harness.prompts.meter import Meter, Spent
from harness.prompts.spec import PromptSpec
from harness.records import Decoding, Item, Message

STRICT = "Reply with the answer only, in exactly the required form: no explanation, no extra words."
REASON = (
    "Think step by step first, in a few short sentences. Then write the answer alone on a last line that begins "
    'with "Answer:".'
)
ANSWER_MARK = "Answer:"
"""What stands before the answer where the prompt asks for reasoning."""
MOST_LISTED = 50
"""Labels, or keys, up to which an instruction lists them."""
LONGEST_EXAMPLE = 400
"""Characters of a worked example inside an instruction."""
ANGLES = (
    "Be short and direct.",
    "Say what each possible answer means and how to tell it from the others.",
    "Give numbered steps that lead to the answer.",
    "Stress the exact form of the answer.",
    "Name common mistakes and how to avoid them.",
    "Explain the task as to somebody who has never seen it.",
)
"""What makes proposals differ."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One variant."""

    name: str
    text: str
    origin: str
    """`raw`, `rule: NAME`, `yours` or `proposed`."""


def by_rule(spec: PromptSpec, own: str, train: Split) -> list[Instruction]:
    """The task's own instruction first, then its rewritings by rule, then the user's; equal texts once."""
    items = train.to_learn_from()
    labels, shape = closed_set(train), json_shape(train)
    made = [Instruction("raw", own, "raw")]
    if labels is not None and len(labels) <= MOST_LISTED:
        listed = "The answer is exactly one of: {}."
        made.append(_rule("labels", own, listed.format(", ".join(labels)), STRICT))
        mixed = random.Random(spec.seed).sample(labels, len(labels))
        made.append(_rule("labels first", listed.format(", ".join(mixed)), own, STRICT))
    elif shape is not None and sum(1 for _ in fields_of(shape)) <= MOST_LISTED:
        made.append(_rule("keys", own, f"The answer is one JSON object. {_keys(shape)}", STRICT))
    made += [_rule("strict", own, STRICT), _rule("example", own, _example(items), STRICT)]
    if own:
        made.append(Instruction("silent", "", "rule: silent"))
    made += [Instruction(f"yours{n}", text, "yours") for n, text in enumerate(spec.instructions, start=1)]
    seen: set[str] = set()
    return [one for one in made if not (one.text in seen or seen.add(one.text))]  # type: ignore[func-returns-value]


def reasoned(instruction: str) -> str:
    """The instruction with the wish for reasoning before the answer."""
    return _join(instruction, REASON)


def proposed(spec: PromptSpec, own: str, train: Split, meter: Meter) -> list[Instruction]:
    """Variants that a model writes from the task's own instruction and train rows; each costs a call.

    Ends early when the budget does; a text that is empty or was there before is left out.
    Raises EngineError when the model is gone.
    """
    if spec.proposals is None:
        return []
    made: list[Instruction] = []
    items = train.to_learn_from()
    for number in range(spec.proposals.count):
        rng = random.Random(f"{spec.seed}:proposal:{number}")
        wish = _wish(own, balanced(items, 6, rng), ANGLES[number % len(ANGLES)])
        decoding = Decoding(max_tokens=spec.proposals.max_tokens, temperature=0.8, top_p=0.95, seed=spec.seed + number)
        try:
            text = meter.write(wish, decoding).strip().strip('"').strip()
        except Spent:
            break
        if text and all(text != one.text for one in made):
            made.append(Instruction(f"proposed{number + 1}", text, "proposed"))
    return made


def _wish(own: str, shown: Sequence[Item], angle: str) -> tuple[Message, ...]:
    examples = "\n\n".join(f"Input: {_clip(item.messages[-1].content)}\nOutput: {_clip(item.target)}" for item in shown)
    return (
        Message(role="system", content="You write instructions for a language model."),
        Message(
            role="user",
            content=f"The task's present instruction:\n{own or '(none)'}\n\nExamples of what it is asked and what it "
            f"must answer:\n\n{examples}\n\nWrite a better instruction for this task. {angle} "
            "Reply with the instruction only, without examples.",
        ),
    )


def _rule(name: str, *parts: str) -> Instruction:
    return Instruction(name, _join(*parts), f"rule: {name}")


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _example(items: Sequence[Item]) -> str:
    """A worked example inside the instruction: the shortest row, so that it costs little."""
    item = min(items, key=lambda item: (len(item.messages[-1].content) + len(item.target), item.id))
    return f"For example, for this input:\n{_clip(item.messages[-1].content)}\nthe answer is:\n{_clip(item.target)}"


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else text[:LONGEST_EXAMPLE] + " …"


def _keys(shape: dict[str, object]) -> str:
    """The keys in words."""
    told = []
    for path, inner, required in fields_of(shape):
        enum = inner.get("enum")
        kind = inner["type"]
        kinds = [kind] if isinstance(kind, str) else kind
        among = f"one of {', '.join(enum)}" if enum and len(enum) <= MOST_LISTED else " or ".join(kinds)
        told.append(f'"{path}" ({among}{"" if required else ", only where it applies"})')
    return f"Its keys: {'; '.join(told)}."
