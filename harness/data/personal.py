"""Personal data and secrets in text: found by form and checksum, never shown in clear."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

from harness.data.lines import Fault

ANY_HINT = re.compile(
    r"\d{3}|@|\d\.\d|[A-Z]{2}\d\d|-----BEGIN|\b\d{1,5} [A-Z]|(?:sk|xox|gh[pousr]|hf|AKIA|AIza|eyJ)[_A-Za-z0-9-]"
)
"""Text without any of these holds nothing that is looked for; most text is done after this one pass."""

EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
)
CARD = re.compile(
    r"(?<![\d.,-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\d-])"
    r"|(?<![\d.,-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\d-])"
)
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,7}(?![\w:])")
VERSION = re.compile(r"(?:version|release|firmware|build|section|chapter|v)[ .:]*$", re.I)
PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d[\d ()./-]{5,18}\d(?![\w/-]|[.,]\d)")
PHONE_CUE = re.compile(
    r"\b(?:phone|tel|telephone|call|mobile|cell|fax|text|whatsapp|reach|number is|ring|contact)\b[^\d\n]{0,25}$", re.I
)
SHAPED = re.compile(r"\(\d{2,5}\)|^\d{3}[-. ]\d{3}[-. ]\d{4}$|^0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}$")
ADDRESS = re.compile(
    r"\b\d{1,5}[A-Za-z]? (?:[A-Z][a-z]+ ){1,3}"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Close|Terrace|Square)\b\.?,? [A-Z]"
)
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}|[sr]k_live_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{30,}|AIza[0-9A-Za-z_-]{35}"
    r"|glpat-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:[^-]+-----END (?:[A-Z]+ )*PRIVATE KEY-----)?"
)
"""Keys of AWS, GitHub, Slack, OpenAI, Anthropic, Stripe, Hugging Face, Google, GitLab and npm; JWT; PEM."""


@dataclass(frozen=True, slots=True)
class Found:
    """One personal value: where it stands, not what it is."""

    rule: str
    kind: str
    start: int
    end: int


def personal_faults(where: str, text: str) -> Iterator[Fault]:
    """One fault a rule for one text, without the value."""
    told: set[str] = set()
    for found in find(text):
        if found.rule not in told:
            told.add(found.rule)
            yield Fault(found.rule, f"{where}: holds {found.kind} ({found.end - found.start} characters, not shown)")


def find(text: str) -> list[Found]:
    """Every personal value, in the order of the text; where two overlap, the more certain one."""
    if not ANY_HINT.search(text):
        return []
    kept: list[Found] = []
    for finder in FINDERS:
        for found in finder(text):
            if all(found.end <= other.start or found.start >= other.end for other in kept):
                kept.append(found)
    return sorted((found for found in kept if found.rule), key=lambda found: found.start)


def redact(text: str, rules: frozenset[str]) -> str:
    """The text with every value of these rules replaced by its kind in capitals, e.g. `[EMAIL]`."""
    for found in reversed(find(text)):
        if found.rule in rules:
            sign = found.rule.removeprefix("pii_").upper()
            text = f"{text[: found.start]}[{sign}]{text[found.end :]}"
    return text


def masked(text: str) -> str:
    """The text safe to show: every personal value replaced."""
    return redact(text, ALL_RULES)


# ------------------------------------------------------------------------ finders


def _secrets(text: str) -> Iterator[Found]:
    for match in SECRET.finditer(text):
        yield Found("secret", "a key or token", *match.span())


def _emails(text: str) -> Iterator[Found]:
    for match in EMAIL.finditer(text) if "@" in text else ():
        yield Found("pii_email", "an e-mail address", *match.span())


def _ibans(text: str) -> Iterator[Found]:
    for match in IBAN.finditer(text):
        end = _valid_prefix(match[0], _is_iban)
        if end:
            yield Found("pii_iban", "an IBAN with a right checksum", match.start(), match.start() + end)


def _cards(text: str) -> Iterator[Found]:
    """Numbers in the form of a card. One with a wrong checksum is a reference, and no other finder may take it."""
    for match in CARD.finditer(text):
        right = _is_card(match[0])
        yield Found("pii_card" if right else "", "a card number with a right checksum", *match.span())


def _ips(text: str) -> Iterator[Found]:
    for match in [*IPV4.finditer(text), *IPV6.finditer(text)]:
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if not _names_nobody(address) and not VERSION.search(text[max(0, match.start() - 12) : match.start()]):
            yield Found("pii_ip", "a public IP address", *match.span())


def _names_nobody(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Loopback, home networks and the like; the ranges kept for documentation stand for real ones in examples."""
    if address.version == 4 and any(address in net for net in HOME_NETWORKS):
        return True
    return address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local


HOME_NETWORKS = [
    ipaddress.ip_network(net) for net in ("0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4")
]


