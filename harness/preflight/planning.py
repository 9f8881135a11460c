"""What an experiment will take: hours and money by stage before anything is spent, and where training would fit."""

from __future__ import annotations

from typing import Final, get_args

from harness import machine, models, money
from harness.money import Span
from harness.money.telling import terms_of
from harness.preflight.pace import Measured, Pace
from harness.preflight.work import Work, work_of
from harness.records import PricesRecord, Prompt, Record
from harness.spec import Experiment
from harness.store import Store
from harness.trainers import ELSEWHERE, Method, forecast
from harness.trainers.shape import shape_of

SIZES: Final = (16, 24, 48, 80)
"""Gigabytes (10^9 bytes) of the cards that are looked at: about what a card of that name leaves free."""
BESIDE: Final = ("lora", "qlora", "full")
"""Methods that are looked at beside the spec's own."""
NOTHING: Final = Span(0.0, 0.0, 0.0)


class Stage(Record):
    """One stage, foreseen. None is not known."""

    stage: str
    """`prompt search`, `training`, `evaluation`."""
    amount: int
    """How much there is to do at most."""
    unit: str
    """`answers`, `tokens` or `steps`."""
    hours: tuple[float, float] | None
    """Least and most wall time of this machine."""
    cost: tuple[float, float] | None
    """Least and most, in the currency of the prices."""
    source: str
    """What the time rests on, or why it is not known."""


class Fit(Record):
    """One training method on one size of card."""

    method: Method
    """How the training would be done, everything else as in the spec."""
    gigabytes: int
    """Size of the card."""
    needs: int
    """Bytes at the peak."""
    fits: bool
    """Whether that is there."""
    advice: str
    """What would fit, where this does not."""


class Plan(Record):
    """What `harness plan` tells."""

    experiment: str
    """Id that the experiment will have."""
    machine: str
    """This machine, whose time is foreseen."""
    stages: tuple[Stage, ...]
    """In their order."""
    hours: tuple[float, float] | None
    """Of all stages together; None where one is not known."""
    cost: tuple[float, float] | None
    """Likewise."""
    currency: str
    """Of all costs; empty where none is named."""
    prices: tuple[tuple[str, str], ...]
    """The prices that costs rest on, as (what, value)."""
    warnings: tuple[str, ...]
    """A limit of the budget that all of it will reach."""
    fits: tuple[Fit, ...] = ()
    """Where training would fit."""
    unfitted: str = ""
    """Why that cannot be told."""


def plan(experiment: Experiment, store: Store, work: Work | None = None, fits: bool = True) -> Plan:
    """Forecast an experiment. Touches no model, writes nothing, and invents no figure.

    work: as it was counted already. fits: whether to look where training would fit. Raises SpecError for a price that
    is named and not in the list.
    """
    spec, work = experiment.spec, work or work_of(experiment)
    prices, measured = money.resolve(spec.budget, experiment.folder), Measured(experiment, store)
    stages = tuple(_stages(experiment, work, prices, measured))
    hours, cost = _sum([one.hours for one in stages]), _sum([one.cost for one in stages])
    found, why = _fits(experiment) if fits else ((), "")
    gpus = machine.gpus()
    return Plan(
        experiment=experiment.id,
        machine=gpus[0] if gpus else f"CPU, {machine.cpus()} cores",
        stages=stages,
        hours=hours,
        cost=cost,
        currency=prices.currency,
        prices=tuple(terms_of(prices)),
        warnings=tuple(_reached(prices, hours, cost)),
        fits=found,
        unfitted=why,
    )


