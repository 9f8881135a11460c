"""Personal data and secrets in text: found by form and checksum, never shown in clear."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.data.credentials import HINT, SECRET
from harness.data.identity import cards, ibans, national_ids
from harness.data.lines import Fault

ANY_HINT = re.compile(rf"\d{{3}}|@|\+\d|\d\.\d|[A-Z]{{2}}\d\d|:[0-9a-fA-F]{{1,4}}:|\b\d{{1,5}} [A-Z]|{HINT}")
"""Text without any of these holds nothing that is looked for; most text is done after this one pass."""

EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
)
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,7}(?![\w:])")
VERSION = re.compile(
    r"\b(?:version|release|firmware|build|driver|kernel|update|patch|section|chapter|clause|rfc|oid|v|chrome|chromium"
    r"|firefox|safari|edge|opera|windows|android|ios|macos|linux|python|java|node)[ .:/]*$",
    re.IGNORECASE,
)
"""What before four numbers says that they are a version or a section and no address."""
PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d[\d ()./-]{5,18}\d(?![\w/-]|[.,]\d)")
PHONE_CUE = re.compile(
    r"\b(?:phone|tel|telephone|telefon\w*|teléfono|téléphone|call|mobile|cell|celular|móvil|handy|fax|text|sms|whatsapp"
    r"|landline|hotline|reach|number is|ring|contact)\b[^\d\n]{0,25}$",
    re.IGNORECASE,
)
COUNTED = re.compile(
    r"\b(?:account|acct|order|ref|reference|invoice|ticket|tracking|case|serial|part|id|mask)\b[^\w\n]{0,5}"
    r"(?:(?:no|nr|number|is)\b[^\w\n]{0,5}){0,2}$",
    re.IGNORECASE,
)
"""What before a number says that it is another one than a phone's."""
SHAPED = re.compile(r"\(\d{2,5}\)|^\d{3}[-. ]\d{3}[-. ]\d{4}$|^0\d{2,4}[ -]\d{3,4}[ -]?\d{3,4}$")
ADDRESS = re.compile(
    r"\b\d{1,5}[A-Za-z]? (?:[A-Z][a-z]+ ){1,3}"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Close|Terrace|Square)\b\.?,? [A-Z]"
)


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
    for start, end in ibans(text):
        yield Found("pii_iban", "an IBAN with a right checksum", start, end)


def _cards(text: str) -> Iterator[Found]:
    """Numbers in the form of a card. One with a wrong checksum is a reference, and no other finder may take it."""
    for start, end, right in cards(text):
        yield Found("pii_card" if right else "", "a card number with a right checksum", start, end)


def _national_ids(text: str) -> Iterator[Found]:
    for start, end, name in national_ids(text):
        yield Found("pii_national_id", f"a national id number ({name})", start, end)


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
        before = text[max(0, match.start() - 45) : match.start()]
        if not 8 <= sum(c.isdigit() for c in given) <= 15 or IPV4.fullmatch(given):
            continue
        cued = bool(PHONE_CUE.search(before)) and not COUNTED.search(before)
        if given.startswith(("+", "00")):
            known = _is_phone("+" + given.removeprefix("00").removeprefix("+"), None, possible=cued or " " in given)
        elif cued or (SHAPED.search(given) and not COUNTED.search(before)):
            known = any(_is_phone(given, region) for region in PHONE_REGIONS)
        else:
            continue
        if known:
            yield Found("pii_phone", "a phone number", *match.span())


PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "AU", "BR", "NL")
"""Countries whose numbers are known without their country code, where the text speaks of a phone or the shape does."""


def _is_phone(given: str, region: str | None, possible: bool = False) -> bool:
    """Whether it is a number in use, or `possible` and of a right length: numbers kept for films are none in use."""
    import phonenumbers

    try:
        number = phonenumbers.parse(given, region)
        return phonenumbers.is_valid_number(number) or (possible and phonenumbers.is_possible_number(number))
    except phonenumbers.NumberParseException:
        return False


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
