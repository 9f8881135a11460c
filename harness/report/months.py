"""The break-even as inline SVG: a month's cost over the volume, of the tuned candidate and of the best prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from harness import evidence as ev
from harness import money
from harness.report.svg import LEFT, RIGHT, WIDTH

HEIGHT, TOP = 240, 12


def break_even(evidence: ev.Evidence) -> Markup | None:
    """Two lines with their ranges and the volume where they cross; None where it is not known."""
    curve = money.judged_curve(evidence)
    if curve is None:
        return None
    most = max(point.volume for point in curve.points)
    dearest = max(point.cost.high for point in curve.points) or 1.0

    def x(volume: float) -> float:
        return round(LEFT + volume / most * (WIDTH - LEFT - RIGHT), 1)

    def y(cost: float) -> float:
        return round(TOP + (1 - cost / dearest) * (HEIGHT - TOP), 1)

    parts = [_label(x(at), HEIGHT + 18, short(at)) for at in steps(most)]
    for at in steps(dearest):
        parts.append(
            Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, y(at), WIDTH - RIGHT, y(at))
        )
        parts.append(_label(LEFT - 10, y(at) + 4, short(at), "end"))
    names = list(dict.fromkeys(point.candidate for point in curve.points))
    for place, name in enumerate(names):
        own = [point for point in curve.points if point.candidate == name]
        band = [(x(p.volume), y(p.cost.high)) for p in own] + [(x(p.volume), y(p.cost.low)) for p in reversed(own)]
        dashes, at = ("7 4", "")[place % 2], TOP + 12 + 20 * place
        css = f"curve c{1 - place}"
        parts.append(Markup('<polygon class="band c{}" points="{}"/>').format(1 - place, _points(band)))
        parts.append(
            Markup('<polyline class="{}" stroke-dasharray="{}" points="{}"><title>{}</title></polyline>').format(
                css, dashes, _points([(x(p.volume), y(p.cost.value)) for p in own]), name
            )
        )
        key = Markup('<line class="{}" stroke-dasharray="{}" x1="20" x2="50" y1="{}" y2="{}"/>')
        parts += [key.format(css, dashes, at, at), _label(58, at + 4, _cut(name), "start", "label")]
    if curve.pays.value:
        mark = Markup('<line class="margin dashed" x1="{0}" y1="{1}" x2="{0}" y2="{2}"><title>{3}</title></line>')
        parts.append(mark.format(x(curve.pays.value), TOP, HEIGHT, f"pays from {curve.pays.told}"))
    axis = f"requests a month; upwards: cost of a month{f' in {curve.currency}' if curve.currency else ''}"
    parts.append(_label((LEFT + WIDTH - RIGHT) / 2, HEIGHT + 38, axis))
    title = f"Cost of a month by volume, {' and '.join(names)}: break-even {curve.pays.told}"
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT + 46, title)
    return opening + Markup("\n").join(parts) + Markup("</svg>")


def steps(most: float) -> list[float]:
    """Round numbers from 0 up to `most`, about five."""
    power = 10.0 ** math.floor(math.log10(most / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if most / (power * factor) <= 6)
    return [step * k for k in range(math.floor(most / step) + 1)]


def short(value: float) -> str:
    """`12k`, `3M`, `0.25`: as an axis says it."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _points(given: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{at},{up}" for at, up in given)


def _label(at: float, up: float, text: str, anchor: str = "middle", css: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(css, at, up, anchor, text)


def _cut(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
