"""Numbers that carry a checksum - cards, bank accounts, national ids - told from numbers that merely look alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

CARD = re.compile(
    r"(?<![\d.,-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\d-])"
    r"|(?<![\d.,-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\d-])"
)
IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,4})?(?![A-Za-z0-9])", re.IGNORECASE
)

ISSUERS = re.compile(
    r"4(?:\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}|(?:50|5[678]|6)\d{14,17}"
)
"""First digits and lengths of Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay and Maestro. Visa's
13 digits are issued no more, and one sum in ten that long has the checksum."""


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every IBAN whose checksum and country's length are right."""
    for match in IBAN.finditer(text):
        end = _valid_prefix(match[0], _is_iban)
        if end:
            yield match.start(), match.start() + end


def cards(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether issuer and Luhn checksum are right) of every number in the form of a card."""
    for match in CARD.finditer(text):
        yield *match.span(), _is_card(match[0])


def national_ids(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, country and name) of every national id."""
    for known in NATIONAL_IDS:
        for match in known.form.finditer(text):
            cued = bool(known.cue.search(text[max(0, match.start() - 45) : match.start()]))
            if known.holds(match[0], cued):
                yield *match.span(), known.name


@dataclass(frozen=True, slots=True)
class _NationalId:
    """How one country's id is written, and what tells it from a number that looks alike."""

    name: str
    form: re.Pattern[str]
    module: str
    """The module of python-stdnum that knows its checksum; empty where it has none."""
    cue: re.Pattern[str]
    cue_needed: bool = False
    """Whether the checksum alone is too weak for so plain a form."""
    cue_enough: bool = False
    """Whether the words before it suffice: specimen and retired numbers are numbers too."""

    def holds(self, number: str, cued: bool) -> bool:
        """Whether a number of this form is such an id. cued: its name stands before it."""
        if self.cue_enough and cued:
            return True
        return (cued or not self.cue_needed) and bool(self.module) and _is_valid(self.module, number)


def _id(name: str, form: str, module: str, cue: str, needed: bool = False, enough: bool = False) -> _NationalId:
    return _NationalId(
        name,
        re.compile(rf"(?<![\w.,-])(?:{form})(?![\w-]|[.,]\d)"),
        f"stdnum.{module}" if module else "",
        re.compile(rf"\b(?:{cue})\b[^\d\n]{{0,20}}$", re.IGNORECASE),
        needed,
        enough,
    )


_SSN = r"ssn|social security(?: number| no)?"

NATIONAL_IDS = (
    _id("US SSN", r"\d{3}-\d{2}-\d{4}", "us.ssn", _SSN, enough=True),
    _id("US SSN", r"\d{3} ?\d{2} ?\d{4}", "us.ssn", _SSN, needed=True, enough=True),
    _id("US ITIN", r"9\d{2}-\d{2}-\d{4}", "us.itin", "itin|taxpayer"),
    _id("UK NINO", r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]", "", "nino|national insurance", needed=True, enough=True),
    _id("UK NHS", r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", "nhs(?: number)?", needed=True),
    _id("ES DNI", r"\d{8}-?[A-Z]", "es.dni", "dni|nif"),
    _id("ES NIE", r"[XYZ]-?\d{7}-?[A-Z]", "es.nie", "nie"),
    _id("IT codice fiscale", r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", "it.codicefiscale", "codice"),
    _id("FR NIR", r"[12] ?\d{2} ?\d{2} ?\d{2} ?\d{3} ?\d{3} ?\d{2}", "fr.nir", "nir|securite|sécurité"),
    _id("BR CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf", "cpf"),
    _id("BR CPF", r"\d{11}", "br.cpf", "cpf", needed=True),
    _id("CH AHV", r"756\.\d{4}\.\d{4}\.\d{2}", "ch.ssn", "ahv|avs"),
    _id("FI HETU", r"\d{6}[-+A]\d{3}[0-9A-Z]", "fi.hetu", "hetu|henkilötunnus"),
    _id("CN id", r"\d{17}[\dX]", "cn.ric", "身份证"),
    _id("KR RRN", r"\d{6}-[1-8]\d{6}", "kr.rrn", "rrn"),
    _id("MX CURP", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", "mx.curp", "curp"),
    _id(
        "SE personnummer", r"(?:\d{2})?\d{6}[-+]?\d{4}", "se.personnummer", "person(?:al )?num(?:mer|ber)", needed=True
    ),
    _id("NL BSN", r"\d{9}", "nl.bsn", "bsn|burgerservicenummer", needed=True),
    _id("PL PESEL", r"\d{11}", "pl.pesel", "pesel", needed=True),
    _id("DE IdNr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", "de.idnr", "steuer-?id\\w*|idnr|tin", needed=True),
    _id("CA SIN", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", "sin|social insurance(?: number)?", needed=True),
    _id("AU TFN", r"\d{3} ?\d{3} ?\d{3}", "au.tfn", "tfn|tax file number", needed=True),
    _id("IN Aadhaar", r"\d{4} ?\d{4} ?\d{4}", "in_.aadhaar", "aadhaar|uidai?", needed=True),
)


def _valid_prefix(text: str, valid: Callable[[str], bool]) -> int:
    """Length of the longest prefix, cut at spaces, that is valid; 0 for none."""
    ends = [len(text), *(at for at in range(len(text) - 1, 0, -1) if text[at] == " ")]
    return next((end for end in ends if valid(text[:end])), 0)


@cache
def _module(name: str) -> Any:
    return import_module(name)


def _is_valid(module: str, number: str) -> bool:
    return bool(_module(module).is_valid(number))


def _is_iban(number: str) -> bool:
    """By length, form and checksum; whether a country knows the bank is another question."""
    return bool(_module("stdnum.iban").is_valid(number, check_country=False))


def _is_card(number: str) -> bool:
    digits = "".join(c for c in number if c.isdigit())
    return bool(ISSUERS.fullmatch(digits)) and len(set(digits)) > 2 and _is_valid("stdnum.luhn", digits)
