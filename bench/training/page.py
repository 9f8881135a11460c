"""Figures of the bench as tables: medians with their range, and how far the curves lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
OURS, TWIN = "harness", "trl, same order"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def rates(rows: Rows, trainer: str) -> list[float]:
    """Tokens a second of each round, padding apart."""
    return [row["tokens"] / row["seconds"] for row in rows if row["trainer"] == trainer]


def utilisation(row: Mapping[str, Any], peak_tflops: float) -> float:
    """Share of the GPU's peak that the arithmetic of the model takes: 6 operations a parameter and token, 4 where the
    base is frozen and has no gradient of its own."""
    each = 4 if row["trainable"] < row["parameters"] / 2 else 6
    return float(each * row["parameters"] * row["tokens"] / row["seconds"] / (peak_tflops * 1e12))


def speed(found: Mapping[str, Any]) -> str:
    """A line a trainer."""
    rows: Rows = found["rows"]
    names = [name for name in dict.fromkeys(row["trainer"] for row in rows) if name != TWIN]
    ours = statistics.median(rates(rows, OURS))
    lines = ["| trainer | tokens/s | harness is faster by | padding | peak memory, GiB |", "|---|--:|--:|--:|--:|"]
    for name in names:
        own = [row for row in rows if row["trainer"] == name]
        padding = statistics.median(1 - row["tokens"] / row["padded"] for row in own)
        peak = spread([row["peak_bytes"] / 2**30 for row in own], 1)
        ratio = ours / statistics.median(rates(rows, name))
        lines.append(f"| {name} | {spread(rates(rows, name))} | {ratio:.2f} x | {padding:.0%} | {peak} |")
    return "\n".join(lines)


def curves(found: Mapping[str, Any]) -> str:
    """How far the losses lie apart: step by step on the same rows, and on the mean of all."""
    rows: Rows = found["rows"]
    ours = next(row for row in rows if row["trainer"] == OURS)
    twin = next(row for row in rows if row["trainer"] == TWIN)
    apart = max(abs(one - other) for one, other in zip(ours["losses"], twin["losses"], strict=True))
    steps = len(ours["losses"])
    return (
        f"TRL on the same rows in the same order: over {steps} updates the two losses differ by at most {apart:.1e} "
        f"nats at any step ({', '.join(f'{loss:.4f}' for loss in ours['losses'][:8])}{', …' if steps > 8 else ''})."
    )


def page(figures: Mapping[str, Any]) -> str:
    """All parts that were measured, each with its machine and command."""
    parts = []
    for name, found in figures.items():
        packages = ", ".join(f"{package} {version}" for package, version in found["packages"].items())
        made = f"Made by `{found['command']}` on {found['machine']}, Python {found['python']}, {packages}."
        made += f" Load average when it began: {found['load']:.1f}."
        parts.append(f"### {name}\n\n{speed(found)}\n\n{curves(found)}\n")
        if found["peak_tflops"]:
            shares = [utilisation(row, found["peak_tflops"]) for row in found["rows"] if row["trainer"] == OURS]
            parts.append(f"Model FLOP utilisation of {found['peak_tflops']:g} TFLOP/s: {spread(shares, 2)}.\n")
        parts.append(made + "\n")
    return "\n".join(parts)