def _phones(text: str) -> Iterator[Found]:
    for match in PHONE.finditer(text):
        given = match[0]
        digits = sum(c.isdigit() for c in given)
        if not 8 <= digits <= 15:
            continue
        cued = bool(PHONE_CUE.search(text[max(0, match.start() - 45) : match.start()]))
        if given.startswith(("+", "00")):
            regions: tuple[str | None, ...] = (None,)
            given = "+" + given.removeprefix("00") if given.startswith("00") else given
        elif cued or SHAPED.search(given):
            regions = PHONE_REGIONS
        else:
            continue
        if any(_is_phone(given, region) for region in regions):
            yield Found("pii_phone", "a phone number", *match.span())


PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "AU", "BR", "NL")
"""Countries whose numbers are known without their country code, where the text speaks of a phone or the shape does."""


def _is_phone(given: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(given, region))
    except phonenumbers.NumberParseException:
        return False


@dataclass(frozen=True, slots=True)
class _NationalId:
    """How one country's id is written, and what tells it from a number that looks alike."""

    name: str
    form: re.Pattern[str]
    module: str
    cue: re.Pattern[str]
    cue_needed: bool = False
    """Whether the checksum alone is too weak for so plain a form."""
    cue_enough: bool = False
    """Whether the words before it suffice: specimen and retired numbers are numbers too."""


def _id(name: str, form: str, module: str, cue: str, needed: bool = False, enough: bool = False) -> _NationalId:
    return _NationalId(
        name,
        re.compile(rf"(?<![\w.,-])(?:{form})(?![\w-]|[.,]\d)"),
        module,
        re.compile(rf"\b(?:{cue})\b[^\d\n]{{0,20}}$", re.I),
        needed,
        enough,
    )


NATIONAL_IDS = (
    _id(
        "US SSN",
        r"\d{3}-\d{2}-\d{4}",
        "stdnum.us.ssn",
        "ssn|social security(?: number| no)?",
        enough=True,
    ),
    _id("US ITIN", r"9\d{2}-\d{2}-\d{4}", "stdnum.us.itin", "itin|taxpayer"),
    _id("ES DNI", r"\d{8}-?[A-Z]", "stdnum.es.dni", "dni|nif"),
    _id("ES NIE", r"[XYZ]-?\d{7}-?[A-Z]", "stdnum.es.nie", "nie"),
    _id("IT codice fiscale", r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", "stdnum.it.codicefiscale", "codice"),
    _id(
        "FR NIR",
        r"[12] ?\d{2} ?\d{2} ?\d{2} ?\d{3} ?\d{3} ?\d{2}",
        "stdnum.fr.nir",
        "nir|securite|sécurité",
    ),
    _id("BR CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", "stdnum.br.cpf", "cpf"),
    _id("UK NHS", r"\d{3}[ -]\d{3}[ -]\d{4}", "stdnum.gb.nhs", "nhs(?: number)?", needed=True),
    _id("NL BSN", r"\d{9}", "stdnum.nl.bsn", "bsn|burgerservicenummer", needed=True),
    _id("PL PESEL", r"\d{11}", "stdnum.pl.pesel", "pesel", needed=True),
    _id("DE IdNr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", "stdnum.de.idnr", "steuer-?id\\w*|idnr|tin", needed=True),
    _id("IN Aadhaar", r"\d{4} ?\d{4} ?\d{4}", "stdnum.in_.aadhaar", "aadhaar|uidai?", needed=True),
)


def _national_ids(text: str) -> Iterator[Found]:
    for known in NATIONAL_IDS:
        for match in known.form.finditer(text):
            cued = bool(known.cue.search(text[max(0, match.start() - 45) : match.start()]))
            if (
                cued
                if known.cue_enough and cued
                else (cued or not known.cue_needed) and _is_valid(known.module, match[0])
            ):
                yield Found("pii_national_id", f"a national id number ({known.name})", *match.span())


def _addresses(text: str) -> Iterator[Found]:
    for match in ADDRESS.finditer(text):
        yield Found("pii_address", "a street address", match.start(), match.end() - 1)


FINDERS: tuple[Callable[[str], Iterator[Found]], ...] = (
    _secrets,
    _emails,
    _ibans,
    _cards,
    _national_ids,
    _ips,
    _phones,
    _addresses,
)
"""From the most certain to the least."""

ALL_RULES = frozenset(
    ("secret", "pii_email", "pii_iban", "pii_card", "pii_national_id", "pii_ip", "pii_phone", "pii_address")
)


# --------------------------------------------------------------------- checksums


def _valid_prefix(text: str, valid: Callable[[str], bool]) -> int:
    """Length of the longest prefix, cut at spaces, that is valid; 0 for none."""
    ends = [len(text), *(at for at in range(len(text) - 1, 0, -1) if text[at] == " ")]
    return next((end for end in ends if valid(text[:end])), 0)


@cache
def _module(name: str) -> Any:
    return import_module(name)


def _is_valid(module: str, number: str) -> bool:
    return bool(_module(module).is_valid(number))


_is_iban = partial(_is_valid, "stdnum.iban")


ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}|(?:50|5[678]|6)\d{14,17}"
)
"""First digits and lengths of Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay and Maestro."""


def _is_card(number: str) -> bool:
    digits = "".join(c for c in number if c.isdigit())
    return bool(ISSUERS.fullmatch(digits)) and len(set(digits)) > 2 and _is_valid("stdnum.luhn", digits)
