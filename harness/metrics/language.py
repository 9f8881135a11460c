"""Words, sentences and the language of a text, for checks of instructions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from harness.metrics.extras import needed

_END = re.compile(r"(?<![.!?])([.!?]++)([\"')\]\u201d\u2019*_]*+)\s++(?=(\S))")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|e\.g|i\.e|vol|fig|gen|col|capt|lt|rev|hon|inc|ltd|co|corp|dept|approx|"
    r"jan|feb|mar|apr|aug|sept?|oct|nov|dec|a\.m|p\.m)|\b[A-Za-z]|\b(?:[A-Za-z]\.)+[A-Za-z])$",
    re.IGNORECASE,
)
LOOK_BACK = 16
"""Characters before a full stop that may be an abbreviation."""


def words(text: str) -> int:
    """Runs of letters, digits and underscores."""
    return len(re.findall(r"\w+", text))


def sentences(text: str) -> int:
    """Sentences: they end at `!`, at `?`, and at a full stop that ends no abbreviation and no small letter follows."""
    if not text.strip():
        return 0
    ends = 0
    for end in _END.finditer(text):
        before = text[max(0, end.start() - LOOK_BACK) : end.start()]
        shortened = end[1] == "." and not end[2] and _ABBREVIATION.search(before) is not None
        ends += not (shortened or (set(end[1]) == {"."} and end[3].islower()))
    return ends + 1


def capital_words(text: str) -> int:
    """Words that are wholly in capitals, by nltk's tokens."""
    tokenizer = needed("nltk.tokenize", "words are split by it").NLTKWordTokenizer()
    return sum(word.isupper() for word in tokenizer.tokenize(text))


@lru_cache(maxsize=1)
def _factory() -> Any:
    library = needed("langdetect.detector_factory", "the language of an answer is told by it")
    factory = library.DetectorFactory()
    factory.load_profile(library.PROFILES_DIRECTORY)
    factory.seed = 0  # its guess is drawn at random otherwise
    return factory


def language(text: str) -> str | None:
    """ISO 639-1 code by langdetect, None for a text without letters to tell it by."""
    detector = _factory().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except needed("langdetect.lang_detect_exception", "").LangDetectException:
        return None
