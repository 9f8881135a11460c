"""Faults inside the text itself: template tokens, wrong character sets, odd characters, stray white space."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import ftfy

from harness.data.lines import Fault

TEMPLATE_TOKEN = re.compile(
    r"<\|[A-Za-z_][A-Za-z0-9_]{0,30}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
    r"|\[gMASK\]|\[EOS\]\s*$|<｜[^<>\n]{1,40}｜>|^<s>|</s>\s*$|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|^### (?:Instruction|Input|Response):|\n### Response:\s*$|^(?:Human|USER): (?s:.*)\s(?:Assistant|ASSISTANT):\s*$"
)
"""Tokens of the common chat templates: ChatML, Llama 2 and 3, Gemma, Mistral, GLM, DeepSeek; and the words of those
that had none, Alpaca, Claude 2 and Vicuna, where they stand around a whole text."""

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters apart from tab, line feed, carriage return and NEL."""

INVISIBLE = re.compile(
    "[\u00ad\u180e\u2060-\u2064\ufeff\u202a-\u202e\u2066-\u2069]|(?<=[A-Za-z ])[\u200c-\u200f](?=[A-Za-z ])"
    "|(?<![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff])\u200b(?![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff])"
)
"""Characters without width that carry no meaning in plain text. Joiners and marks of direction (U+200C to U+200F)
belong to scripts and emoji, and are odd among Latin letters only; U+200B parts the words of Thai, Lao, Tibetan, Burmese
and Khmer."""

ODD_SPACE = re.compile(r"(?<=[^\W\d_])[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000](?=[^\W\d_])")
"""Spaces between two words that look like a space and are another token. Around numbers, signs and French punctuation
they are set on purpose."""

WIDE_SPACE = "\u3000"
"""The ideographic space; odd anywhere in a text without East Asian characters."""

EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]")
"""Where these stand, an ideographic space is ordinary."""

RUN = re.compile(r"(?<=\S) {3,}(?=\S)")
WORD_TAB = re.compile(r"(?<=[\w,.:;]) ?\t+ ?(?=\w)")
BROKEN_LINE = re.compile(r"(?<=[a-z,])\n{3,}(?=[a-z])|\A([^\n]{1,200}\w)\n{3,}(?=\w[^\n]{0,200}\Z)")
"""Empty lines inside a sentence: between two small letters, or the only line break of a short text."""


def text_faults(where: str, text: str) -> Iterator[Fault]:
    """Every fault of one text. Ordinary text costs one pass of a few patterns."""
    token = TEMPLATE_TOKEN.search(text)
    if token:
        what = f"{where}: holds the template token {token[0].strip()}; the model would take it for the end of a turn"
        yield Fault("template_token", what)
    if not text.isascii() and fix_mojibake(text) != text:
        yield Fault("mojibake", f"{where}: was decoded with the wrong character set")
    control = CONTROL.search(text)
    if control:
        yield Fault("control_character", f"{where}: holds the control character U+{ord(control[0]):04X}")
    hidden = invisible(text)
    if hidden:
        yield Fault("invisible_character", f"{where}: holds the invisible or odd space U+{ord(hidden):04X}")
    stray = stray_space(text, answer=where.endswith("answer"))
    if stray:
        yield Fault("whitespace", f"{where}: {stray}")


def fix_mojibake(text: str) -> str:
    """Text decoded right, where ftfy is sure that it was decoded wrong; the same text otherwise."""
    return ftfy.fix_encoding(text) if ftfy.badness.is_bad(text) else text


def invisible(text: str) -> str:
    """The first invisible character or odd space, or an empty text."""
    if text.isascii():
        return ""
    found = INVISIBLE.search(text)
    if found:
        return found[0]
    found = ODD_SPACE.search(text)
    if (found or WIDE_SPACE in text) and not EAST_ASIAN.search(text):
        return found[0] if found else WIDE_SPACE
    return ""


def stray_space(text: str, answer: bool = False) -> str:
    """What is odd about the text's white space, or an empty text.

    Code and tables are left alone: where lines are indented, spaces mean something. A prompt may end with white space
    (`Answer: `); an answer that does teaches it.
    """
    if text[:1] in (" ", "\t") or (answer and text[-1:] in (" ", "\t")):
        return "begins or ends with white space"
    runs = RUN.findall(text)
    if len(runs) >= max(2, text.count(" ") / 6) and not re.search(r"\n[ \t]", text):
        return "has runs of spaces"
    if text.count("\t") == 1 and WORD_TAB.search(text) and not (answer and "\n" in text):
        return "has a tab between two words"
    if BROKEN_LINE.search(text):
        return "has empty lines in the middle of a sentence"
    return ""


def fix_space(text: str) -> str:
    """The text with plain single spaces; line breaks stay where they separate sentences."""
    text = RUN.sub(" ", text.strip(" \t\r\n"))
    return BROKEN_LINE.sub(lambda match: f"{match[1] or ''} ", WORD_TAB.sub(" ", text))


def _plain_spaces(text: str) -> str:
    text = INVISIBLE.sub("", text)
    return text if EAST_ASIAN.search(text) else ODD_SPACE.sub(" ", text).replace(WIDE_SPACE, " ")


FIXES: dict[str, Callable[[str], str]] = {
    "mojibake": fix_mojibake,
    "control_character": lambda text: CONTROL.sub("", text),
    "invisible_character": _plain_spaces,
    "whitespace": fix_space,
}
"""Repairs by rule; each is idempotent, so that a repaired text has no such fault left."""
