"""All that `harness check` tells, without touching a model."""

from __future__ import annotations

from harness import data, machine, models, prompts, trainers
from harness.engines import Choice, choose
from harness.errors import EngineError, Problem, SpecError
from harness.evaluate import TASK_SUITE
from harness.gates import Forecast, level_at
from harness.gates.forecasting import rounded
from harness.models.names import REMOTE
from harness.preflight.designs import foresee
from harness.preflight.earlier import Earlier
from harness.preflight.planning import Plan, plan
from harness.preflight.work import Work, work_of
from harness.records import DataRecord, MemoryForecast, Prompt, Record
from harness.spec import Experiment
from harness.store import Store
from harness.trainers import forecast

_ONLY_PROMPTS = (
    "the model is only a name at a server, so it cannot be trained: the experiment ends at a prompt that is enough, "
    "or with an error before training"
)


class LooksAhead(Record):
    """How worn the test split is, over all experiments that share it."""

    made: int
    """Candidates judged on it so far."""
    budget: int
    """Candidates that the policy allows."""
    level: float
    """One-sided chance of a wrong pass that this experiment's look may spend; 0 when nothing is left."""


class Preflight(Record):
    """What `harness check` tells."""

    experiment: str
    """Id that the experiment will have."""
    model: str
    """Base model as spelled."""
    data: DataRecord
    """Splits, fingerprints and findings."""
    notes: tuple[str, ...]
    """What was measured of the data besides, and what was left out."""
    suites: dict[str, int]
    """Items per suite."""
    engine: str
    """Which engine will serve here, and why; or why none can."""
    device: str
    """Where it will train."""
    work: Work
    """How much there is to do."""
    looks: LooksAhead
    """How worn the test split is."""
    gates: tuple[Forecast, ...]
    """What each gate can decide."""
    plan: Plan
    """Hours and money by stage, as far as they are known."""
    memory: MemoryForecast | None = None
    """What training will take here; None where nothing is trained here, or the model is not here yet."""
    warnings: tuple[str, ...]
    """What to do about blocking gates that cannot be decided."""


def check(experiment: Experiment, store: Store) -> Preflight:
    """Everything that can be told without a model. The experiment is already valid when it was loaded.

    store: where earlier runs on the same items, and looks at the same test split, are found. Writes nothing.
    Raises StoreError when the ledger of looks cannot be read, DataError when training would cut answers, SpecError
    when the prompt search cannot be done here (a package is missing, worked examples do not fit the model), or when the
    engine cannot have the model.
    """
    spec = experiment.spec
    if problems := [*_model_problems(experiment), *_prompt_problems(experiment)]:
        raise SpecError(problems)
    try:
        choice = choose(spec.serve)
    except EngineError as fault:
        choice = Choice("none", str(fault))
    if choice.name != "none" and (problems := list(trainers.unservable(spec.train, choice.name))):
        raise SpecError(problems)
    looked = data.closer_look(
        experiment.data, experiment.audited, spec.data.audit, spec.model, experiment.folder, spec.train.max_length
    )
    data.refuse_errors(looked.record)
    looks, earlier = _looks(experiment, store), Earlier(experiment, store)
    forecasts = tuple(foresee(experiment, gate, earlier, looks.level) for gate in spec.rules)
    gpus, noted = machine.gpus(), experiment.constraint_note
    return Preflight(
        experiment=experiment.id,
        model=spec.model,
        data=looked.record,
        notes=tuple(note for note in (*looked.notes, noted, _only_prompts(spec.model, spec.train.method)) if note),
        suites={TASK_SUITE: experiment.data.test.size, **{suite.name: suite.size for suite in experiment.suites}},
        engine=f"{choice.name}: {choice.reason}",
        device=gpus[0] if gpus else f"CPU, {machine.cpus()} cores",
        work=(work := work_of(experiment)),
        plan=plan(experiment, store, work, fits=False),
        looks=looks,
        gates=forecasts,
        memory=_memory(experiment),
        warnings=tuple(_advice(made) for made in forecasts if made.blocking and made.decidable is False),
    )


def _only_prompts(model: str, method: str) -> str:
    """What cannot come of a model that only a server has, unless its service trains it."""
    return _ONLY_PROMPTS if model.startswith(REMOTE) and method != "managed" else ""


def _memory(experiment: Experiment) -> MemoryForecast | None:
    """From the model's headers and the train rows, where the model is on this machine."""
    spec, path = experiment.spec, models.on_disk(experiment.spec.model, experiment.folder)
    if path is None:
        return None
    own = spec.train.instruction
    prompt = Prompt(name="trained", instruction=experiment.instruction if own is None else own)
    rows = experiment.data.train.to_learn_from()
    return forecast.of_rows(spec.train, path, rows, prompt, sampled=spec.task.max_tokens)


def _model_problems(experiment: Experiment) -> list[Problem]:
    """A model that only a server has, and another engine than the one that asks servers."""
    spec = experiment.spec
    if not spec.model.startswith(REMOTE) or spec.serve.engine == "openai":
        return []
    what = f"{spec.model!r} is a name at a server, and serve.engine is {spec.serve.engine}"
    return [Problem("model", what, "Only `openai`", "Give its server: serve: {engine: openai, url: ...}")]


def _prompt_problems(experiment: Experiment) -> list[Problem]:
    spec = experiment.spec
    problems = list(prompts.missing_packages(spec.prompt))
    path = models.on_disk(spec.model, experiment.folder)
    if path is not None:
        context = spec.serve.max_model_len or models.context_length(path)
        train, instruction = experiment.data.train.items, experiment.instruction
        passages = experiment.shelves().passages
        problems += prompts.too_long(spec.prompt, spec.task, instruction, train, path, context, passages)
    return problems


def _looks(experiment: Experiment, store: Store) -> LooksAhead:
    """The look that the experiment has taken, or the next one."""
    policy, made = experiment.spec.policy, store.looks.at(experiment.data.test.questions)
    own = next((look for look in made if look.experiment == experiment.id), None)
    level = own.level if own else level_at(policy, sum(look.level for look in made), len(made) + 1)
    return LooksAhead(made=len(made), budget=policy.looks, level=level)


def _advice(made: Forecast) -> str:
    """Why a gate cannot be decided, and what would help."""
    if made.level <= 0:
        return f"{made.gate}: the test split is spent, so nothing can pass; judge on a fresh one."
    if made.rule != "min_delta" or made.needed_at is None or made.min_delta is None:
        return f"{made.gate}: {made.n:,} items are too few for any score to pass; collect more, or lower the limit."
    at, margin = made.needed_at, made.min_delta
    truth = "equal" if at == 0 else f"{100 * at:+.1f} points"
    chance = made.pass_if_equal if made.hoped_gain is None else made.pass_if_hoped
    where = f" on {made.slice}" if made.slice else ""
    remedies = ["make the gate advisory"]
    if made.seeds_needed is not None and made.seeds_needed > made.seeds:
        remedies.insert(0, f"train about {made.seeds_needed} seeds instead of {made.seeds}")
    if made.detectable is not None:
        remedies.insert(0, f"set the margin to about {100 * (at - (made.detectable - margin)):+.1f} points")
    if made.items_needed is not None:
        remedies.insert(0, f"collect about {rounded(made.items_needed)} items instead of {made.n:,}")
    told = f"{made.gate}: a candidate that is truly {truth} passes{where} with a chance of {chance:.0%}"
    return f"{told}, not {made.power:.0%}; {', or '.join(remedies)}."
