"""The rules of the audit: what each looks for, how grave it is, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

from harness.errors import did_you_mean
from harness.partspec import PartSpec
from harness.records import Action, Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the audit."""

    name: str
    family: str
    """form, text, repetition, leakage, labels, answers, preferences, length, personal, coverage or origin."""
    severity: Severity
    action: Action
    """What is done by default."""
    about: str


def _table(*families: tuple[str, tuple[tuple[str, Severity, Action, str], ...]]) -> dict[str, Rule]:
    return {
        name: Rule(name, family, severity, action, about)
        for family, rules in families
        for name, severity, action, about in rules
    }


RULES = _table(
    (
        "form",
        (
            ("invalid_json", "error", "error", "a line that is not JSON"),
            ("not_an_object", "error", "error", "a line that is JSON but no object"),
            ("non_utf8", "error", "error", "bytes that are not UTF-8"),
            ("lone_surrogate", "error", "error", "half of a surrogate pair, which is not text"),
            (
                "duplicate_key",
                "warning",
                "drop",
                "a key that stands twice in one object: readers disagree on which counts",
            ),
            ("unknown_format", "error", "error", "no known fields"),
            ("mixed_format", "warning", "fix", "another row format than the rest of the file"),
            ("missing_field", "error", "error", "a field that the row's format needs is not there"),
            ("wrong_type", "error", "error", "a value of the wrong JSON type"),
            ("null_content", "error", "error", "a turn whose content is null"),
            ("unknown_role", "error", "error", "a role that no chat template knows"),
            ("bad_role_order", "error", "error", "turns in an order that no chat template renders"),
            ("missing_answer", "error", "error", "the last turn is not the assistant's"),
            ("empty_answer", "error", "error", "an answer that is empty or white space"),
            ("empty_prompt", "error", "error", "a prompt that is empty or white space"),
            ("duplicate_id", "warning", "warn", "an id that stands twice"),
        ),
    ),
    (
        "text",
        (
            ("template_token", "error", "error", "a chat template's own token inside the text"),
            ("mojibake", "warning", "fix", "text that was decoded with the wrong character set"),
            ("control_character", "warning", "fix", "a control character"),
            ("invisible_character", "warning", "fix", "zero-width or odd-width space"),
            ("whitespace", "warning", "warn", "stray white space: at the ends, in runs, or a tab between words"),
        ),
    ),
    (
        "repetition",
        (
            ("duplicate_exact", "warning", "drop", "question and answer of an earlier row, after normalisation"),
            ("duplicate_near", "warning", "drop", "almost the question of an earlier row, with its answer"),
        ),
    ),
    (
        "leakage",
        (
            ("leak_exact", "error", "error", "an evaluation question, after normalisation"),
            ("leak_near", "error", "error", "almost an evaluation question"),
            ("leak_cluster", "error", "error", "a cluster of an evaluation split (experiments only)"),
            ("leak_turns", "warning", "warn", "an evaluation question under another system text (experiments only)"),
            ("leak_ngram", "error", "error", "a text that holds most of an evaluation question word by word"),
            ("leak_documents", "error", "error", "a test question that stands with its answer in documents of prompts"),
            (
                "known_documents",
                "warning",
                "warn",
                "a dev question with its answer, or any evaluation question alone, in documents of prompts",
            ),
        ),
    ),
    (
        "labels",
        (
            ("contradiction", "warning", "warn", "the same question with another answer"),
            ("near_contradiction", "info", "warn", "almost the same question with another label"),
            ("label_not_in_set", "error", "error", "a label outside the closed set"),
            ("rare_label", "info", "warn", "a label that hardly any row has"),
            ("class_imbalance", "warning", "warn", "one label dominates"),
            ("label_error", "info", "warn", "a label that its text speaks against, by cross-validation"),
        ),
    ),
    (
        "answers",
        (
            ("bad_json_answer", "error", "error", "an answer that is not JSON where the others are"),
            ("fenced_json_answer", "warning", "fix", "a JSON answer inside a code fence"),
            ("copied_prompt", "warning", "warn", "an answer that repeats the question"),
            ("refusal", "warning", "warn", "an answer that refuses"),
            ("truncated_answer", "warning", "warn", "an answer that breaks off"),
        ),
    ),
    (
        "preferences",
        (
            ("preference_identical", "error", "error", "chosen and rejected are the same"),
            ("preference_swapped", "error", "error", "the rejected answer has the better score"),
            ("preference_contradiction", "error", "error", "another row prefers the opposite"),
            ("preference_prompt_in_answer", "warning", "warn", "an answer that begins with the prompt"),
            ("preference_length", "info", "warn", "one answer is far longer than the other"),
        ),
    ),
    (
        "length",
        (
            ("over_long", "warning", "warn", "a row far longer than the rest"),
            ("cut_by_max_length", "error", "error", "a row whose answer max_length would cut"),
        ),
    ),
    (
        "personal",
        (
            ("pii_card", "error", "fix", "a payment card number"),
            ("secret", "error", "fix", "an API key, a token or a private key"),
            ("pii_iban", "warning", "fix", "a bank account number"),
            ("pii_national_id", "warning", "fix", "a national id number"),
            ("pii_email", "warning", "warn", "an e-mail address"),
            ("pii_phone", "warning", "warn", "a phone number"),
            ("pii_ip", "info", "warn", "a public IP address"),
            ("pii_address", "info", "warn", "a street address"),
        ),
    ),
    (
        "coverage",
        (
            ("no_rows", "error", "error", "no row at all"),
            ("few_rows", "info", "warn", "fewer rows than such a task usually needs"),
            ("few_rows_per_label", "info", "warn", "labels with few rows"),
            ("few_rows_per_slice", "info", "warn", "slices with few rows"),
            ("mixed_system", "info", "warn", "a system message that differs from the file's own, or none"),
        ),
    ),
    (
        "origin",
        (
            (
                "no_card",
                "info",
                "warn",
                "rows of an experiment of which nobody says whence they come or under which licence",
            ),
        ),
    ),
)
"""Every rule by name, in the order of the documentation."""

