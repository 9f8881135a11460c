"""How much an experiment will ask and train, counted before any model is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness import metrics, prompts
from harness.forgetting import load
from harness.metrics import CORPUS_METRICS
from harness.probes import PROBES
from harness.prompts.spec import Budget
from harness.records import Record
from harness.spec import Experiment
from harness.suites import Suite


class Work(Record):
    """How much there is to do."""

    prompt_search_calls: int | None
    """Model calls that the prompt search may make; None where its budget is in tokens."""
    prompt_search_tokens: int | None
    """Tokens that it may spend, prompts and answers together; None where its budget is in calls."""
    contestants: tuple[str, ...]
    """Who is asked on the test split before training, beside the raw and the best prompt; `majority` costs no call."""
    with_best_prompt: bool
    """Whether tuned candidates are judged under the best prompt too, which is a look more for each."""
    dev_calls: int
    """Answers on the dev split, to say which of the tuned candidates looks at the test split first."""
    task_calls: int
    """Answers on the test split, over prompts on the base model and every tuned candidate that is judged."""
    suite_calls: int
    """Answers on further suites and on items that must not break, over base and the same candidates."""
    probe_calls: int
    """Fixed texts: parity of base and every adapter with training, and what judged adapters forgot."""
    judge_calls: int
    """Calls of the judge for all those answers, two for a pair; without the prompt search where its budget is in
    tokens."""
    training_steps: int
    """Optimizer steps over all seeds, and over all trials of a sweep."""


def work_of(experiment: Experiment) -> Work:
    """Count what an experiment will ask at most. Touches no model."""
    spec, train = experiment.spec, experiment.spec.train
    steps = max(1, math.ceil(train.epochs * math.ceil(len(experiment.data.train.rows) / train.batch_size)))
    seeds, recipe = len(train.seeds), spec.policy.claim == "recipe"
    trials = train.sweep.trials if train.sweep is not None else 0
    judged = seeds if recipe else spec.finalists
    other = spec.prompt.search != "none" or train.instruction not in (None, experiment.instruction)
    twice = spec.prompt.with_tuned and other
    ranked = (seeds if seeds > 1 or twice else 0) + (judged if twice else 0)
    lexical = spec.prompt.retrieval.model_copy(update={"by": "bm25"})  # an embedding model is fetched when it is run
    made = prompts.contestants(
        spec.prompt.model_copy(update={"retrieval": lexical}),
        spec.task,
        experiment.instruction,
        experiment.data.train,
        experiment.shelves(),
    )
    asked = 2 + len(made.keys() - {"majority"}) + judged * (2 if twice else 1)
    budget = spec.prompt.budget if spec.prompt.search != "none" else Budget(calls=8).model_copy(update={"calls": 0})
    repeats, kept = spec.task.repeats, sum(suite.size for suite in experiment.must_not_break.values())
    dev, task = ranked * len(experiment.data.dev.rows) * repeats, asked * experiment.data.test.size * repeats
    kept *= judged * (2 if twice else 1) * repeats
    fixed = experiment.data.test.size * repeats * ("majority" in made)  # costs no call, and is graded all the same
    graded = _judgements((spec.task.metric, *spec.task.metrics)) * ((budget.calls or 0) + dev + task + kept + fixed)
    return Work(
        prompt_search_calls=budget.calls,
        prompt_search_tokens=budget.tokens,
        contestants=tuple(made),
        with_best_prompt=twice,
        dev_calls=dev,
        task_calls=task,
        suite_calls=(1 + judged) * sum(suite.size for suite in experiment.suites) + kept,
        probe_calls=_probes(seeds, judged, spec.forgetting),
        judge_calls=graded + (1 + judged) * sum(map(_graded, experiment.suites)),
        training_steps=(seeds + trials) * (min(steps, train.max_steps) if train.max_steps else steps),
    )


def _probes(seeds: int, judged: int, forgetting: bool) -> int:
    """Parity for the base model and every adapter; forgetting for the base model and those that are judged."""
    texts = load() if forgetting else None
    told = 0 if texts is None else (1 + judged) * (len(texts.passages) + len(texts.prompts)) + len(texts.prompts)
    return (1 + seeds) * len(PROBES) + told


def _graded(suite: Suite) -> int:
    """Calls of the judge over all items of a suite, for one candidate."""
    return sum(_judgements(task.metrics) * task.repeats * len(task.items) for task in suite.tasks)


def _judgements(names: Sequence[str]) -> int:
    """Calls of the judge that an answer costs; a pair is shown both ways round."""
    asking = [one for name in names if name not in CORPUS_METRICS and (one := metrics.get(name)).needs == "judge"]
    return sum(2 if one.function is metrics.METRICS["judge_pairwise"].function else 1 for one in asking)
