"""The gates' forest plot in letters, for `report.md`: `¦` the margin, `0` no difference, the glyph the estimate."""

from __future__ import annotations

from collections.abc import Sequence

from harness import evidence as ev
from harness.records import GateRecord
from harness.report.svg import axis_title, gate_points, reach

_WIDTH = 49


def forest(gates: Sequence[GateRecord]) -> list[str]:
    """A block of lines per unit; empty when no gate has a difference to draw."""
    groups = ev.drawable(gates)
    lines: list[str] = []
    for group in groups.values():
        lines += [*([""] if lines else []), *([f"{axis_title(group[0])}:"] if len(groups) > 1 else []), *_block(group)]
    return lines


def _block(gates: Sequence[GateRecord]) -> list[str]:
    points = [gate_points(gate) for gate in gates]
    start, end = reach(x for values in points for x in (*values, 0.0))
    labels = [ev.gate_name(gate) for gate in gates]
    lines = []
    for gate, label, (value, low, high, margin) in zip(gates, labels, points, strict=True):
        row = [" "] * _WIDTH
        at = [round((x - start) / (end - start) * (_WIDTH - 1)) for x in (low, high, 0.0, margin, value)]
        row[at[0] : at[1] + 1] = "─" * (at[1] + 1 - at[0])
        row[at[2]], row[at[3]] = "0", "¦"
        row[at[4]] = ev.GLYPHS[gate.outcome]
        lines.append(f"{label:<{max(map(len, labels))}}  {''.join(row).rstrip()}")
    return lines
