"""HTML of the leaderboard's own tables: the five answers, and the candidates of one experiment.

Every text is escaped here and every number formatted here, so nothing that a record says can become markup. Colour
never stands alone: outcomes have a shape and a word, and drawn intervals a label for screen readers.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from harness import leaderboard as frames
from harness.leaderboard.costs import duration
from harness.leaderboard.terms import meaning
from harness.leaderboard.text import GLYPHS

DASH: Final = '<span class="soft">–</span>'
Row = Mapping[Any, Any]
WHO: Final = 9.4
"""Least width of the candidate's own column, in rem."""

QUESTIONS: Final = (
    ("beat", "Beat the best prompt?", "Yes when the whole interval of the gain lies above 0, No when it lies below."),
    ("margin", "By how much", "Score on the test split minus the best prompt's score on the same items."),
    ("certainty", "How sure", "The interval of that difference: its ends decide the gate."),
    ("broke", "What it broke", "Suites, slices or limits on which a gate found a loss."),
    ("cost", "What it cost", "Time and price of the experiment, its training, and what a request takes at inference."),
)
"""Column of an experiment's row, question, help."""
BARS: Final = ("best_prompt", "reference")
"""Whose score is the bar: in an experiment, and in a deploy gate."""
OF_A_GATE: Final = {"beat": "Better than the reference?"}
"""Questions that read otherwise of a deploy gate."""
_ANSWERS: Final = {"Yes": ("yes", "●"), "No": ("no", "■"), "Not shown": ("soft", "◆")}


def five(experiment: Row) -> str:
    """The five answers of a reader in a hurry, each with what it rests on below."""
    cells = []
    for name, question, told in QUESTIONS:
        value, note = text(experiment[name]), text(experiment[f"{name}_told"])
        kind, glyph = _ANSWERS.get(experiment[name], ("", "")) if name == "beat" else ("", "")
        asked = OF_A_GATE.get(name, question) if experiment.get("kind") == "gate" else question
        lead = f'<span class="{kind}" aria-hidden="true">{glyph}</span> ' if glyph else ""
        cells.append(f'<div><dt title="{text(told)}">{asked}</dt><dd>{lead}{value}<small>{note}</small></dd></div>')
    return f'<dl class="hx hx-five">{"".join(cells)}</dl>'


@dataclass(frozen=True)
class Column:
    """One column of the candidates' table."""

    title: str
    told: str
    """Hover help."""
    cell: Callable[[Row, Scale], str]
    """Its HTML; empty for what was not measured."""
    number: bool = False
    shown: bool = True
    """Whether it is there before the reader chooses."""
    width: float = 5.0
    """In rem, so that the columns of all cards stand below each other."""


@dataclass(frozen=True)
class Scale:
    """The axis on which one experiment's scores are drawn, and the bar to beat on it."""

    low: float
    high: float
    bar: float | None

    def at(self, value: float) -> float:
        """Per cent from the left."""
        return 100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def scale_of(rows: pd.DataFrame) -> Scale:
    """From 0 to 1 where all scores lie there, else from the lowest to the highest end."""
    ends = rows[["score", "score_low", "score_high"]].astype("float64")
    low, high = min(0.0, float(ends.min().min())), max(1.0, float(ends.max().max()))
    bar = rows.loc[rows["candidate"].isin(BARS), "score"].dropna()
    return Scale(low if low == low else 0.0, high if high == high else 1.0, float(bar.iloc[0]) if len(bar) else None)


