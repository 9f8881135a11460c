"""The report's plots as inline SVG: no script, no font, no file from elsewhere.

A report is written on machines without altair and comes to the same bytes, so these are not the app's charts; both are
drawn from the same evidence, and a test holds gates, numbers and colours of the two together.
Colours come from the page's style by class, so that they follow light and dark; an
outcome is told by its shape too: pass is a disc, inconclusive a diamond, fail a square.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from harness import evidence as ev
from harness.records import Forgotten, GateRecord, PromptRecord, TrainingRecord, TrialRecord

WIDTH, LEFT, RIGHT, ROW = 860, 210, 24, 40
_DASHES = ("", "7 4", "2 3", "9 3 2 3")


def reach(values: Iterable[float]) -> tuple[float, float]:
    """The range of an axis: all values with some room."""
    listed = list(values)
    room = (max(listed) - min(listed)) * 0.06 or 0.1
    return min(listed) - room, max(listed) + room


def ticks(start: float, end: float) -> list[float]:
    """Round numbers inside a range, about six."""
    steps = [factor * 10.0**power for power in range(-6, 7) for factor in (1, 2, 5)]
    step = next(s for s in steps if (end - start) / s <= 8)
    first = int(start / step) - 1
    return [round(k * step, 9) for k in range(first, first + 12) if start <= k * step <= end]


class _Axis:
    """Values to pixels."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (value - self.start) / (self.end - self.start)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _mark(outcome: str, x: float, y: float) -> Markup:
    """The point estimate, in the outcome's shape."""
    css = Markup('class="mark {}"').format(outcome)
    if outcome == "fail":
        return Markup('<rect {} x="{:.1f}" y="{:.1f}" width="13" height="13"/>').format(css, x - 6.5, y - 6.5)
    if outcome == "inconclusive":
        corners = f"{x:.1f},{y - 9:.1f} {x + 9:.1f},{y:.1f} {x:.1f},{y + 9:.1f} {x - 9:.1f},{y:.1f}"
        return Markup('<polygon {} points="{}"/>').format(css, corners)
    return Markup('<circle {} cx="{:.1f}" cy="{:.1f}" r="7"/>').format(css, x, y)


def _line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(css, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str = "middle", css: str = "label") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)


def _grid(axis: _Axis, height: float, sign: str = "") -> list[Markup]:
    parts = []
    for tick in ticks(axis.start, axis.end):
        parts.append(_line("grid", axis(tick), 6, axis(tick), height))
        parts.append(_text(axis(tick), height + 18, f"{tick:{sign if tick else ''}g}", css="tick"))
    return parts


