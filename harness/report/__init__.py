"""Owns `report.md` and `report.html`: rebuilt from the records alone, byte-identical while these are the same.

`report.md` reads well in a pull request; `report.html` is one self-contained file
with no script and no network. What a model said is inert text in both. An
unfinished experiment has a report too, which says what is missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness import evidence as ev
from harness.records import GateRecord
from harness.report import letters, svg
from harness.store import ExperimentStore

__all__ = ["write_reports"]

MARKDOWN_ARMS = 20
"""How many prompts of a search `report.md` shows, the best first; `report.html` shows all."""
HTML_FLIPS, MARKDOWN_FLIPS = 30, 3
"""How many flipped samples of a gate a report shows, of each kind."""


@dataclass(frozen=True)
class Flips:
    """Two candidates on one suite or one slice of it: how often each won, and examples."""

    title: str
    candidate: str
    reference: str
    won: int
    lost: int
    examples: tuple[tuple[str, ev.Joined], ...]
    """Lost ones first: what a candidate breaks is what a reader must see."""


def write_reports(experiment: ExperimentStore) -> None:
    """Write `report.md` and `report.html` of an experiment, finished or not."""
    evidence = ev.gather(experiment)
    experiment.write_report("report.md", _markdown(experiment, evidence))
    experiment.write_report("report.html", _html(experiment, evidence))


def _markdown(experiment: ExperimentStore, evidence: ev.Evidence) -> str:
    page = _environment(autoescape=False)
    page.filters |= {"cell": _cell, "fence": _fence}
    context = _context(experiment, evidence) | {
        "flips": _flips(experiment, evidence, MARKDOWN_FLIPS),
        "forest": letters.forest(evidence.deciding_gates),
        "markdown_arms": MARKDOWN_ARMS,
    }
    return page.get_template("report.md.j2").render(context)


def _html(experiment: ExperimentStore, evidence: ev.Evidence) -> str:
    page = _environment(autoescape=True)
    context = _context(experiment, evidence) | {
        "flips": _flips(experiment, evidence, HTML_FLIPS),
        "forests": svg.forests(evidence.deciding_gates),
        "scores": svg.scores(ev.contestants(evidence)),
        "curves": svg.curves(evidence.training),
        "trace": svg.trace(evidence.prompt),
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
    page.globals["slice_bounds"] = ev.slice_bounds
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
        "glyph": ev.GLYPHS,
        "broken": _broken(experiment, evidence),
        "gates_of": _gates_of(evidence),
        "learning": ev.learning_rows(evidence.training),
        "again": f"harness run reports/{evidence.id}/spec.yaml",
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


def _flips(experiment: ExperimentStore, evidence: ev.Evidence, limit: int) -> list[Flips]:
    """The flipped samples behind every comparison that decided; without gates, what the best prompt changed."""
    sides = {
        (found.suite, _cut(gate), ev.who(found.candidate)[0], ev.who(found.reference)[0]): None
        for gate in evidence.deciding_gates
        if (found := gate.comparison) and found.higher_is_better  # of scores: what is slower did not flip
    }
    made = []
    for suite, cut, candidate, reference in sides or {("task", None, ev.BAR, ev.RAW): None}:
        wanted = {run.candidate.name: run for run in evidence.runs if (run.suite, run.split) == (suite, "test")}
        runs = [wanted[name] for name in (candidate, reference) if name in wanted]
        if len(runs) < 2:
            continue
        joined = [(row.flip(candidate, reference), row) for row in ev.join(experiment, runs, cut)]
        won, lost = ([pair for pair in joined if pair[0] == kind] for kind in ("won", "lost"))
        title = suite if cut is None else f"{suite}, {cut}"
        made.append(Flips(title, candidate, reference, len(won), len(lost), (*lost[:limit], *won[:limit])))
    return made


def _cut(gate: GateRecord) -> str | None:
    """The slice whose samples explain a gate: its own, or the worst one unless that passed."""
    if gate.slices:
        worst = ev.slices_worst_first(gate)[0]
        return None if worst.outcome == "pass" else worst.slice
    return gate.slice


def _inert(text: str) -> str:
    """Control characters, which a terminal showing the file would obey, become replacement characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _cell(value: object) -> str:
    """Text for a markdown table cell or line: no markup, no line break; a `_` inside a word is none."""
    text = _inert(" ".join(str(value).split()))
    return re.sub(r"([\\`*|<>~#$!@&]|\](?=[(\[:])|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _fence(text: str | None) -> str:
    """Text inside a code fence that it cannot close."""
    text = "(no answer)" if text is None else _inert(text)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}text\n{text}\n{ticks}"
