"""The tables of one experiment on a terminal: contestants, gates, slices, broken items, finalists."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness import evidence
from harness.cli import console
from harness.money import telling
from harness.records import Finalist, Forgotten, GateRecord, SweepRecord, TrainingRecord, TrialRecord
from harness.store import ExperimentStore

LEFT, RIGHT = "left", "right"
Row = list[str | Text]


def sections(folder: ExperimentStore, known: evidence.Evidence) -> list[Table]:
    """Every table that the experiment has something for."""
    gates = known.deciding_gates
    made = [*([_sides(known)] if known.gated else []), contestants(known)]
    if others := evidence.further(known):
        made.append(_further(others))
    made += _money(known)
    if gates:
        made.append(_gates(gates))
    made += [_slices(gate) for gate in gates if gate.slices]
    made += [_broken(folder, known, gate) for gate in gates if gate.broken]
    if known.verdict and len(known.verdict.finalists) > 1:
        made.append(_finalists(known.verdict.finalists))
    if known.sweep is not None:
        made.append(_sweep(known.sweep, evidence.trade_off(known)))
    if known.training and (learning := evidence.learning_rows(known.training)):
        made.append(_learning(known.training, learning))
    return made


def contestants(known: evidence.Evidence) -> Table:
    """Everyone who was evaluated, with the score on every suite."""
    rows = []
    for contestant in evidence.contestants(known):
        tokens = [evidence.number(value, 0) for value in (contestant.tokens_in, contestant.tokens_out)]
        latency = evidence.number(contestant.latency_p50_s, 2)
        scores = [evidence.span(evidence.suite_score(contestant.runs.get(suite))) for suite in known.suites]
        n = evidence.DASH if contestant.score is None else str(contestant.score.n)
        span, asked = evidence.span(contestant.score), contestant.asked
        rows.append([contestant.name, asked, span, n, *tokens, latency, *scores])
    columns = [("candidate", LEFT), ("asked with", LEFT), ("task score [95 %]", LEFT), ("n", RIGHT)]
    columns += [("tokens in", RIGHT), ("out", RIGHT), ("p50 s", RIGHT)]
    return console.table("contestants", columns + [(suite, LEFT) for suite in known.suites], rows)


def _sides(known: evidence.Evidence) -> Table:
    """Candidate and reference of a deploy gate, and whose answers were taken over."""
    columns = [("", LEFT), ("named", LEFT), ("which is", LEFT), ("answers", LEFT)]
    return console.table("sides", columns, evidence.side_rows(known))


def _further(others: Sequence[evidence.Further]) -> Table:
    """Every metric beside the score that decides."""
    rows = []
    for one in others:
        where = one.suite if one.task == one.suite else f"{one.suite}/{one.task}"
        counts = [f"{one.estimate.n:,}", str(one.unscored) if one.unscored else ""]
        rows.append([where, one.metric, one.candidate, evidence.span(one.estimate), *counts, one.estimate.method])
    columns = [("on", LEFT), ("metric", LEFT), ("candidate", LEFT), ("value [95 %]", LEFT), ("n", RIGHT)]
    return console.table("other metrics", [*columns, ("unscored", RIGHT), ("method", LEFT)], rows)


def _money(known: evidence.Evidence) -> list[Table]:
    """What it took so far, and what each contestant costs; nothing where no price is known and nothing was counted."""
    made, stages = list[Table](), telling.stages(known)
    if stages:
        columns = [("stage", LEFT), ("time", RIGHT), ("tokens in / out elsewhere", RIGHT), ("cost", RIGHT)]
        made.append(console.table("spent so far", columns, [list(row) for row in stages]))
    if telling.terms(known):
        rows = [
            [one.candidate, one.per_1000, one.training, one.hosting, one.pays or evidence.DASH]
            for one in telling.lines(known)
        ]
        columns = [("candidate", LEFT), ("1,000 requests", RIGHT), ("training", RIGHT), ("own server a month", RIGHT)]
        made.append(console.table("money", [*columns, ("cheaper than the best prompt", LEFT)], rows))
    return made


def _learning(training: TrainingRecord, looks: Sequence[evidence.LearningRow]) -> Table:
    """Loss and dev by optimizer step; the checkpoint that came out is marked."""
    rows: list[Row] = []
    for look in looks:
        row: Row = [str(look.step)]
        for one in look.seeds:
            if one is None:
                row += [evidence.DASH] * 3
                continue
            row += [evidence.number(one.loss), evidence.number(one.dev_loss)]
            row.append(Text(evidence.number(one.score) + (" ◀" if one.chosen else ""), "bold" if one.chosen else ""))
        rows.append(row)
    columns = [("step", RIGHT)]
    for seed in training.seeds:
        columns += [(f"seed {seed.seed}: loss", RIGHT), ("loss on dev", RIGHT), ("score on dev", RIGHT)]
    return console.table("training, ◀ the checkpoint that came out", columns, rows)


def _sweep(sweep: SweepRecord, trade_off: Sequence[tuple[TrialRecord, Forgotten]]) -> Table:
    """Every trial, with what it forgot where that was measured; the fields that were taken are marked."""
    rows: list[Row] = []
    forgot = {trial.number: [evidence.span(one.text), evidence.span(one.kl)] for trial, one in trade_off}
    for trial in sweep.trials:
        taken = trial.state == "complete" and trial.fields == sweep.best
        score = evidence.number(trial.score) + (" ◀" if taken else "")
        values = [evidence.field(trial.fields.get(name)) for name in sweep.fields]
        told: Row = [Text(score, "bold" if taken else ""), str(trial.steps), line(trial.reason or trial.state, 60)]
        if forgot:
            told[1:1] = forgot.get(trial.number, [evidence.DASH] * 2)
        rows.append([str(trial.number), *values, *told])
    columns = [("trial", RIGHT), *((name, RIGHT) for name in sweep.fields), ("score on dev", RIGHT)]
    columns += [("text lost, nats/byte", RIGHT), ("KL, nats/token", RIGHT)] if forgot else []
    columns.append(("steps", RIGHT))
    return console.table("sweep, ◀ the fields that were taken", [*columns, ("how it ended", LEFT)], rows)


def line(text: str | None, width: int = 110) -> str:
    """One printable line: control characters of a model's answer do not reach the terminal."""
    if text is None:
        return "(no answer)"
    plain = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def _gates(gates: Sequence[GateRecord]) -> Table:
    """Every gate: its outcome, what it demands, what was found and how sure the ends are."""
    levels = {told for gate in gates if (told := evidence.decided_by(gate).levels)}
    rows = []
    for gate in gates:
        bounds = evidence.decided_by(gate)
        demand = evidence.demand(gate) + ("" if gate.blocking else " (advisory)")
        n = evidence.DASH if bounds.n is None else f"{bounds.n:,}"
        row: Row = [console.mark(gate.outcome), evidence.place(gate), demand, evidence.evidence_shown(gate), n]
        rows.append([*row, bounds.levels or evidence.DASH] if len(levels) > 1 else row)
    one = f" [{next(iter(levels))}]" if len(levels) == 1 else ""
    columns = [("", LEFT), ("on", LEFT), ("demands", LEFT), (f"found{one}", LEFT), ("n", RIGHT)]
    return console.table("gates", columns + ([("how sure", LEFT)] if len(levels) > 1 else []), rows)


