"""Writes the tickets task: a customer's message to one strict JSON object. Run it from anywhere; no arguments.

The words stand in `templates.toml`; this file only draws from them. The same seed
gives the same bytes on every machine: each split has its own `random.Random`, and
every draw goes through `Deck`, which deals all cards before it repeats one, so that
each split (and each long enough prefix of it) is balanced.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

HERE = Path(__file__).resolve().parent
SEED = 20240
SIZES = {"train": 1000, "dev": 150, "test": 300}
NOISE = ["clean"] * 9 + ["typo"] * 4 + ["chatty"] * 4 + ["hard"] * 3
PRIORITIES = ["high"] * 3 + ["normal"] * 4 + ["low"] * 3
WORDS: dict[str, Any] = tomllib.loads((HERE / "templates.toml").read_text(encoding="utf-8"))
INTENTS = list(WORDS["train"]["plain"])

Card = TypeVar("Card")


class Deck(Generic[Card]):
    """An endless shuffled deck: every card is dealt once before any comes again."""

    def __init__(self, cards: Iterable[Card], rng: random.Random) -> None:
        self.cards, self.rng = list(cards), rng
        self.left: list[Card] = []

    def draw(self) -> Card:
        if not self.left:
            self.left = self.rng.sample(self.cards, len(self.cards))
        return self.left.pop()


def template_sets() -> dict[str, set[str]]:
    """All sentence templates and chatty sentences of each split; the splits share none."""
    return {
        split: {text for kind in ("plain", "hard") for texts in WORDS[split][kind].values() for text in texts}
        | set(WORDS[split]["chatty"])
        for split in SIZES
    }


def order_id(rng: random.Random) -> str:
    """A letter and four digits, or five digits: both are copied verbatim into the answer."""
    if rng.random() < 0.5:
        return f"{rng.choice('ABKR')}{rng.randrange(1000, 10000)}"
    return str(rng.randrange(10000, 100000))


def with_typos(text: str, keep: set[str], rng: random.Random) -> str:
    """One or two words of five letters or more lose a letter or swap two; slots in `keep` stay as they are."""
    words = text.split(" ")
    open_to_typos = [i for i, word in enumerate(words) if len(word) >= 5 and word.isalpha() and word not in keep]
    for i in rng.sample(open_to_typos, min(len(open_to_typos), rng.choice((1, 1, 2)))):
        word, at = words[i], rng.randrange(1, len(words[i]) - 2)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[i] = swapped if rng.random() < 0.5 and swapped != word else word[:at] + word[at + 1 :]
    return " ".join(words)


class Split:
    """All decks of one split."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rng = random.Random(f"{SEED}-{name}")
        words = WORDS[name]
        self.intents = Deck(INTENTS, self.rng)
        self.noise = {intent: Deck(NOISE, self.rng) for intent in INTENTS}
        self.priorities = {intent: Deck(PRIORITIES, self.rng) for intent in INTENTS}
        self.plain = {intent: Deck(words["plain"][intent], self.rng) for intent in INTENTS}
        self.hard = {intent: Deck(words["hard"][intent], self.rng) for intent in INTENTS}
        self.chatty = Deck(words["chatty"], self.rng)
        self.products = Deck(WORDS["products"], self.rng)
        self.synonyms = Deck(WORDS["synonyms"].items(), self.rng)
        self.cues = {
            (priority, place): Deck(texts, self.rng)
            for priority, places in WORDS["cues"].items()
            for place, texts in places.items()
        }

    def product(self, noise: str) -> tuple[str, str]:
        """How the message names the product, and its canonical name; hard messages often use a synonym."""
        if noise == "hard" and self.rng.random() < 0.35:
            return self.synonyms.draw()
        name = self.products.draw()
        return name, name

    def cued(self, text: str, priority: str) -> str:
        """Only a stated urgency moves the priority away from normal."""
        if priority == "normal":
            return text
        if self.rng.random() < 0.3:
            return f"{self.cues[priority, 'before'].draw()} {text}"
        return f"{text} {self.cues[priority, 'after'].draw()}"

    def message(self) -> tuple[str, dict[str, str | None], str]:
        """One message, its answer and its noise kind."""
        intent = self.intents.draw()
        noise, priority = self.noise[intent].draw(), self.priorities[intent].draw()
        template = (self.hard if noise == "hard" else self.plain)[intent].draw()
        order, (called, product) = order_id(self.rng), self.product(noise)
        written = f"#{order}" if self.rng.random() < 0.25 else order
        number = str(self.rng.randrange(20, 1000))
        text = template.replace("{p}", called).replace("{o}", written).replace("{n}", number)
        if noise == "typo":
            text = with_typos(text, {called}, self.rng)
        text = self.cued(text, priority)
        if noise == "chatty":
            extra = self.chatty.draw()
            text = f"{extra} {text}" if self.rng.random() < 0.6 else f"{text} {extra}"
        answer = {
            "intent": intent,
            "priority": priority,
            "order_id": order if "{o}" in template else None,
            "product": product if "{p}" in template else None,
        }
        return text, answer, noise


def rows(name: str) -> Iterator[dict[str, Any]]:
    """The rows of one split, in file order; no text comes twice."""
    split, seen = Split(name), set[str]()
    while len(seen) < SIZES[name]:
        text, answer, noise = split.message()
        if text in seen:
            continue
        seen.add(text)
        yield {
            "id": f"tickets-{name}-{len(seen) - 1:04d}",
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": json.dumps(answer, separators=(",", ":"))},
            ],
            "slices": {"noise": noise},
        }


def files() -> dict[str, str]:
    """File name to content; a test holds the committed files against it."""
    return {f"{name}.jsonl": "".join(json.dumps(row) + "\n" for row in rows(name)) for name in SIZES}


if __name__ == "__main__":
    for file, content in files().items():
        (HERE / file).write_text(content, encoding="utf-8", newline="\n")
