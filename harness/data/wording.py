"""The wording of a question, reduced to what tells it from another: the form in which near copies are alike."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
"""A word or a number; punctuation tells no two questions apart."""

SPELLED_OUT = {
    "cannot": "can not", "can't": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us",
    "i'm": "i am", "what's": "what is", "it's": "it is", "that's": "that is", "there's": "there is",
    "where's": "where is", "who's": "who is", "how's": "how is", "when's": "when is", "he's": "he is",
    "she's": "she is", "ok": "okay", "hiya": "hi", "hello": "hi", "hey": "hi", "thx": "thanks",
    "our": "my", "ours": "mine", "us": "me", "we": "i", "we've": "i have", "we're": "i am", "we'd": "i would",
    "we'll": "i will", "gonna": "going to", "wanna": "want to", "gotta": "have to", "any": "some",
    "purchase": "buy", "purchased": "bought", "obtain": "get", "obtained": "got",
}  # fmt: skip
"""Contractions written out, plain words for stiff ones, and the first person as one: who asks, one or several, changes
no question."""

SHORT_FOR = {
    "for what reason": "why",
    "how come": "why",
    "in what way": "how",
    "at what time": "when",
    "in which place": "where",
    "have to": "need to",
}
"""Phrases that say the same, as one."""

SAME_QUESTION = re.compile(rf"\b(?:{'|'.join(SHORT_FOR)})\b")

ENDINGS = {"n't": " not", "'ve": " have", "'re": " are", "'ll": " will", "'d": " would"}
"""Endings of the contractions that follow a rule."""


def _phrases(listed: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(phrase.split()) for phrase in listed.split("|"))


OPENERS = _phrases(
    "hi|hi there|please|pls|okay|okay so|so|well|quick one|quick question|just wondering|excuse me|sorry|good morning"
    "|good afternoon|good evening|dear all|dear team|hi all|hi team|hi everyone|kindly|can you tell me"
    "|could you tell me|um|uh|oh|yo"
)
CLOSERS = _phrases(
    "thanks|thank you|thanks a lot|many thanks|thanks in advance|thank you very much|cheers|please|pls|asap|if possible"
    "|thank you so much|regards|best regards|kind regards|right now please|tia"
)
"""Politeness around a question, which is no part of it."""

LONGEST = 4
"""Words of the longest opener or closer."""

WHOLE = 400
"""Words from which politeness and contractions do not matter any more, and only the words are taken."""


def words(text: str) -> list[str]:
    """Words of the text in order, case and accents of form folded."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
    return WORD.findall(text.casefold())


def bare(text: str) -> str:
    """The question in its bare words, joined by single spaces; the words themselves where nothing else is left."""
    found = words(text)
    if len(found) > WHOLE:
        return " ".join(found)
    spelled = SAME_QUESTION.sub(_asked_shortly, " ".join(_spelled_out(word) for word in found)).split(" ")
    return " ".join(_trimmed(spelled))


def _asked_shortly(match: re.Match[str]) -> str:
    return SHORT_FOR[match[0]]


def _spelled_out(word: str) -> str:
    known = SPELLED_OUT.get(word)
    if known is not None:
        return known
    if "'" in word:
        for ending, written in ENDINGS.items():
            if word.endswith(ending):
                return word.removesuffix(ending) + written
        return word.replace("'", "")
    return word


def _trimmed(spelled: list[str]) -> list[str]:
    """Without openers and closers, as long as words remain."""
    while taken := next((n for n in _sizes(spelled) if tuple(spelled[:n]) in OPENERS), 0):
        spelled = spelled[taken:]
    while taken := next((n for n in _sizes(spelled) if tuple(spelled[-n:]) in CLOSERS), 0):
        spelled = spelled[:-taken]
    return spelled


def _sizes(spelled: list[str]) -> range:
    """Words that a phrase at the edge may have, the longest first, with something left over."""
    return range(min(LONGEST, len(spelled) - 1), 0, -1)


NUMBERS_DECIDE = 100
"""Characters below which other numbers alone make another question, even with the same answer."""


def another_problem(one: str, other: str, same_answer: bool) -> bool:
    """Whether two near copies are two problems of one template: other numbers, and another answer or few words."""
    digits = ["".join(c for c in text if c.isdigit()) for text in (one, other)]  # `1,000` and `1000` are one number
    if digits[0] == digits[1]:
        return False
    return not same_answer or min(len(one), len(other)) < NUMBERS_DECIDE


def one_typo_apart(one: str, other: str) -> bool:
    """Whether two bare questions have the same words but for slips of the pen: at most one word in four.

    A slip is two neighbouring letters swapped, or one letter left out or doubled, in a word of four letters or more
    without digits. A letter replaced by another makes a different word too often to count.
    """
    a, b = one.split(" "), other.split(" ")
    if len(a) != len(b):
        return False
    differing = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    return len(differing) <= max(1, len(a) // 4) and all(_slip(x, y) for x, y in differing)


def _slip(x: str, y: str) -> bool:
    if min(len(x), len(y)) < 4 or not (x.isalpha() and y.isalpha()):
        return False
    if len(x) == len(y):
        at = [i for i in range(len(x)) if x[i] != y[i]]
        return len(at) == 2 and at[1] == at[0] + 1 and x[at[0]] == y[at[1]] and x[at[1]] == y[at[0]]
    short, long = sorted((x, y), key=len)
    return len(long) == len(short) + 1 and len(short) >= 5 and _left_out(short, long)


def _left_out(short: str, long: str) -> bool:
    """One letter missing inside the word, not at its end, where it would be a plural or another form."""
    return any(long[:i] + long[i + 1 :] == short for i in range(1, len(long) - 1)) and short != long[:-1]