def _figure(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    opening = Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return opening + Markup("\n").join(parts) + Markup("</svg>")


def gate_points(gate: GateRecord) -> tuple[float, float, float, float]:
    """Estimate, low end, high end and margin of a drawable gate, in the unit that is shown."""
    bounds = ev.decided_by(gate)
    value, low, high, margin = (x * bounds.unit.scale for x in (*bounds.read, ev.drawn_margin(gate)) if x is not None)
    return value, low, high, margin


def axis_title(gate: GateRecord) -> str:
    """What the axis of a gate's unit counts: `candidate minus reference, points`."""
    bounds = ev.decided_by(gate)
    less = " (less is better: a gate passes left of its margin)" if bounds.less_is_better else ""
    return f"candidate minus reference{f', {bounds.unit.name}' if bounds.unit.name else ''}{less}"


def forests(gates: Sequence[GateRecord]) -> list[Markup]:
    """Every gate on a difference with the ends that decided it and its margin, one figure per unit."""
    return [_forest(group) for group in ev.drawable(gates).values()]


def _forest(gates: Sequence[GateRecord]) -> Markup:
    points = [gate_points(gate) for gate in gates]
    axis = _Axis(*reach(x for values in points for x in (*values, 0.0)))
    height = 10 + ROW * len(gates)
    parts = [*_grid(axis, height, sign="+"), _line("zero", axis(0), 6, axis(0), height)]
    for place, (gate, values) in enumerate(zip(gates, points, strict=True)):
        parts.append(_gate_row(axis, gate, values, 10 + ROW * (place + 0.5)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height + 38, axis_title(gates[0]), css="tick"))
    return _figure("Difference, deciding interval and margin of every gate", height + 46, parts)


def _gate_row(axis: _Axis, gate: GateRecord, values: tuple[float, float, float, float], y: float) -> Markup:
    value, low, high, margin = values
    told = f"{ev.gate_name(gate)}: {ev.decided_by(gate).shown}, margin {ev.threshold(gate)}, {gate.outcome}"
    label = ev.decided_by(gate).of or gate.slice or ("" if gate.metric == "primary" else gate.metric)
    row = [
        Markup("<g><title>{}</title>").format(told),
        _text(LEFT - 16, y - 2, " ".join(filter(None, (ev.place(gate), label))), "end"),
        _text(LEFT - 16, y + 13, f"vs {ev.reference_name(gate)}: {gate.outcome}", "end", f"tick {gate.outcome}"),
        _line("margin", axis(margin), y - 15, axis(margin), y + 15),
        _line(f"span {gate.outcome}", axis(low), y, axis(high), y),
        _mark(gate.outcome, axis(value), y),
        Markup("</g>"),
    ]
    return Markup("").join(row)


def scores(contestants: Sequence[ev.Contestant]) -> Markup | None:
    """Each contestant's task score as a bar with its interval; the best prompt's score runs through."""
    known = [(c, c.score, c.score.value) for c in contestants if c.score and c.score.value is not None]
    full = [(c, score, value) for c, score, value in known if value is not None]
    if not full:
        return None
    top = max([1.0, *(score.high or value for _, score, value in full)])
    axis, height = _Axis(min([0.0, *(v for *_, v in full)]), top), 10 + ROW * len(full)
    parts = _grid(axis, height)
    parts += [_line("margin dashed", axis(v), 6, axis(v), height) for c, _, v in full if c.name == ev.BAR]
    for place, (contestant, score, value) in enumerate(full):
        y = 10 + ROW * (place + 0.5)
        row = [
            Markup("<g><title>{}</title>").format(
                f"{contestant.name}: {ev.span(score)}, n = {score.n}, {score.method}"
            ),
            _text(LEFT - 16, y - 2, contestant.name, "end"),
            _text(LEFT - 16, y + 13, _short(contestant.method), "end", "tick"),
            Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="18"/>').format(
                axis(0), y - 9, max(axis(value) - axis(0), 0)
            ),
        ]
        if score.low is not None and score.high is not None:
            row.append(_line("span pass", axis(score.low), y, axis(score.high), y))
        row += [_mark("pass", axis(value), y), Markup("</g>")]
        parts.append(Markup("").join(row))
    return _figure("Task score of every contestant with its interval", height + 26, parts)


def _short(text: str, most: int = 34) -> str:
    """What fits beside the axis; the table has it in full."""
    return text if len(text) <= most else text[: most - 1] + "…"


def trace(found: PromptRecord | None) -> Markup | None:
    """The best mean on dev so far over the budget spent; None where a search left fewer than two points."""
    points = [] if found is None else [p for p in found.trace if p.mean is not None]
    unit = "calls" if found is None else found.budget_unit
    known = [(p, p.calls if unit == "calls" else p.tokens, p.mean) for p in points]
    drawn = [(p, spent, mean) for p, spent, mean in known if spent is not None and mean is not None]
    if len(drawn) < 2:
        return None
    low, high = reach(mean for *_, mean in drawn)
    last, height = max(spent for _, spent, _ in drawn), 180
    axis = _Axis(0, last)

    def down(mean: float) -> float:
        return round(8 + (high - mean) / (high - low) * (height - 8), 1)

    parts = [_text(axis(t), height + 18, f"{t:g}", css="tick") for t in ticks(0, last)]
    for tick in ticks(low, high):
        parts += [_line("grid", LEFT, down(tick), WIDTH - RIGHT, down(tick))]
        parts += [_text(LEFT - 10, down(tick) + 4, ev.number(tick, 2), "end", "tick")]
    path = " ".join(f"{axis(spent)},{down(mean)}" for _, spent, mean in drawn)
    parts.append(Markup('<polyline class="curve c0" points="{}"/>').format(path))
    for point, spent, mean in drawn:
        told = Markup("<title>{}</title>").format(f"{spent:,} {unit}: {point.leader}, {ev.number(mean)}")
        parts.append(Markup("<g>") + told + _mark("pass", axis(spent), down(mean)) + Markup("</g>"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height + 38, f"{unit} spent", css="tick"))
    return _figure("Best mean on dev so far by budget spent", height + 46, parts)


