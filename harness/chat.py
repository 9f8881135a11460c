"""How a prompt is put around an item: one function for the race, for evaluation and for training."""

from __future__ import annotations

from harness.records import Item, Message, Prompt


def chat(prompt: Prompt, item: Item) -> tuple[Message, ...]:
    """The turns before the answer: instruction, demonstrations, then the item's own turns.

    A system message of the item's own is joined to the instruction: chat templates allow one.
    """
    own = [turn.content for turn in item.messages if turn.role == "system"]
    instruction = "\n".join(part for part in (prompt.instruction, *own) if part)
    system = (Message(role="system", content=instruction),) if instruction else ()
    shown = tuple(turn for demonstration in prompt.demonstrations for turn in demonstration)
    return system + shown + tuple(turn for turn in item.messages if turn.role != "system")


def demonstration(item: Item) -> tuple[Message, ...]:
    """An item with its gold answer as a worked example.

    A system message of its own becomes the beginning of its first turn: what the answer rests on stays with it.
    """
    own = [turn.content for turn in item.messages if turn.role == "system"]
    turns = [turn for turn in item.messages if turn.role != "system"]
    if own and turns:
        turns[0] = Message(role=turns[0].role, content="\n".join([*own, turns[0].content]))
    return (*turns, Message(role="assistant", content=item.target))
