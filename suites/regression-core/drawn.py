"""The kinds of regression-core whose questions are drawn and whose answers are computed."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

from dealing import Row, cells, levels

SUMS = 36
"""Arithmetic items a level."""
WORD_ITEMS = 6
"""Items of each rule over words."""
TEXTS = 20
"""Long texts a level."""

# ------------------------------------------------------------------ arithmetic


def _easy(rng: random.Random, n: int) -> str:
    a, b = rng.randrange(1, 11), rng.randrange(1, 11)
    return f"{a} + {b}" if n % 2 else f"{a + b} - {b}"


def _medium(rng: random.Random, n: int) -> str:
    a, b = rng.randrange(11, 90), rng.randrange(2, 10)
    return f"{a} + {b}" if n % 2 else f"{a + b} - {b}"


def _hard(rng: random.Random, n: int) -> str:
    a, b, c = rng.randrange(12, 99), rng.randrange(3, 10), rng.randrange(101, 899)
    return (f"{a} * {b}", f"{a} * {b} - {a - 7}", f"{c} + {a} * {b}")[n % 3]


def _value(question: str) -> str:
    return str(eval(question))  # noqa: S307 - our own sums


def arithmetic(source: Path) -> Iterator[Row]:
    """Sums after three worked examples of the same kind; no question twice, none among the examples."""
    for level, draw in {"easy": _easy, "medium": _medium, "hard": _hard}.items():
        rng = random.Random(f"arithmetic-{level}")
        drawn: list[str] = []
        while len(drawn) < SUMS + 3:
            question = draw(rng, len(drawn))
            if question not in drawn:
                drawn.append(question)
        examples = "\n".join(f"{question} = {_value(question)}" for question in drawn[:3])
        for question in drawn[3:]:
            yield {"level": level, "examples": examples, "question": question, "answer": _value(question)}


# ------------------------------------------------------------------ words by a rule

RULES: dict[str, dict[str, Callable[[list[str]], str]]] = {
    "medium": {
        "Write the words in reverse order.": lambda w: " ".join(w[::-1]),
        "Join the words with hyphens.": "-".join,
        "Write the words in capital letters.": lambda w: " ".join(w).upper(),
        "Copy the second word.": lambda w: w[1],
        "Leave out the first word.": lambda w: " ".join(w[1:]),
        "Write the first word at both ends.": lambda w: " ".join([*w, w[0]]),
    },
    "hard": {
        "Put the words in alphabetical order.": lambda w: " ".join(sorted(w)),
        "Write the first letters of the words.": lambda w: "".join(word[0] for word in w),
        "Write the first word backwards.": lambda w: w[0][::-1],
        "Copy the longest word.": lambda w: max(w, key=len),
        "Reverse the order and use capital letters.": lambda w: " ".join(w[::-1]).upper(),
        "Count the letters of all words together.": lambda w: str(len("".join(w))),
    },
}


def _words(rng: random.Random, pool: list[str], count: int) -> list[str]:
    """Different words, the longest of them longer than all others."""
    while True:
        words = rng.sample(pool, count)
        lengths = sorted(map(len, words))
        if lengths[-1] > lengths[-2]:
            return words


def transform(source: Path) -> Iterator[Row]:
    """An instruction, three worked examples, then the question."""
    head: list[str] = []
    parts = levels(source / "transform.txt")
    for line in parts["easy"]:
        if line.startswith(">"):
            head = [line.removeprefix(">").strip()]
        elif line.startswith("="):
            head.append(line.removeprefix("=").strip())
        else:
            question, answer = cells(line)
            yield {"level": "easy", "examples": "\n".join(head), "question": question, "answer": answer}
    pool = " ".join(parts["words"]).split()
    for level, rules in RULES.items():
        for rule, apply in rules.items():
            rng = random.Random(f"transform-{rule}")
            least = 2 if level == "medium" else 3
            drawn = [_words(rng, pool, least + n % 2) for n in range(WORD_ITEMS + 3)]
            solved = [(" ".join(words), apply(words)) for words in drawn]
            examples = "\n".join([rule, *(f"{words} -> {answer}" for words, answer in solved[:3])])
            for words, answer in solved[3:]:
                yield {"level": level, "examples": examples, "question": words, "answer": answer}


# ------------------------------------------------------------------ instructions

FORMS: dict[str, Callable[[str], str]] = {
    "Answer in capital letters.": str.upper,
    "Put the answer in square brackets.": "[{}]".format,
    "Write the answer twice.": lambda answer: f"{answer} {answer}",
    "Begin with the words: My answer is": "My answer is {}".format,
    "End with three dots.": "{}...".format,
    "Write a dash before the answer.": "- {}".format,
    "Separate all letters with hyphens.": "-".join,
    "Write the answer backwards.": lambda answer: answer[::-1],
}
Wording = tuple[str, Callable[[str], str]]
PAIRED: tuple[tuple[tuple[Wording, Wording], tuple[Wording, Wording]], ...] = (
    (
        (("Use capital letters", str.upper), ("Use small letters", str.lower)),
        (
            ("and put the answer in quotation marks.", '"{}"'.format),
            ("and end with an exclamation mark.", "{}!".format),
        ),
    ),
    (
        (("Do not use small letters.", str.upper), ("Do not use capital letters.", str.lower)),
        (("Do not leave out the brackets.", "({})".format), ("Do not use brackets.", str)),
    ),
)
SOLVED = (("What is two plus one?", "three"), ("Which animal says meow?", "cat"))
"""Questions of the worked examples of easy items."""


def _forms(level: str, number: int) -> dict[str, Callable[[str], str]]:
    """Four instructions and what each makes of an answer; hard ones ask for two things at once."""
    if level != "hard":
        names = random.Random(f"forms-{level}-{number}").sample(list(FORMS), 4)
        return {name: FORMS[name] for name in names}
    first, second = PAIRED[number % 2]
    return {f"{a} {b}": lambda text, f=f, g=g: g(f(text)) for (a, f), (b, g) in product(first, second)}


def instructions(source: Path) -> Iterator[Row]:
    """One question under four instructions: the same four replies are offered, and each is right once.

    So whoever prefers one reply whatever the instruction gets a quarter right.
    """
    for level, lines in levels(source / "instructions.txt").items():
        for number, line in enumerate(lines):
            question, answer = cells(line)
            forms = _forms(level, number)
            choices = random.Random(f"instructions-{question}").sample([form(answer) for form in forms.values()], 4)
            for name, form in forms.items():
                solved = SOLVED if level == "easy" else ()
                blocks = [f"Question: {asked}\nAnswer: {form(short)}" for asked, short in solved]
                text = "\n".join([f"Instruction: {name}", *blocks, f"Question: {question}\nAnswer:"])
                row = {"question": text, "choices": choices, "answer": choices.index(form(answer))}
                yield {"level": level, **row, "cluster": f"question-{level}-{number:02d}"}


# ------------------------------------------------------------------ what a program prints


def printed(program: str) -> str:
    """What a program of ours prints, without the last line break."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, {})  # noqa: S102 - our own programs
    return out.getvalue().strip()