def curves(training: TrainingRecord | None) -> list[tuple[str, Markup]]:
    """Title and figure of each learning curve (training loss, score and loss on dev), a line and a dash pattern a seed.

    A disc marks the checkpoint that came out. Empty when nothing was trained.
    """
    trained = () if training is None else training.seeds
    drawn = {
        "Training loss": [[(point.step, point.loss) for point in one.curve] for one in trained],
        "Score on dev": [[(p.step, p.score) for p in one.dev if p.score is not None] for one in trained],
        "Loss on dev": [[(p.step, p.loss) for p in one.dev if p.loss is not None] for one in trained],
    }
    seeds = [one.seed for one in trained]
    marks = [one.chosen_step for one in trained]
    return [
        (title, _by_step(title, seeds, lines, marks))
        for title, lines in drawn.items()
        if any(len(line) > 1 for line in lines)
    ]


def _by_step(
    title: str, seeds: Sequence[int], lines: Sequence[Sequence[tuple[int, float]]], chosen: Sequence[int | None]
) -> Markup:
    """One value by optimizer step, a line a seed."""
    low, high = reach(value for line in lines for _, value in line)
    last, height = max(step for line in lines for step, _ in line), 220
    axis = _Axis(0, last)

    def down(value: float) -> float:
        return round(8 + (high - value) / (high - low) * (height - 8), 1)

    parts = [_text(axis(t), height + 18, f"{t:g}", css="tick") for t in ticks(0, last)]
    for tick in ticks(low, high):
        parts += [_line("grid", LEFT, down(tick), WIDTH - RIGHT, down(tick))]
        parts += [_text(LEFT - 10, down(tick) + 4, ev.number(tick, 2), "end", "tick")]
    style = Markup('class="curve c{}" stroke-dasharray="{}"')
    for place, (seed, line, best) in enumerate(zip(seeds, lines, chosen, strict=True)):
        look, y = style.format(place % 4, _DASHES[place % 4]), 24 + 20 * place
        points = " ".join(f"{axis(step)},{down(value)}" for step, value in line)
        parts.append(Markup('<polyline {} points="{}"/>').format(look, points))
        for step, value in line:
            if step == best:
                told = Markup("<title>{}</title>").format(f"seed {seed}, chosen: step {step}, {ev.number(value)}")
                parts.append(Markup("<g>") + told + _mark("pass", axis(step), down(value)) + Markup("</g>"))
        parts.append(Markup('<line {} x1="20" x2="60" y1="{}" y2="{}"/>').format(look, y, y))
        parts.append(_text(70, y + 4, f"seed {seed}", "start"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height + 38, "optimizer step", css="tick"))
    return _figure(f"{title} by optimizer step", height + 46, parts)


def trade_off(found: Sequence[tuple[TrialRecord, Forgotten]]) -> Markup | None:
    """Score on dev over KL to the base model, a mark a trial; None where fewer than two have both."""
    values = [(trial, one.kl.value, trial.score) for trial, one in found]
    marks = [(trial, kl, score) for trial, kl, score in values if kl is not None and score is not None]
    if len(marks) < 2:
        return None
    axis, height = _Axis(*reach(kl for _, kl, _ in marks)), 220
    low, high = reach(score for *_, score in marks)

    def down(value: float) -> float:
        return round(8 + (high - value) / (high - low) * (height - 8), 1)

    parts = [_text(axis(t), height + 18, f"{t:g}", css="tick") for t in ticks(axis.start, axis.end)]
    for tick in ticks(low, high):
        parts += [_line("grid", LEFT, down(tick), WIDTH - RIGHT, down(tick))]
        parts += [_text(LEFT - 10, down(tick) + 4, ev.number(tick, 2), "end", "tick")]
    for trial, kl, score in marks:
        told = ", ".join(f"{name} {ev.field(value)}" for name, value in trial.fields.items())
        parts += [_mark("pass", axis(kl), down(score)), _text(axis(kl) + 10, down(score) + 4, told, "start", "tick")]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height + 38, "KL to the base model, nats per token", css="tick"))
    return _figure("Score on dev over what was forgotten", height + 46, parts)
