"""The fixed texts by which two ways of running one model are held against each other, and their content identity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from harness.records import Message, digest


@dataclass(frozen=True, slots=True)
class Probe:
    """Something asked, and texts that may follow. Exactly one of `messages` and `text` is given."""

    name: str
    continuations: tuple[str, ...]
    text: str | None = None
    """Plain text, as it stands."""
    messages: tuple[Message, ...] = ()
    """Turns, rendered with the model's chat template up to where the answer begins."""


_LONG = (
    "The ferry left the harbour at half past six, while the shops along the quay were still shut. There were eleven "
    "passengers on board: two postmen, a teacher with a cello, a family of four, and four men who mended nets and "
    "said little. For the first hour the water lay flat as a table. Then the wind came round from the north, the "
    "deck grew wet, and the captain, who had made this crossing for thirty years, asked everyone to come inside. "
    "The teacher would not leave the cello, so one of the postmen held her coat and the other one held the cello. "
    "At a quarter to nine they saw the lighthouse, and soon afterwards the low white houses of"
)

PROBES: Final = (
    Probe("plain text", (" Paris, a city on the Seine.", " a small green apple."), text="The capital of France is"),
    Probe("digits", (" 1, 1, 2, 3, 5, 8, 13, 21", " 7294006113"), text="12 + 30 = 42\nThe first Fibonacci numbers are"),
    Probe("JSON", (' "London", "born": 1815}', " null, [false]}"), text='{"name": "Ada", "tags": ["a", "b"], "city":'),
    Probe("scripts", (" Brücke zum Café", " 東京は日本の首都です。"), text="Grüße! Привет! 你好! Es führt über die"),
    Probe("code", (" a + b\n", " [x for x in (a, b)]\n\n"), text="def add(a: int, b: int) -> int:\n    return"),
    Probe("long text", (" the island, and the wind fell.", " seventeen percent."), text=_LONG),
    Probe(
        "chat",
        ("The sky looks blue because air scatters blue light most.", "I cannot answer that."),
        messages=(Message(role="user", content="Why is the sky blue? Answer in one sentence."),),
    ),
    Probe(
        "chat of several turns",
        ('{"label": "refund"}', "card"),
        messages=(
            Message(role="system", content="Answer with one JSON object and nothing else."),
            Message(role="user", content="My card is gone!"),
            Message(role="assistant", content='{"label": "card"}'),
            Message(role="user", content="I want my money back for order no. 48-213."),
        ),
    ),
)  # fmt: skip
"""Of varied kinds, so that no fault of rendering, of tokens, of position or of weights leaves all of them alone."""

PROBES_DIGEST: Final = digest(
    [asdict(probe) | {"messages": [turn.model_dump() for turn in probe.messages]} for probe in PROBES]
)
"""Numbers compare only for the same texts."""
