"""`junit.xml`: a test case for every gate that decides, and one for the verdict, for whatever shows test results.

A gate that failed is a failure; one that is inconclusive, or that only informs and did not pass, is skipped with its
reason. So that the file as a whole is never greener than the exit code, the verdict is a case of its own: it passes
when the candidate is promoted, fails when it is rejected, and is an error while nothing is decided.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree as xml

from harness import evidence as ev
from harness.records import GateRecord
from harness.report.failing import Failing
from harness.report.failing import failing as named_failing
from harness.report.inert import inert, line
from harness.store import ExperimentStore

NAMED = 50
"""How many failing samples a gate names."""
COUNTED = {
    "tests": "testcase",
    "failures": "testcase/failure",
    "errors": "testcase/error",
    "skipped": "testcase/skipped",
}
"""Attribute to what it counts."""


def junit(experiment: ExperimentStore, evidence: ev.Evidence) -> str:
    """The whole file."""
    suite = xml.Element("testsuite", name=line(evidence.id))
    if evidence.verdict is not None:
        suite.set("timestamp", evidence.verdict.created[:19])  # the schema knows no time zone; records are in UTC
        told = {"decision": evidence.decision, "candidate": evidence.verdict.candidate, "claim": evidence.verdict.claim}
        properties = xml.SubElement(suite, "properties")
        for name, value in told.items():
            xml.SubElement(properties, "property", name=name, value=line(value))
    _verdict(suite, evidence)
    seen: Counter[str] = Counter()
    for gate in evidence.deciding_gates:
        name = ev.gate_name(gate)
        seen[name] += 1
        numbered = name if seen[name] == 1 else f"{name} ({seen[name]})"  # viewers take equal names for one case
        _gate(suite, experiment, evidence, gate, numbered)
    whole = xml.Element("testsuites", name=line(evidence.name))
    whole.append(suite)
    for element in (whole, suite):
        for key, path in COUNTED.items():
            element.set(key, str(len(suite.findall(path))))
    xml.indent(whole)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(whole, encoding="unicode") + "\n"


def _case(suite: xml.Element, evidence: ev.Evidence, where: str, name: str) -> xml.Element:
    return xml.SubElement(suite, "testcase", classname=line(f"{evidence.name}.{where}"), name=line(name))


def _verdict(suite: xml.Element, evidence: ev.Evidence) -> None:
    case = _case(suite, evidence, "verdict", "verdict")
    kind = {"promote": None, "reject": "failure", "prompt_suffices": "skipped"}.get(evidence.decision, "error")
    headline = line(ev.headline(evidence))
    warnings = "".join(f"\nNote: {line(told)}" for told in (evidence.verdict.warnings if evidence.verdict else ()))
    if kind is not None:
        outcome = xml.SubElement(case, kind, message=headline)
        if kind != "skipped":
            outcome.set("type", evidence.decision)
            outcome.text = line(evidence.verdict.reason) if evidence.verdict else headline
    xml.SubElement(case, "system-out").text = headline + warnings


def _gate(suite: xml.Element, experiment: ExperimentStore, evidence: ev.Evidence, gate: GateRecord, name: str) -> None:
    case = _case(suite, evidence, ev.place(gate), name)
    basis = ev.decided_by(gate).basis
    found = ev.evidence_shown(gate) + ("" if basis == ev.DASH else f" ({basis})")
    told = [f"demands: {ev.demand(gate)}", f"found: {found}", f"margin: {ev.threshold(gate)}"]
    if gate.outcome != "pass":
        told += _named(named_failing(experiment, evidence, gate))
    text = inert("\n".join(told))
    if gate.outcome == "fail" and gate.blocking:
        xml.SubElement(case, "failure", message=line(gate.reason), type=gate.rule).text = text
        return
    if gate.outcome != "pass":
        why = gate.outcome if gate.blocking else f"advisory, {gate.outcome}"
        xml.SubElement(case, "skipped", message=line(f"{why}: {gate.reason}"))
    xml.SubElement(case, "system-out").text = text


def _named(samples: list[Failing]) -> list[str]:
    more = [f"and {len(samples) - NAMED:,} more"] if len(samples) > NAMED else []
    named = [part for one in samples[:NAMED] for part in (line(one.title), one.told and f"    {one.told}") if part]
    return named + more


def failing(experiment: ExperimentStore, evidence: ev.Evidence, gate: GateRecord) -> list[str]:
    """The samples that speak against a gate, `lost: TASK / ID`; see `harness.report.failing`."""
    return [one.title for one in named_failing(experiment, evidence, gate)]
