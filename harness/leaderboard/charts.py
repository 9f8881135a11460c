"""Charts over the leaderboard's frames. Outcomes differ by colour and by shape, so that colour is never needed.

altair is imported here alone, and only when a chart is asked for.
"""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

COLORS = {"pass": "#2a78b5", "inconclusive": "#7b828c", "fail": "#d1602b"}
"""Blue, grey and vermilion: told apart with every common colour vision, on light and on dark."""
SHAPES = {"pass": "circle", "inconclusive": "diamond", "fail": "square"}

NEAR = 2
"""Times the longest row, up to which its limit is drawn beside it."""

_TEAL = "#2a78b5"
_GREY = "#8a8f98"


def forest(gates: pd.DataFrame, with_legend: bool = True) -> Any:
    """Gates of one unit: each difference with the ends that decided it, and its margin as a yellow tick."""
    import altair as alt

    known = drawable(gates)
    numbers = ["delta", "low", "high", "margin"]
    known[numbers] = known[numbers].mul(known["scale"], axis=0)
    span = [*known[numbers].min(), *known[numbers].max(), 0.0]
    pad = (max(span) - min(span)) * 0.08 or 0.1
    scale = alt.Scale(domain=[min(span) - pad, max(span) + pad], nice=False)
    legend = alt.Legend(title=None, orient="top") if with_legend else None
    outcome = {"domain": list(COLORS), "range": list(COLORS.values())}
    color = alt.Color("outcome:N", scale=alt.Scale(**outcome), legend=legend)
    shape = alt.Shape("outcome:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=legend)
    told = ["gate", "outcome", "demand", "found", "levels", "n", "method"]
    y = alt.Y(
        "gate:N", sort=None, title=None, axis=alt.Axis(labelLimit=320, ticks=False, domain=False, labelPadding=12)
    )
    unit, better = known["unit"].iloc[0], known["better"].iloc[0]
    title = "candidate minus reference" + (f", {unit}" if unit else "")
    title += " (less is better: a gate passes left of its margin)" if better == "lower" else ""
    x = alt.X("delta:Q", scale=scale, title=title, axis=alt.Axis(format="+~r", tickCount=7))
    base = alt.Chart(known).encode(y=y, tooltip=[alt.Tooltip(name) for name in told])
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=_GREY, opacity=0.6).encode(x="x:Q")
    line = base.mark_rule(size=3).encode(x=x, x2="high:Q", color=color).transform_calculate(delta="datum.low")
    point = base.mark_point(size=170, filled=True, opacity=1).encode(x=x, color=color, shape=shape)
    margin = base.mark_tick(thickness=2.5, size=34, color="#c9a227").encode(x="margin:Q")
    return (zero + margin + line + point).properties(height=56 * len(known) + 110)


def drawable(gates: pd.DataFrame) -> pd.DataFrame:
    """The gates on a difference with both its ends: only they have a place in a forest plot."""
    return gates.dropna(subset=["delta", "low", "high", "margin"]).copy()


def scores(rows: pd.DataFrame) -> Any:
    """Each contestant's task score with its interval; the best prompt's score runs through as the bar to beat."""
    import altair as alt

    known = rows.dropna(subset=["score"])
    y = alt.Y(
        "candidate:N", sort=None, title=None, axis=alt.Axis(labelLimit=200, ticks=False, domain=False, labelPadding=12)
    )
    tips = [alt.Tooltip("candidate:N"), alt.Tooltip("score:Q", format=".3f"), alt.Tooltip("score_low:Q", format=".3f")]
    tips += [alt.Tooltip("score_high:Q", format=".3f"), alt.Tooltip("score_n:Q", title="n")]
    tips += [alt.Tooltip("score_method:N", title="method")]
    top = max(1.0, float(known["score_high"].max()) if known["score_high"].notna().any() else 1.0)
    x = alt.X(
        "score:Q",
        scale=alt.Scale(domain=[0, top]),
        title="score on the task",
        axis=alt.Axis(format=".1f", tickCount=10),
    )
    base = alt.Chart(known).encode(y=y, tooltip=tips)
    bars = base.mark_bar(color=_TEAL, opacity=0.28, height=16).encode(x=x)
    lines = base.mark_rule(size=2.5, color=_TEAL).encode(x="score_low:Q", x2="score_high:Q")
    points = base.mark_point(size=90, filled=True, opacity=1, color=_TEAL).encode(x="score:Q")
    bar = alt.Chart(known[known["candidate"] == "best_prompt"]).mark_rule(strokeDash=[4, 4], color="#c9a227", size=1.5)
    return (bars + bar.encode(x="score:Q") + lines + points).properties(height=36 * len(known) + 60)