def filled(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Those of the columns that have something to show in any of the rows, in their place."""
    listed, scale = _listed(rows), Scale(0.0, 1.0, None)
    return [key for key in COLUMNS if key in columns and any(COLUMNS[key].cell(row, scale) for row in listed)]


def candidates(rows: pd.DataFrame, columns: Sequence[str], judged: str | None = None) -> str:
    """The candidates of one experiment as a table. columns: keys of `COLUMNS`; judged: whom the verdict speaks of."""
    scale, chosen = scale_of(rows), [(key, COLUMNS[key]) for key in columns]
    head = "".join(
        f'<th scope="col"{_number(one)} title="{text(one.told)}">{text(_title(key, scale))}</th>' for key, one in chosen
    )
    body = "".join(
        f"<tr{_judged(row, judged)}>{_who(row)}"
        + "".join(f"<td{_number(one)}>{one.cell(row, scale) or DASH}</td>" for _, one in chosen)
        + "</tr>"
        for row in _listed(rows)
    )
    who = f'<th scope="col" title="{text(frames.COLUMNS["candidate"])}">candidate</th>'
    widths = "".join(f'<col style="width:{one.width}rem">' for _, one in chosen)
    caption = '<caption class="gone">Candidates of the experiment, the raw base first</caption>'
    least = WHO + sum(one.width for _, one in chosen)
    opening = (
        f'<table style="min-width:{least:g}rem">{caption}<colgroup><col style="width:{WHO}rem">{widths}</colgroup>'
    )
    return f'<div class="hx hx-wide">{opening}<thead><tr>{who}{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _listed(rows: pd.DataFrame) -> list[Row]:
    return list(rows.astype(object).where(rows.notna(), None).to_dict(orient="records"))


def lines(facts: pd.DataFrame) -> str:
    """Lines of `what` and `value` as a table without headings; what a word means is told to who rests on it."""
    body = "".join(
        f'<tr><th scope="row"{_help_on(one["what"])}>{text(one["what"])}</th><td>{text(one["value"])}</td></tr>'
        for one in _listed(facts)
    )
    return f'<div class="hx hx-lines"><table><tbody>{body}</tbody></table></div>' if body else ""


def _help_on(what: str) -> str:
    told = meaning(what)
    return f' title="{text(told)}"' if told else ""


def text(value: Any) -> str:
    """Text that cannot become markup; empty for what is missing."""
    return "" if value is None or value != value else html.escape(str(value))


def number(value: Any, form: str) -> str:
    """A number in the form wanted; empty for what is missing."""
    return "" if value is None or value != value else format(value, form)


def _title(key: str, scale: Scale) -> str:
    return f"{scale.low:g} to {scale.high:g}" if key == "interval" else COLUMNS[key].title


def _number(column: Column) -> str:
    return ' class="num"' if column.number else ""


def _judged(row: Row, judged: str | None) -> str:
    """The candidate of the verdict; all seeds, where the verdict is about their recipe; nobody where there is none."""
    mine = row["decision"] != "unfinished" and judged is not None
    mine = mine and (row["candidate"] == judged or row["claim"] == "recipe")
    return ' class="judged"' if mine else ""


def _who(row: Row) -> str:
    asked = f' title="{text(row["asked"])}"' if row["asked"] else ""
    return f'<th scope="row"{asked}>{text(row["candidate"])}<small>{text(row["method"])}</small></th>'


def _drawn(row: Row, scale: Scale) -> str:
    value, low, high = (row[name] for name in ("score", "score_low", "score_high"))
    if value is None:
        return ""
    parts, told = [], f"score {value:.3f}"
    if scale.bar is not None:
        parts.append(f'<span class="hx-bar" style="left:{scale.at(scale.bar):.2f}%"></span>')
    if low is not None and high is not None:
        width = scale.at(high) - scale.at(low)
        parts.append(f'<span class="hx-span" style="left:{scale.at(low):.2f}%;width:{width:.2f}%"></span>')
        told += f", interval {low:.3f} to {high:.3f}"
    parts.append(f'<span class="hx-dot" style="left:{scale.at(value):.2f}%"></span>')
    told += "" if scale.bar is None else f"; best prompt {scale.bar:.3f}"
    return f'<div class="hx-axis" role="img" aria-label="{told}" title="{told}">{"".join(parts)}</div>'


def _score(row: Row, _: Scale) -> str:
    if row["score"] is None:
        return ""
    ends = "" if row["score_low"] is None else f"[{row['score_low']:.3f}, {row['score_high']:.3f}]"
    basis = f"{text(row['score_method'])}, n = {number(row['score_n'], ',')}"
    return f'<span title="{basis}">{row["score"]:.3f}</span><small>{ends}</small>'


def _delta(row: Row, _: Scale) -> str:
    """`+45.0 points` with its interval below."""
    if row["gain"] is None:
        return ""
    value, bracket, ends = text(row["gain"]).partition(" [")
    mean = f"; mean of {text(row['delta_of'])}" if " + " in (row["delta_of"] or "") else ""
    basis = f"{text(row['delta_method'])}, n = {text(row['delta_n'])}{mean}"
    return f'<span title="{basis}">{value}</span><small>{bracket.strip()}{ends}</small>'


def _light(name: str) -> Callable[[Row, Scale], str]:
    """A gate's outcome by shape, colour and word, with every such gate in words to hover on."""

    def cell(row: Row, _: Scale) -> str:
        outcome = row[name]
        if outcome is None:
            return ""
        gates = text(row[f"{name.removesuffix('_gate')}_gates"])
        return f'<span class="{outcome}" title="{gates}">{GLYPHS[outcome]}</span>'

    return cell


def _pair(first: str, second: str, form: str, joint: str) -> Callable[[Row, Scale], str]:
    def cell(row: Row, _: Scale) -> str:
        both = [number(row[first], form), number(row[second], form)]
        return joint.join(one or "–" for one in both) if any(both) else ""

    return cell


def _training(row: Row, _: Scale) -> str:
    if row["training_s"] is None:
        return ""
    price = "" if row["training_cost"] is None else f"<small>price {row['training_cost']:,.3g}</small>"
    return duration(row["training_s"]) + price


def _seed(row: Row, _: Scale) -> str:
    """`0 of 3` with the range of scores over the seeds below."""
    if row["seed"] is None:
        return ""
    several = row["spread_low"] is not None
    spread = f"<small>{row['spread_low']:.3f} to {row['spread_high']:.3f}</small>" if several else ""
    return f"{row['seed']}{_of(row['seeds']) if several else ''}{spread}"


def _of(seeds: int) -> str:
    return f" · {seeds} seeds"


def _plain(name: str, form: str = "") -> Callable[[Row, Scale], str]:
    return lambda row, _: number(row[name], form) if form else text(row[name])


def _help(*names: str) -> str:
    return " ".join(frames.COLUMNS[name] for name in names)


COLUMNS: Final[dict[str, Column]] = {
    "interval": Column(
        "0 to 1",
        "Score with its interval; the yellow line is the bar: the best prompt, or a gate's reference.",
        _drawn,
        width=7.8,
    ),
    "score": Column("score", _help("score"), _score, width=5.8),
    "n": Column("n", _help("score_n"), _plain("score_n", ","), number=True, shown=False, width=3.6),
    "gain": Column("Δ to the bar", _help("delta", "gain"), _delta, width=6.4),
    "task": Column("task gates", _help("task_gate"), _light("task_gate"), width=6.6),
    "regression": Column("regression", _help("regression"), _light("regression"), width=6.6),
    "safety": Column("safety", _help("safety"), _light("safety"), width=6.6),
    "tokens": Column(
        "tokens in → out", _help("tokens_in", "tokens_out"), _pair("tokens_in", "tokens_out", ",.0f", " → "), width=6.6
    ),
    "latency": Column(
        "p50 / p95 s",
        _help("latency_p50_s", "latency_p95_s"),
        _pair("latency_p50_s", "latency_p95_s", ",.2f", " / "),
        width=6.3,
    ),
    "price": Column("per 1,000", _help("cost_per_1000"), _plain("cost_per_1000", ",.3g"), number=True, width=4.6),
    "training": Column("training", _help("training_s", "training_cost"), _training, width=4.6),
    "seed": Column("seed", _help("seed", "seeds", "spread_low", "spread_high"), _seed, width=6.2),
    "look": Column("look", _help("looks"), _plain("looks"), shown=False, width=3.8),
    "unscored": Column("unscored", _help("unscored"), _plain("unscored", ","), number=True, shown=False),
    "text lost": Column("text lost", _help("text_lost"), _plain("text_lost", "+.4f"), number=True, shown=False),
    "kl": Column("KL to base", _help("kl"), _plain("kl", ".4f"), number=True, shown=False, width=5.5),
    "claim": Column("claim", _help("claim"), _plain("claim"), shown=False),
    "method": Column("interval by", _help("score_method"), _plain("score_method"), shown=False, width=6.5),
}
"""Every column that a reader can choose, in its place; the candidate always stands first."""
SHOWN: Final = tuple(key for key, column in COLUMNS.items() if column.shown)
