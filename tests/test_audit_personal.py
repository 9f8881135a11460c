"""Personal data and secrets: found in every usual form, replaced, and told from numbers that merely look alike."""

from __future__ import annotations

import pytest

from harness.data.personal import find, redact


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("write to a.b+c@mail.example.org.", "pii_email"),
        ("card 4000 0001 2408 7133 please", "pii_card"),
        ("card 4000000124087133", "pii_card"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "pii_iban"),
        ("IBAN GB82WEST12345698765432.", "pii_iban"),
        ("My SSN is 078-05-1120", "pii_national_id"),
        ("123.456.789-09 is my CPF", "pii_national_id"),
        ("DNI 12345678Z", "pii_national_id"),
        ("call +44 20 7946 0958", "pii_phone"),
        ("My number is 07700 900120.", "pii_phone"),
        ("My number is +1 (202) 555-0115", "pii_phone"),
        ("202-555-0108", "pii_phone"),
        ("from 203.0.113.7.", "pii_ip"),
        ("from 2001:db8::8a2e:370:7334", "pii_ip"),
        ("key AKIAIOSFODNN7EXAMPLE", "secret"),
        ("token ghp_" + "a1B2" * 9, "secret"),
        ("key is glpat-" + "a1B2" * 5, "secret"),
        ("use npm_" + "a1B2" * 9, "secret"),
        ("rk_live_" + "a1B2" * 5, "secret"),
        ("bot 123456789:AA" + "a1B" * 11, "secret"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "secret"),
        ("at postgres://admin:hunter2hunter@db.example.com/x", "secret"),
        ("IBAN DE89-3704-0044-0532-0130-00", "pii_iban"),
        ("to be68 5390 0754 7034 please", "pii_iban"),
        ("my ssn is 078051120", "pii_national_id"),
        ("National Insurance number QQ 12 34 56 C", "pii_national_id"),
        ("personnummer 850709-9805", "pii_national_id"),
        ("756.9217.0769.85 is mine", "pii_national_id"),
        ("tel +33 1 42 68 53 00", "pii_phone"),
        ("whatsapp +44 7700 900437", "pii_phone"),
        ("I live at 73 Example Street, Springfield", "pii_address"),
    ],
)
def test_a_personal_value_is_found_and_can_be_replaced(text: str, rule: str) -> None:
    assert [value.rule for value in find(text)] == [rule]
    clean = redact(text, frozenset((rule,)))
    assert find(clean) == []
    assert "[" in clean


@pytest.mark.parametrize(
    "text",
    [
        "The reference is 4000 0051 1585 1717.",
        "order 4000006004091497",
        "I wrote to @mateo_4 already",
        "version 1.2.3.4 of the firmware",
        "router 192.168.1.1 and 127.0.0.1",
        "Chrome 3.14.15.92, RFC 1.2.3.4 and OID 1.3.6.1",
        "I called you about account 12345678901",
        "pip install sk-learn and sk-optimize-with-a-long-name",
        "part AB123456C and 850709-9805",
        "postgres://user:password@localhost/x",
        "on 2024-05-17 at 12:30, in 1999-2004",
        "3.14159265358979 and 1,234,567,890",
        "isbn 978-3-16-148410-0",
        "between 10000000 and 20000000",
        "scores: 100 200 300 400 500",
        "2+2=4 and 10/10/2010",
        "the result is 4222222222222",
    ],
)
def test_numbers_that_merely_look_alike_are_left_alone(text: str) -> None:
    assert find(text) == []