def output(source: Path) -> Iterator[Row]:
    """Each program is drawn twice; both share a cluster."""
    words = ["cat", "river", "lamp", "stone", "apple", "bread", "queen", "tiger", "cloud", "paper"]
    for level, lines in levels(source / "output.txt").items():
        for number, line in enumerate(lines):
            rng = random.Random(f"output-{level}-{line}")
            seen: set[str] = set()
            while len(seen) < 2:
                program = cells(line)[0]
                for name, value in zip("abcdvw", [*rng.sample(range(2, 10), 4), *rng.sample(words, 2)], strict=True):
                    program = program.replace(f"@{name}", str(value))
                answer = printed(program)
                if answer in seen:
                    continue
                seen.add(answer)
                row = {"program": program, "answer": answer, "cluster": f"program-{level}-{number:02d}"}
                yield {"level": level, **row}


# ------------------------------------------------------------------ long texts

SENTENCES = {"easy": 10, "medium": 30, "hard": 70}


def _deck(rng: random.Random, cards: list[str]) -> Iterator[str]:
    """Cards in random order without end, all of them before one comes again."""
    while True:
        yield from rng.sample(cards, len(cards))


def _filler(rng: random.Random, parts: dict[str, list[str]], count: int) -> list[str]:
    """Different sentences about nothing that is asked."""
    found: dict[str, None] = {}
    decks = [_deck(rng, parts[part]) for part in ("when", "who", "did", "where")]
    while len(found) < count:
        found[" ".join(map(next, decks)) + "."] = None
    return list(found)


def retrieval(source: Path) -> Iterator[Row]:
    """A number somewhere in a text: alone, among numbers of others, or to be reached over a second fact."""
    parts = levels(source / "retrieval.txt")
    for level, count in SENTENCES.items():
        for number in range(TEXTS):
            rng = random.Random(f"retrieval-{level}-{number}")
            names = rng.sample(parts["names"], 4 if level != "easy" else 1)
            colours = rng.sample(parts["colours"], len(names))
            codes = [str(code) for code in rng.sample(range(1000, 9999), len(names))]
            if level == "hard":
                facts = [f"{name} owns the {colour} locker." for name, colour in zip(names, colours, strict=True)]
                facts += [f"The {hue} locker opens with {code}." for hue, code in zip(colours, codes, strict=True)]
                question = f"The number that opens the locker of {names[0]} is"
            else:
                facts = [f"The locker of {name} opens with {code}." for name, code in zip(names, codes, strict=True)]
                question = f"The locker of {names[0]} opens with"
            text = _filler(rng, parts, count)
            rng.shuffle(facts)
            for fact in facts:
                text.insert(rng.randrange(len(text)), fact)
            yield {"level": level, "passage": " ".join(text), "question": question, "answer": codes[0]}