def curve(points: pd.DataFrame) -> Any:
    """Training loss by step, a line and a dash pattern per seed."""
    import altair as alt

    named = points.assign(seed="seed " + points["seed"].astype(str))
    legend = alt.Legend(title=None, orient="top")
    return (
        alt.Chart(named)
        .mark_line(size=2)
        .encode(
            x=alt.X("step:Q", title="optimizer step"),
            y=alt.Y("loss:Q", title="training loss (nats / token)", scale=alt.Scale(zero=False)),
            color=alt.Color("seed:N", legend=legend, scale=alt.Scale(range=[_TEAL, "#d1602b", "#2a9d8f", _GREY])),
            strokeDash=alt.StrokeDash("seed:N", legend=legend),
            tooltip=["seed:N", "step:Q", alt.Tooltip("loss:Q", format=".4f")],
        )
        .properties(height=320)
    )


def dev(points: pd.DataFrame, of: Literal["score", "loss"] = "score") -> Any:
    """Score (or loss) on dev by step, a line a seed; the step whose weights came out is a large diamond."""
    import altair as alt

    named = points.dropna(subset=[of]).assign(seed="seed " + points["seed"].astype(str))
    legend = alt.Legend(title=None, orient="top")
    color = alt.Color("seed:N", legend=legend, scale=alt.Scale(range=[_TEAL, "#d1602b", "#2a9d8f", _GREY]))
    tips = ["seed:N", "step:Q", alt.Tooltip("score:Q", format=".3f"), "n:Q", alt.Tooltip("loss:Q", format=".4f")]
    title = {"score": "score on dev", "loss": "loss on dev (nats / token)"}[of]
    base = alt.Chart(named).encode(
        x=alt.X("step:Q", title="optimizer step (◆ the weights that came out)"),
        y=alt.Y(f"{of}:Q", title=title, scale=alt.Scale(zero=False)),
        color=color,
        tooltip=tips,
    )
    lines = base.mark_line(size=2).encode(strokeDash=alt.StrokeDash("seed:N", legend=legend))
    chosen = base.transform_filter("datum.chosen").mark_point(shape="diamond", size=220, filled=True, opacity=1)
    return (lines + base.mark_point(size=30, filled=True, opacity=1) + chosen).properties(height=280)


def trade_off(trials: pd.DataFrame) -> Any:
    """Score on dev over KL to the base model, a mark a trial with what it tried beside it."""
    import altair as alt

    base = alt.Chart(trials).encode(
        x=alt.X("kl_value:Q", title="KL to the base model (nats / token)", scale=alt.Scale(zero=False)),
        y=alt.Y("score:Q", title="score on dev", scale=alt.Scale(zero=False)),
        tooltip=["number:Q", "fields:N", alt.Tooltip("score:Q", format=".3f"), "text_lost:N", "kl:N"],
    )
    named = base.mark_text(align="left", dx=9, color=_GREY).encode(text="fields:N")
    return (base.mark_point(size=90, filled=True, opacity=1, color=_TEAL) + named).properties(height=280)


