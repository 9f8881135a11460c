"""Figures of the bench as tables: ratios beside the raw numbers, medians with their range."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def by(rows: Rows, key: str) -> dict[str, Rows]:
    """Rows by the value of a field, in the order of their first appearance."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)
    return dict(found)


def overhead(rows: Rows) -> str:
    """Requests a second of wall and of CPU time, a line a client."""
    clients = by(rows, "client")
    each = {name: [row["requests"] / row["cpu_s"] for row in found] for name, found in clients.items()}
    best = max((statistics.median(rates) for name, rates in each.items() if name != "harness"), default=0.0)
    lines = [
        [
            f"{name}, {found[0]['setting']}",
            spread([row["requests"] / row["wall_s"] for row in found]),
            spread([1000 * row["cpu_s"] / row["requests"] for row in found], 2),
            spread(each[name]),
            f"{statistics.median(each[name]) / best:.2f}" if best else "",
            spread([row["peak_mb"] for row in found]),
        ]
        for name, found in clients.items()
    ]
    head = ["client", "requests/s", "CPU s per 1,000", "requests per CPU s", "to the best peer", "peak MiB"]
    return f"{rows[0]['requests']:,} chat requests, start of the process included.\n\n" + table(head, lines)


def saturation(rows: Rows) -> str:
    """Completion tokens a second, a line a client."""
    clients = by(rows, "client")
    rates = {name: [row["tokens"] / row["seconds"] for row in found] for name, found in clients.items()}
    peer = statistics.median(rates["vllm bench serve"])
    lines = [
        [name, spread(each, 1), f"{statistics.median(each) / peer:.3f}", f"{clients[name][0]['tokens']:,}"]
        for name, each in rates.items()
    ]
    first = rows[0]
    said = f"{first['prompts']} chat prompts, {first['concurrency']} in flight, {len(clients['harness'])} passes each."
    return said + "\n\n" + table(["client", "completion tokens/s", "to the peer", "tokens a pass"], lines)


def adapters(rows: Rows) -> str:
    """Seconds of both ways and their ratio, round by round."""
    ways = by(rows, "way")
    together, apart = ([row["seconds"] for row in ways[way]] for way in ("one server", "a server each"))
    lines = [
        [
            way,
            spread([row["seconds"] for row in found]),
            spread([row["answering"] for row in found]),
            f"{found[0]['tokens']:,}",
        ]
        for way, found in ways.items()
    ]
    ratios = [one / other for one, other in zip(apart, together, strict=True)]
    said = f"{rows[0]['candidates']} candidates, {rows[0]['prompts']} prompts each, {len(together)} rounds."
    head = ["way", "seconds in all", "of them answering, s", "tokens a round"]
    return f"{said}\n\n{table(head, lines)}\n\nOne server is {spread(ratios, 2)} times as fast."


def rerun(rows: Rows) -> str:
    """Seconds of the first sitting and of those after it."""
    lines = [
        [
            name,
            str(len(found)),
            spread([row["seconds"] for row in found], 2),
            str(max(row["written"] for row in found)),
        ]
        for name, found in by(rows, "sitting").items()
    ]
    return table(["sitting", "times", "seconds, start of the process included", "files written"], lines)


def choices(rows: Rows) -> str:
    """Seconds of both programs a task, and whether they scored alike."""
    lines = []
    for task, found in by(rows, "task").items():
        ours, theirs = by(found, "client")["harness"], by(found, "client")["lm-eval"]
        seconds = [[row["seconds"] for row in side] for side in (ours, theirs)]
        lines.append(
            [
                task,
                f"{ours[0]['items']} x {ours[0]['choices'] / ours[0]['items']:.2g}",
                str(theirs[0]["batch_size"]),
                spread(seconds[0], 1),
                spread(seconds[1], 1),
                f"{statistics.median(seconds[1]) / statistics.median(seconds[0]):.2f}",
                f"{ours[0]['alike']} of {ours[0]['items']}",
            ]
        )
    head = ["task", "items x choices", "lm-eval's batch size", "harness, s", "lm-eval, s", "times as fast"]
    head += ["items scored alike"]
    return table(head, lines)


def memory(rows: Rows) -> str:
    """MiB beyond the items, a line a size."""
    lines = [[f"{row['samples']:,}", f"{row['before']:.0f}", f"{row['after'] - row['before']:.0f}"] for row in rows]
    return table(["samples", "items in memory, MiB", "evaluating them, MiB more"], lines)


PARTS: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "overhead": ("Overhead: a server that answers at once", overhead),
    "saturation": ("Saturation: a real vLLM server", saturation),
    "adapters": ("Base and four adapters", adapters),
    "rerun": ("An experiment that has its verdict, run again", rerun),
    "choices": ("Log-likelihood of choices", choices),
    "memory": ("Memory", memory),
}


def page(figures: Mapping[str, Any]) -> str:
    """All parts that were measured, each with its machine and command."""
    parts = []
    for name, (title, told) in PARTS.items():
        if name in figures:
            found = figures[name]
            made = f"Made by `{found['command']}` on {found['machine']}, Python {found['python']}."
            made += f" Load average when it began: {found['load']:.1f}."
            parts.append(f"### {title}\n\n{told(found['rows'])}\n\n{made}\n")
    return "\n".join(parts)
