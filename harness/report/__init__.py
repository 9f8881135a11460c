"""Owns the report files: rebuilt from the records alone, byte-identical while these are the same.

    report.md      reads well in a pull request
    report.html    one self-contained file with plots, no script and no network
    junit.xml      a test case for the verdict and for every gate, for CI
    model_card.md  what was trained, in the Hugging Face Hub's format; not written where nothing was
    data_card.md   the task's rows, likewise

What a model said is inert text in all of them. An unfinished experiment has its files
too, which say what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness import evidence as ev
from harness.money import telling
from harness.records import GateRecord
from harness.report import letters, months, svg
from harness.report.cards import data_card, model_card
from harness.report.failing import Failing, failing
from harness.report.flipped import flips
from harness.report.inert import cell, fence, line
from harness.report.junit import junit
from harness.report.people import people
from harness.store import ExperimentStore

__all__ = ["Failing", "failing", "write_reports"]

MARKDOWN_ARMS = 20
"""How many prompts of a search `report.md` shows, the best first; `report.html` shows all."""
HTML_FLIPS, MARKDOWN_FLIPS = 30, 3
"""How many flipped samples of a gate a report shows, of each kind."""


def write_reports(experiment: ExperimentStore) -> list[Path]:
    """Write the report files of an experiment, finished or not; the paths that were written."""
    evidence = ev.gather(experiment)
    page = _environment(autoescape=False)
    made = {
        "report.md": _markdown(experiment, evidence),
        "report.html": _html(experiment, evidence),
        "junit.xml": junit(experiment, evidence),
        "model_card.md": model_card(page, evidence),
        "data_card.md": data_card(page, evidence),
    }
    return [experiment.write_report(name, text) for name, text in made.items() if text is not None]


def _markdown(experiment: ExperimentStore, evidence: ev.Evidence) -> str:
    page = _environment(autoescape=False)
    context = _context(experiment, evidence) | {
        "flips": flips(experiment, evidence, MARKDOWN_FLIPS),
        "forest": letters.forest(evidence.deciding_gates),
        "markdown_arms": MARKDOWN_ARMS,
    }
    return page.get_template("report.md.j2").render(context)


def _html(experiment: ExperimentStore, evidence: ev.Evidence) -> str:
    page = _environment(autoescape=True)
    context = _context(experiment, evidence) | {
        "flips": flips(experiment, evidence, HTML_FLIPS),
        "forests": svg.forests(evidence.deciding_gates),
        "scores": svg.scores(ev.contestants(evidence)),
        "curves": svg.curves(evidence.training),
        "trace": svg.trace(evidence.prompt),
        "break_even": months.break_even(evidence),
        "trade_figure": svg.trade_off(ev.trade_off(evidence)),
    }
    return page.get_template("report.html.j2").render(context)


def _environment(autoescape: bool) -> Environment:
    page = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=autoescape,  # noqa: S701 - off for markdown only, whose cells and fences are escaped by filters
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    numbers = ("number", "field", "span", "basis", "percent", "suite_score", "prompt_text", "prompt_words")
    gates = (
        "gate_name",
        "place",
        "demand",
        "threshold",
        "evidence_shown",
        "decided_by",
        "slices_worst_first",
        "compared",
    )
    names = (*numbers, *gates)
    page.filters |= {name: getattr(ev, name) for name in names}
    page.filters |= {"cell": cell, "fence": fence, "line": line}
    page.globals |= {"slice_bounds": ev.slice_bounds, "glyph": ev.GLYPHS}
    return page


def _context(experiment: ExperimentStore, evidence: ev.Evidence) -> dict[str, Any]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, what, value in ev.facts_of(evidence):
        groups.setdefault(group, []).append((what, value))
    return {
        "evidence": evidence,
        "headline": ev.headline(evidence),
        "answers": ev.answers(evidence),
        "gain": ev.gain_over_bar(evidence),
        "standing": ev.standing(evidence),
        "finalists": evidence.verdict.finalists if evidence.verdict else (),
        "decisions": ev.DECISIONS,
        "contestants": ev.contestants(evidence),
        "suites": evidence.suites,
        "asked": _asked(evidence),
        "further": ev.further(evidence),
        "arms": [(arm, ev.prompt_parts(arm.prompt, arm.decoding)) for arm in evidence.prompt.arms]
        if evidence.prompt
        else [],
        "judged": ev.judged(evidence),
        "warnings": evidence.verdict.warnings if evidence.verdict else (),
        "facts": groups,
        "decision": ev.DECISIONS[evidence.decision],
        "broken": _broken(experiment, evidence),
        "gates_of": _gates_of(evidence),
        "people": people(experiment),
        "trade_off": {trial.number: one for trial, one in ev.trade_off(evidence)},
        "learning": ev.learning_rows(evidence.training),
        "money": _money(evidence),
        "again": ev.again(evidence),
    }


def _money(evidence: ev.Evidence) -> dict[str, Any]:
    """Costs in words: a line a contestant, a line a stage, the prices, and who stands on which basis."""
    lines = telling.lines(evidence)
    bases = {one.basis: [other.candidate for other in lines if other.basis == one.basis] for one in lines}
    return {
        "lines": lines,
        "stages": telling.stages(evidence),
        "terms": telling.terms(evidence),
        "bases": bases.items(),
    }


def _asked(evidence: ev.Evidence) -> list[tuple[str, list[tuple[str, str]]]]:
    """Who was asked how: contestants with one prompt and decoding together, with its parts."""
    alike: dict[str, tuple[list[str], list[tuple[str, str]]]] = {}
    for one in ev.contestants(evidence):
        prompt, decoding = one.candidate.prompt, one.candidate.decoding
        parts = ev.prompt_parts(prompt, decoding)
        key = prompt.model_dump_json(exclude={"name"}) + decoding.model_dump_json()
        alike.setdefault(key, ([], parts))[0].append(one.name)
    return [(", ".join(names), parts) for names, parts in alike.values()]


def _broken(experiment: ExperimentStore, evidence: ev.Evidence) -> list[tuple[GateRecord, list[ev.Broken]]]:
    """Gates whose items broke, each with these items."""
    broken = [gate for gate in evidence.deciding_gates if gate.broken]
    return [(gate, ev.broken_items(experiment, gate, evidence.runs_of(gate.candidate))) for gate in broken]


def _gates_of(evidence: ev.Evidence) -> dict[str, list[GateRecord]]:
    """Gates of the finalists that the verdict does not speak of."""
    groups: dict[str, list[GateRecord]] = {}
    for gate in evidence.gates:
        if gate not in evidence.deciding_gates:
            groups.setdefault(gate.candidate, []).append(gate)
    return groups