def _stages(experiment: Experiment, work: Work, prices: PricesRecord, measured: Measured) -> list[Stage]:
    spec, answer = experiment.spec, measured.answer()
    remote = spec.serve.engine == "openai"

    def asked(stage: str, count: int) -> Stage:
        tokens = _tokens(prices, *measured.tokens(), count) if remote else NOTHING
        return _stage(stage, count, "answers", answer, prices, tokens, by_hour=not remote or prices.machine is not None)

    if work.prompt_search_calls is not None:
        made = [asked("prompt search", work.prompt_search_calls)]
    else:
        why = "not known: the budget of the search is in tokens"
        made = [_stage("prompt search", work.prompt_search_tokens or 0, "tokens", Pace(None, why), prices)]
    if spec.train.method in ELSEWHERE:
        step = Pace(None, f"not known: train.method {spec.train.method} trains elsewhere")
    else:
        step = measured.step()
    made.append(_stage("training", work.training_steps, "steps", step, prices))
    calls = work.dev_calls + work.task_calls + work.suite_calls + work.probe_calls
    return [*made, asked("evaluation", calls)]


def _stage(
    stage: str, amount: int, unit: str, pace: Pace, prices: PricesRecord, tokens: Span | None = NOTHING,
    by_hour: bool = True,
) -> Stage:  # fmt: skip
    """tokens: what the tokens of a server elsewhere cost. by_hour: whether the machine's time is paid for."""
    time = None if pace.span is None else pace.span.times(amount / 3600)
    if amount == 0:
        time, pace = NOTHING, Pace(None, "nothing to do")
    cost = tokens
    if by_hour and cost is not None:
        hour = None if prices.machine is None else (prices.machine.low, prices.machine.high)
        known = None if time is None or hour is None else (time.low * hour[0], time.high * hour[1])
        cost = None if known is None else cost.and_(Span(sum(known) / 2, *known))
    return Stage(
        stage=stage,
        amount=amount,
        unit=unit,
        hours=None if time is None else (time.low, time.high),
        cost=None if cost is None else (cost.low, cost.high),
        source=pace.source,
    )


def _tokens(prices: PricesRecord, read: Pace, written: Pace, answers: int) -> Span | None:
    """What the tokens of so many answers cost, as long as earlier ones were."""
    if prices.input is None or prices.output is None or read.span is None or written.span is None:
        return None
    low, high = (
        answers / 1e6 * (getattr(read.span, end) * getattr(prices.input, end)
                         + getattr(written.span, end) * getattr(prices.output, end))
        for end in ("low", "high")
    )  # fmt: skip
    return Span((low + high) / 2, low, high)


def _sum(parts: list[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [part for part in parts if part is not None]
    return (sum(p[0] for p in known), sum(p[1] for p in known)) if len(known) == len(parts) else None


def _reached(prices: PricesRecord, hours: tuple[float, float] | None, cost: tuple[float, float] | None) -> list[str]:
    made = []
    for key, limit, told in (("max_hours", prices.max_hours, hours), ("max_cost", prices.max_cost, cost)):
        if limit is None or told is None or told[1] <= limit:
            continue
        may = "will" if told[0] > limit else "may"
        made.append(
            f"budget.{key} is {limit:g}, and all of it takes {told[0]:.3g} to {told[1]:.3g}: it {may} stop there"
        )
    return made


def _fits(experiment: Experiment) -> tuple[tuple[Fit, ...], str]:
    """Every method on every size of card, from the model's headers and the train rows; or why it cannot be told."""
    spec = experiment.spec
    if spec.train.method in ELSEWHERE:
        return (), f"train.method {spec.train.method} trains elsewhere"
    path = models.on_disk(spec.model, experiment.folder)
    if path is None:
        return (), "the model is not on this machine yet"
    own = spec.train.instruction
    prompt = Prompt(name="trained", instruction=experiment.instruction if own is None else own)
    shape = shape_of(path)
    sampled = spec.task.max_tokens if spec.train.objective == "grpo" else 0
    found = forecast.lengths(path, experiment.data.train.to_learn_from(), prompt, (), sampled)
    if shape is None or found is None:
        return (), "its folder does not tell what is needed"
    made = []
    for method in (one for one in dict.fromkeys((spec.train.method, *BESIDE)) if one in get_args(Method)):
        train = spec.train.model_copy(update={"method": method})
        for size in SIZES:
            told = forecast.forecast(train, shape, *found, "cuda", size * 10**9)
            if told is not None:
                fits = told.total <= size * 10**9
                made.append(Fit(method=method, gigabytes=size, needs=told.total, fits=fits, advice=told.advice))
    return tuple(made), ""