NEAR = 0.73
"""Jaccard similarity of character 3-grams from which two normalised questions are near duplicates."""


class AuditSpec(PartSpec):
    """How the data is audited; the defaults suit most tasks."""

    rules: dict[str, Action] = Field(default_factory=dict)
    """What to do about a rule's findings instead of its default: error, drop, fix, warn or ignore."""
    near: Annotated[float, Field(ge=0.5, le=1)] = NEAR
    """Similarity from which questions count as near duplicates."""
    labels: tuple[str, ...] = ()
    """The closed set of answers; empty to find out."""

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, rules: dict[str, Action]) -> dict[str, Action]:
        for name, action in rules.items():
            if name not in RULES:
                raise ValueError(f"unknown rule {name!r}. {did_you_mean(name, list(RULES))}")
            if action == "fix" and name not in FIXABLE:
                raise ValueError(
                    f"{name}: nothing can fix it; error, drop, warn or ignore. Known: {', '.join(FIXABLE)}"
                )
        return rules

    def action(self, rule: str) -> Action:
        """What is done about a finding of this rule."""
        return self.rules.get(rule, RULES[rule].action)

    def severity(self, rule: str) -> Severity:
        """How grave it is: a rule that was set to `error` stops the run, one that was set milder does not."""
        given, usual = self.rules.get(rule), RULES[rule].severity
        if given is None or given == RULES[rule].action:
            return usual
        if given == "error":
            return "error"
        return "warning" if usual == "error" else usual


FIXABLE = (
    "mixed_format",
    "mojibake",
    "control_character",
    "invisible_character",
    "whitespace",
    "fenced_json_answer",
    "pii_card",
    "secret",
    "pii_iban",
    "pii_national_id",
    "pii_email",
    "pii_phone",
    "pii_ip",
    "pii_address",
)
"""Rules whose rows can be repaired."""
