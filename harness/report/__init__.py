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
from harness.report import svg
from harness.store import ExperimentStore

__all__ = ["write_reports"]

HTML_FLIPS, MARKDOWN_FLIPS = 30, 3
"""How many flipped samples of a gate a report shows, of each kind."""
_WIDTH = 49


@dataclass(frozen=True)
class Flips:
    """Two candidates on one suite: how often each won, and examples."""

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
    context = _context(evidence) | {"flips": _flips(experiment, evidence, MARKDOWN_FLIPS), "forest": _ascii(evidence)}
    return page.get_template("report.md.j2").render(context)


def _html(experiment: ExperimentStore, evidence: ev.Evidence) -> str:
    page = _environment(autoescape=True)
    context = _context(evidence) | {
        "flips": _flips(experiment, evidence, HTML_FLIPS),
        "forest": svg.forest(evidence.gates),
        "scores": svg.scores(ev.contestants(evidence)),
        "curve": svg.curve(evidence.training),
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
    names = ("number", "signed", "span", "basis", "gate_name", "prompt_text", "suite_score")
    page.filters |= {name: getattr(ev, name) for name in names}
    page.filters["delta"] = lambda interval: ev.span(interval, difference=True)
    return page


def _context(evidence: ev.Evidence) -> dict[str, Any]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, what, value in ev.facts_of(evidence):
        groups.setdefault(group, []).append((what, value))
    return {
        "evidence": evidence,
        "headline": ev.headline(evidence),
        "answers": ev.answers(evidence),
        "gain": ev.bar_difference(evidence),
        "contestants": ev.contestants(evidence),
        "suites": sorted({run.suite for run in evidence.runs} - {"task"}),
        "judged": ev.judged(evidence),
        "warnings": evidence.verdict.warnings if evidence.verdict else (),
        "facts": groups,
        "decision": ev.DECISIONS[evidence.decision],
        "glyph": {"pass": "●", "inconclusive": "◆", "fail": "■"},
        "again": f"harness run reports/{evidence.id}/spec.yaml",
    }


def _flips(experiment: ExperimentStore, evidence: ev.Evidence, limit: int) -> list[Flips]:
    """The flipped samples behind every gate; without gates, what the best prompt changed."""
    pairs = {
        (gate.suite, ev.who(gate.comparison.candidate)[0], ev.who(gate.comparison.reference)[0]): None
        for gate in evidence.gates
        if gate.comparison
    }
    made = []
    for suite, candidate, reference in pairs or {("task", ev.BAR, ev.RAW): None}:
        wanted = {run.candidate.name: run for run in evidence.runs if (run.suite, run.split) == (suite, "test")}
        runs = [wanted[name] for name in (candidate, reference) if name in wanted]
        if len(runs) < 2:
            continue
        joined = [(row.flip(candidate, reference), row) for row in ev.join(experiment, runs)]
        won, lost = ([pair for pair in joined if pair[0] == kind] for kind in ("won", "lost"))
        examples = (*lost[:limit], *won[:limit])
        made.append(Flips(suite, candidate, reference, len(won), len(lost), examples))
    return made


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


def _ascii(evidence: ev.Evidence) -> list[str]:
    """The gates' forest plot in letters: `¦` the margin, `0` no difference, the glyph the estimate."""
    known = [(gate, gate.comparison.difference) for gate in evidence.gates if gate.comparison]
    drawn = [(gate, d.value, d.low, d.high) for gate, d in known]
    full = [(g, v, low, high) for g, v, low, high in drawn if v is not None and low is not None and high is not None]
    if not full:
        return []
    start, end = svg.reach(x for gate, *values in full for x in (*values, gate.min_delta, 0.0))
    labels = [ev.gate_name(gate) for gate, *_ in full]
    lines = []
    for label, (gate, value, low, high) in zip(labels, full, strict=True):
        row = [" "] * _WIDTH
        at = [round((x - start) / (end - start) * (_WIDTH - 1)) for x in (low, high, 0.0, gate.min_delta, value)]
        row[at[0] : at[1] + 1] = "─" * (at[1] + 1 - at[0])
        row[at[2]], row[at[3]] = "0", "¦"
        row[at[4]] = {"pass": "●", "inconclusive": "◆", "fail": "■"}[gate.outcome]
        lines.append(f"{label:<{max(map(len, labels))}}  {''.join(row).rstrip()}")
    return lines