def balance(labels: pd.DataFrame) -> Any:
    """Share of each answer in each split, bars side by side."""
    import altair as alt

    order, splits = list(dict.fromkeys(labels["answer"])), list(dict.fromkeys(labels["split"]))
    tips = ["split:N", "answer:N", alt.Tooltip("share:Q", format=".1%"), alt.Tooltip("rows:Q", format=",")]
    return (
        alt.Chart(labels)
        .mark_bar()
        .encode(
            y=alt.Y(
                "answer:N",
                sort=order,
                title=None,
                axis=alt.Axis(labelLimit=320, labelOverlap=False, ticks=False, domain=False),
            ),
            x=alt.X("share:Q", title="share of the split's rows", axis=alt.Axis(format="~%", tickCount=6)),
            yOffset=alt.YOffset("split:N", sort=splits),
            color=alt.Color(
                "split:N",
                sort=splits,
                scale=alt.Scale(domain=splits, range=[_TEAL, "#c9a227", _GREY][: len(splits)]),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=tips,
        )
        .properties(height=150 + max(22 * len(order), 16 * len(labels)))  # legend and axis are in it
    )


def lengths(bins: pd.DataFrame, limit: int | None = None) -> Any:
    """How many rows are how long, in tokens, and the limit where it is near."""
    import altair as alt

    tips = [alt.Tooltip("length:N", title="tokens"), alt.Tooltip("rows:Q", format=",")]
    across = alt.X("shortest:Q", bin="binned", title="tokens of a row", axis=alt.Axis(format=",", grid=False))
    up = alt.Y("rows:Q", title="rows", axis=alt.Axis(format=",d", tickMinStep=1))
    bars = alt.Chart(bins).mark_bar(color=_TEAL).encode(x=across, x2="beyond", y=up, tooltip=tips)
    if limit is None or limit > NEAR * bins["beyond"].max():
        return bars.properties(height=220)
    at = alt.Chart(pd.DataFrame({"limit": [limit]})).encode(x="limit:Q", tooltip=["limit:Q"])
    return (bars + at.mark_rule(strokeDash=[5, 4], size=2, color=COLORS["fail"])).properties(height=220)


def watched(looks: pd.DataFrame) -> Any:
    """Evidence of drift and of lost quality at each look, as a share of what raises the alarm."""
    import altair as alt

    lines = looks[["number", "created", "drift", "degraded"]].melt(["number", "created"], var_name="of")
    lines = lines.dropna(subset=["value"]).replace({"of": {"drift": "drift", "degraded": "lost quality"}})
    kinds = alt.Scale(domain=["drift", "lost quality"], range=[_TEAL, "#d1602b"])
    shapes = alt.Scale(domain=["drift", "lost quality"], range=["circle", "square"])
    legend = alt.Legend(title=None, orient="top")
    base = alt.Chart(lines).encode(
        x=alt.X("number:Q", title="look", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("value:Q", title="evidence, share of the alarm's", scale=alt.Scale(domainMin=0)),
        color=alt.Color("of:N", scale=kinds, legend=legend),
        shape=alt.Shape("of:N", scale=shapes, legend=legend),
        tooltip=["of:N", "number:Q", "created:N", alt.Tooltip("value:Q", format=".2f")],
    )
    alarm = alt.Chart(pd.DataFrame({"y": [1.0]})).mark_rule(color="#c9a227", size=2).encode(y="y:Q")
    points = base.mark_point(size=60, filled=True, opacity=1)
    return (alarm + base.mark_line(size=2) + points).properties(height=260)


def volume(days: pd.DataFrame) -> Any:
    """Requests by day."""
    import altair as alt

    bars = alt.Chart(days).mark_bar(color=_TEAL)
    x = alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True))
    return bars.encode(x=x, y=alt.Y("requests:Q"), tooltip=["day:O", "requests:Q"]).properties(height=180)


def monthly(points: pd.DataFrame) -> Any:
    """A month's cost over the volume, the best prompt dashed, the tuned candidate solid; shaded: uncertain prices."""
    import altair as alt

    colors = dict(zip(points["candidate"].unique(), ("#d1602b", _TEAL), strict=True))
    unit = points["currency"].iloc[0]
    up = f"cost of a month{f' ({unit})' if unit else ''}"
    x = alt.X("volume:Q", title="requests a month", axis=alt.Axis(format="~s", tickCount=8))
    bands = [
        alt.Chart(points[points["candidate"] == name])
        .mark_area(opacity=0.16, color=color)
        .encode(x=x, y=alt.Y("low:Q", title=up), y2="high:Q")
        for name, color in colors.items()
    ]
    legend = alt.Legend(title=None, orient="top")
    numbers = [alt.Tooltip(f"{name}:Q", format=",.2f") for name in ("cost", "low", "high")]
    line = alt.Chart(points).encode(
        x=x,
        y=alt.Y("cost:Q", title=up),
        color=alt.Color("candidate:N", legend=legend, scale=alt.Scale(domain=[*colors], range=[*colors.values()])),
        strokeDash=alt.StrokeDash(
            "candidate:N", legend=legend, scale=alt.Scale(domain=[*colors], range=[[7, 4], [1, 0]])
        ),
        tooltip=["candidate:N", alt.Tooltip("volume:Q", format=",.0f"), *numbers],
    )
    layers = [*bands, line.mark_line(size=2)]
    pays = points["pays"].dropna().unique()
    if len(pays) and pays[0] > 0:
        upright = alt.Chart(pd.DataFrame({"volume": pays})).mark_rule(color="#c9a227", strokeDash=[4, 4], size=2)
        layers.append(upright.encode(x="volume:Q"))
    return alt.layer(*layers).properties(height=280)


def trace(points: pd.DataFrame) -> Any:
    """The best mean on dev so far over the budget spent."""
    import altair as alt

    line = alt.Chart(points).encode(
        x=alt.X("spent:Q", title=f"{points['unit'].iloc[0]} spent", scale=alt.Scale(domainMin=0)),
        y=alt.Y("mean:Q", title="best mean on dev so far", scale=alt.Scale(zero=False)),
        tooltip=["spent:Q", "leader:N", alt.Tooltip("mean:Q", format=".3f")],
    )
    return (line.mark_line(size=2, color=_TEAL) + line.mark_point(size=60, filled=True, color=_TEAL)).properties(
        height=240
    )