def _slices(gate: GateRecord) -> Table:
    """The slices of a gate, the worst first."""
    rows: list[Row] = [
        [console.mark(one.outcome), one.slice, evidence.slice_bounds(gate, one).shown, f"{one.n:,}"]
        for one in evidence.slices_worst_first(gate)
    ]
    columns = [("", LEFT), ("slice", LEFT), ("found", LEFT), ("n", RIGHT)]
    return console.table(evidence.gate_name(gate), columns, rows)


def _broken(folder: ExperimentStore, known: evidence.Evidence, gate: GateRecord) -> Table:
    """The items that had to stay right and are wrong."""
    items = evidence.broken_items(folder, gate, known.runs_of(gate.candidate))
    rows = [[item.id, *(line(text, 60) for text in (item.question, item.target, item.answer))] for item in items]
    columns = [(name, LEFT) for name in ("item", "question", "gold", "answer")]
    return console.table(f"broken items of {evidence.place(gate)}", columns, rows)


def _finalists(finalists: Sequence[Finalist]) -> Table:
    """Every candidate that was judged on the test split."""
    rows: list[Row] = []
    for one in finalists:
        label, style = console.DECISIONS[one.decision]
        look = str(evidence.look_number(one.look))
        rows.append([one.name, Text(label.lower(), style=style), look, evidence.percent(one.look.level), one.reason])
    columns = [("candidate", LEFT), ("verdict", LEFT), ("look", LEFT), ("level", RIGHT), ("reason", LEFT)]
    return console.table("finalists", columns, rows)
