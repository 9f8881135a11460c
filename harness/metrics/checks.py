"""The checks behind instructions: one function a kind, from an answer and the kind's arguments to kept or not.

They are the 25 kinds of IFEval (Zhou et al. 2023) and mean what its own checks mean, odd corners included; sentences
are split by this project's rules, and an argument that is missing is a fault here, where IFEval would draw one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from harness.metrics import language
from harness.metrics.patterns import count, found

Check = Callable[..., bool]
CHECKS: dict[str, Check] = {}
"""Kind to check."""
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}


def check(kind: str) -> Callable[[Check], Check]:
    """Register a check. Its keyword parameters are named as IFEval's data names them."""

    def register(function: Check) -> Check:
        CHECKS[kind] = function
        return function

    return register


def _holds(number: int, relation: str, bound: int) -> bool:
    if relation not in ("at least", "less than"):
        raise ValueError(f"relation {relation!r} is neither `at least` nor `less than`")
    return number >= bound if relation == "at least" else number < bound


# ------------------------------------------------------------------------ words


@check("keywords:existence")
def keywords(answer: str, *, keywords: Iterable[str]) -> bool:
    """Each keyword occurs."""
    return all(found(word, answer, ignore_case=True) for word in keywords)


@check("keywords:frequency")
def keyword_frequency(answer: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword occurs that often."""
    return _holds(count(keyword.strip(), answer), relation, frequency)


@check("keywords:forbidden_words")
def forbidden_words(answer: str, *, forbidden_words: Iterable[str]) -> bool:
    """No forbidden word occurs as a whole word."""
    return not any(found(rf"\b{word}\b", answer, ignore_case=True) for word in forbidden_words)


@check("keywords:letter_frequency")
def letter_frequency(answer: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter occurs that often."""
    return _holds(answer.lower().count(letter.strip().lower()), let_relation, let_frequency)


@check("language:response_language")
def response_language(answer: str, *, language: str) -> bool:
    """The answer is in that language; a text without letters is taken for it."""
    return _is_in(answer, language)


def _is_in(answer: str, code: str) -> bool:
    told = language.language(answer)
    return told is None or told == code


# ------------------------------------------------------------------------ length


@check("length_constraints:number_sentences")
def number_sentences(answer: str, *, num_sentences: int, relation: str) -> bool:
    """That many sentences."""
    return _holds(language.sentences(answer), relation, num_sentences)


@check("length_constraints:number_words")
def number_words(answer: str, *, num_words: int, relation: str) -> bool:
    """That many words."""
    return _holds(language.words(answer), relation, num_words)


@check("length_constraints:number_paragraphs")
def number_paragraphs(answer: str, *, num_paragraphs: int) -> bool:
    """That many paragraphs between `***`; none of the inner ones empty."""
    parts = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", answer)]
    return all(parts[1:-1]) and sum(parts) == num_paragraphs


@check("length_constraints:nth_paragraph_first_word")
def nth_paragraph(answer: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """That many paragraphs between blank lines, and the n-th begins with that word."""
    parts = answer.split("\n\n")
    filled = sum(bool(part.strip()) for part in parts)
    if nth_paragraph > filled or not parts[nth_paragraph - 1].strip():
        return False
    word = parts[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    return filled == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


# ------------------------------------------------------------------------ content and form


@check("detectable_content:number_placeholders")
def placeholders(answer: str, *, num_placeholders: int) -> bool:
    """At least that many [placeholders] within a line."""
    number = 0
    for line in answer.split("\n"):
        end = -1
        while (start := line.find("[", end + 1)) >= 0 and (end := line.find("]", start)) >= 0:
            number += 1
    return number >= num_placeholders


@check("detectable_content:postscript")
def postscript(answer: str, *, postscript_marker: str) -> bool:
    """A postscript with that marker."""
    marker = postscript_marker.strip()
    return found(POSTSCRIPTS.get(marker, marker.lower()), answer.lower())


@check("detectable_format:number_bullet_lists")
def bullets(answer: str, *, num_bullets: int) -> bool:
    """Exactly that many lines that begin with one `*` or with `-`."""
    lines = [line.lstrip() for line in answer.split("\n")]
    number, at = sum(line.startswith("-") for line in lines), 0
    while at < len(lines):
        if lines[at] == "*" and at + 1 < len(lines):
            at += 1  # a bare star takes the next line as its text, as IFEval's pattern does
            number += 1
        elif lines[at][:1] == "*" and lines[at][1:2] not in ("", "*"):
            number += 1
        at += 1
    return number == num_bullets


@check("detectable_format:number_highlighted_sections")
def highlights(answer: str, *, num_highlights: int) -> bool:
    """At least that many *highlighted* parts; **doubly** marked ones count twice, as in IFEval."""
    single = [part for part in re.findall(r"\*[^\n*]*\*", answer) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", answer) if part[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


@check("detectable_format:multiple_sections")
def sections(answer: str, *, section_spliter: str, num_sections: int) -> bool:
    """At least that many sections, each begun by the word and a number."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d++", answer)) >= num_sections


@check("detectable_format:constrained_response")
def constrained(answer: str) -> bool:
    """One of IFEval's three options occurs."""
    return any(option in answer for option in OPTIONS)


@check("detectable_format:json_format")
def json_format(answer: str) -> bool:
    """JSON, in a Markdown fence or not."""
    text = answer.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@check("detectable_format:title")
def title(answer: str) -> bool:
    """A title in <<double angular brackets>>, on one line."""
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and end >= start + 3 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


@check("combination:two_responses")
def two_responses(answer: str) -> bool:
    """Two different answers, with six asterisks between."""
    parts = answer.split("******")
    filled = [part.strip() for part in parts if part.strip()]
    return all(part.strip() for part in parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


@check("combination:repeat_prompt")
def repeat_prompt(answer: str, *, prompt_to_repeat: str) -> bool:
    """The request is repeated first."""
    return answer.strip().lower().startswith(prompt_to_repeat.strip().lower())


@check("startend:end_checker")
def ends_with(answer: str, *, end_phrase: str) -> bool:
    """The phrase ends the answer."""
    return answer.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@check("startend:quotation")
def quotation(answer: str) -> bool:
    """Double quotation marks around everything."""
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


@check("change_case:capital_word_frequency")
def capital_words(answer: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """That many words in capitals."""
    return _holds(language.capital_words(answer), capital_relation, capital_frequency)


@check("change_case:english_capital")
def english_capital(answer: str) -> bool:
    """English, all in capitals."""
    return answer.isupper() and _is_in(answer, "en")


@check("change_case:english_lowercase")
def english_lowercase(answer: str) -> bool:
    """English, all in small letters."""
    return answer.islower() and _is_in(answer, "en")


@check("punctuation:no_comma")
def no_comma(answer: str) -> bool:
    """No comma."""
    return "," not in answer


def kept(kind: str, answer: str, arguments: dict[str, Any]) -> bool:
    """Whether an answer keeps one instruction; an empty one keeps none.

    Raises ValueError for an unknown kind, and for arguments that it does not take or that are missing.
    """
    if kind not in CHECKS:
        raise ValueError(f"unknown instruction {kind!r}")
    given = {key: value for key, value in arguments.items() if value is not None and value != ""}
    try:
        return bool(answer.strip()) and CHECKS[kind](answer, **given)
    except TypeError as fault:
        raise ValueError(f"{kind}: {fault}") from fault
