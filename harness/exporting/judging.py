"""An export judged again: the same questions of the task through the engine that will run it, by a signed rule.

A wrong chat template, a damaged file or a quantisation that costs too much moves answers, and so shows here before a
user sees it. Two rules, each by its interval: the score may not fall by more than a margin, and of greedy answers at
least a share must be the very same text (which tells where a score cannot, because it is 0 before and after). A model
that learned its task well answers right under a wrong template too, so template and prompts are held against the
judged ones by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness import compare, evaluate, evidence, metrics, spec, stats
from harness.asking import asking_key
from harness.chat import Library
from harness.engines import Engine
from harness.errors import NotComparableError, Problem, UsageError
from harness.evaluate.asking import Question, ask_all
from harness.exporting.source import Source
from harness.metrics import JudgeSpec
from harness.progress import Progress
from harness.records import (
    ChangedAnswer,
    Decoding,
    Interval,
    Item,
    Outcome,
    RejudgedRecord,
    RunRecord,
    SampleRecord,
)
from harness.spec import Experiment
from harness.suites import Suite, SuiteUse, Task, load_suite

NAMED: Final = 20
"""How many changed answers a record names."""
WORST: Final[tuple[Outcome, ...]] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True, slots=True)
class Terms:
    """The smoke gate's rule."""

    samples: int = 100
    """Test items that are asked, or all where there are fewer; 0 asks nothing."""
    min_delta: float = -0.05
    """Margin of the score, of exported minus judged."""
    min_agreement: float = 0.5
    """Least share of greedy answers that stay the very same text; 0 for no such rule."""
    confidence: float = 0.9
    """Two-sided, of both intervals: a pass and a fail err with 5 % each."""
    seed: int = 0
    """Of the random choice of items."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Which items are asked again, and what was answered when the candidate was judged."""

    task: Task
    items: tuple[Item, ...]
    before: tuple[SampleRecord, ...]
    template: str | None
    """sha256 of the chat template under which it was judged; None where a server did not tell."""
    experiment: Experiment | None
    """The experiment with its data; None where the store alone tells the questions."""

    @property
    def library(self) -> Library | None:
        """Where prompts with retrieval look things up."""
        return None if self.experiment is None else self.experiment.shelves()


def questions(source: Source, terms: Terms) -> Questions:
    """A random choice of the items that the candidate was judged on.

    They are put together from their samples, and proven by their digests to be what was asked; where a sample does not
    show all of its item, from the experiment's own data. The candidate met these very items before its verdict and
    nothing is chosen by what it answers now, so no look at the test split is counted.
    Raises HarnessError where the data is needed and gone, or is not what was judged.
    """
    folder, run = source.folder, evidence.task_run(evidence.gather(source.folder), source.candidate.name)
    if run is None:
        hint = "Export the experiment that judged it, or pass --samples 0"
        raise UsageError(Problem(folder.id, f"no test run of {source.candidate.name} is here to judge by", next=hint))
    before = {(sample.task, sample.id): sample for sample in folder.samples(run.id) if sample.repeat == 0}
    experiment, tasks = None, _from_samples(source, run, tuple(before.values()))
    if tasks is None:
        experiment, tasks = _from_data(source, run)
    task = tasks[0]
    known = [item for item in task.items if (task.name, item.id) in before]
    known.sort(key=lambda item: asking_key(terms.seed, task.name, item.id, item.cluster))
    chosen = tuple(known[: terms.samples])
    template = run.conditions.chat_template_digest
    return Questions(task, chosen, tuple(before[task.name, item.id] for item in chosen), template, experiment)


def _from_samples(source: Source, run: RunRecord, samples: Sequence[SampleRecord]) -> tuple[Task, ...] | None:
    """The run's task from what the store keeps of it; None where that is not all of it."""
    metric = next(iter(run.primary.values()))
    if len(run.primary) > 1 or metrics.names_a_file(metric) or source.candidate.prompt.retrieval is not None:
        return None
    items = tuple(item for sample in samples if (item := evaluate.item_of(sample)) is not None)
    if len(items) < len(samples):
        return None
    return (Task(next(iter(run.primary)), "generate", items, (metric,), source.candidate.decoding),)


def _from_data(source: Source, run: RunRecord) -> tuple[Experiment | None, tuple[Task, ...]]:
    """The same from the files of the experiment; of a deploy gate, from its suites, or those whose task it asked."""
    home, told = source.folder.path, source.folder.spec()
    loaded: Experiment | None = None
    asked: list[Suite] = []
    if "reference" in told:
        asked = [load_suite(SuiteUse.model_validate(use), near=home) for use in told.get("suites") or ()]
        home = home.parent / str(told["task_of"]) if told.get("task_of") else home
    if home != source.folder.path or "reference" not in told:
        loaded = spec.load(home / "spec.yaml")
        asked += [evaluate.task_suite(loaded.data.test.unseal(), loaded.spec.task), *loaded.suites]
    for suite in asked:
        if (suite.name, suite.fingerprint) == (run.suite, run.fingerprint):
            return loaded, suite.tasks
    what = f"the rows of {run.suite} are not those that the candidate was judged on"
    raise NotComparableError(Problem(source.folder.id, what, next="Restore them, or pass --samples 0"))


def judge(
    source: Source, asked: Questions, engine: Engine, adapter: str | None, terms: Terms, progress: Progress
) -> RejudgedRecord:
    """Ask and judge. adapter: name under which the engine serves the candidate, None where it is a whole model.

    Raises EngineError when the engine dies.
    """
    task, who, given = asked.task, source.candidate, source.folder.spec()
    wanted = [Question(task, item, item.digest, who.prompt, who.decoding, adapter) for item in asked.items]
    runs_code, judge_spec = bool(given.get("allow_code_execution")), given.get("judge")
    named = None if judge_spec is None else JudgeSpec.model_validate(judge_spec)
    answers: dict[str, SampleRecord] = {}
    aided = evaluate.aided(runs_code, named, progress.note, source.folder.path)
    with aided, progress.bar("judging the export again", len(wanted)) as bar:
        for _, sample in ask_all(engine, wanted, asked.library):
            answers[sample.id] = sample
            bar.advance()
    after = tuple(answers[item.id] for item in asked.items)
    return _judged(asked, after, engine, who.decoding, task.metrics[0], terms)


def _judged(
    asked: Questions, after: Sequence[SampleRecord], engine: Engine, decoding: Decoding, metric: str, terms: Terms
) -> RejudgedRecord:
    pairs = list(zip(asked.before, after, strict=True))
    scored = [(a, b) for b, a in pairs if a.scores.get(metric) is not None and b.scores.get(metric) is not None]
    told = [(a, b) for b, a in pairs if a.error is None and b.error is None]
    ours = np.array([a.scores[metric] for a, _ in scored], dtype=float)
    theirs = np.array([b.scores[metric] for _, b in scored], dtype=float)
    same = np.array([float(a.answer == b.answer) for a, b in told])
    better = compare.higher_is_better(metric)
    paired = (ours, theirs) if better else (theirs, ours)
    clusters, level = _clusters([a for a, _ in scored]), terms.confidence
    difference = stats.paired_interval(*paired, clusters, level)
    agreement = stats.mean_interval(same, _clusters([a for a, _ in told]), level)
    failed = sum(sample.error is not None for sample in after)
    least = terms.min_agreement if terms.min_agreement > 0 and decoding.temperature == 0 else None
    outcome, reason = _decided(difference, agreement, terms.min_delta, least, failed, len(pairs), not ours.any())
    same_template, others = _same_template(asked, engine), _other_prompts(pairs)
    if same_template is False or others:
        shape = "its chat template is not the judged one" if same_template is False else ""
        counts = f"{others} of {len(pairs)} prompts have another number of tokens" if others else ""
        outcome, reason = "fail", "; ".join(filter(None, (shape, counts, reason)))
    return RejudgedRecord(
        conditions=engine.conditions,
        metric=metric,
        seed=terms.seed,
        n=len(pairs),
        failed=failed,
        judged=stats.mean_interval(theirs, clusters),
        exported=stats.mean_interval(ours, clusters),
        difference=difference,
        min_delta=terms.min_delta,
        agreement=agreement,
        min_agreement=least,
        same_template=same_template,
        other_prompts=others,
        outcome=outcome,
        reason=reason,
        changed=_changed(pairs, metric, better),
    )


def _same_template(asked: Questions, engine: Engine) -> bool | None:
    now = engine.conditions.chat_template_digest
    return None if now is None or asked.template is None else now == asked.template


def _other_prompts(pairs: Sequence[tuple[SampleRecord, SampleRecord]]) -> int | None:
    """Questions that became another prompt, by their tokens; None where nobody counted them."""
    counted = [(b.tokens_in, a.tokens_in) for b, a in pairs if b.tokens_in is not None and a.tokens_in is not None]
    return sum(before != after for before, after in counted) if counted else None


def _decided(
    difference: Interval, agreement: Interval, margin: float, least: float | None, failed: int, n: int, empty: bool
) -> tuple[Outcome, str]:
    """The worse of two signed rules; too many failed calls decide nothing."""
    if not n or failed > evaluate.MAX_FAILED * n:
        return "inconclusive", f"{failed} of {n} calls failed: nothing was decided"
    nothing = empty and difference.value == 0  # nothing can fall below 0, so not having lost shows nothing
    by_score: Outcome = "inconclusive" if nothing else _signed(difference, margin)
    shown = f"the score moves by {_points(difference)} points (margin {100 * margin:+.1f})"
    if nothing:
        shown = "every score is 0, before and after, which shows nothing"
    if least is None:
        return by_score, shown
    by_text = _signed(agreement, least)
    shown += f"; {_share(agreement)} of the answers are the same text (limit {least:.0%})"
    if nothing:
        return by_text, shown
    return min(by_score, by_text, key=WORST.index), shown


def _signed(interval: Interval, limit: float) -> Outcome:
    if interval.low is None or interval.high is None:
        return "inconclusive"
    return "pass" if interval.low > limit else "fail" if interval.high < limit else "inconclusive"


def _points(interval: Interval) -> str:
    value, low, high = (100 * (x or 0.0) for x in (interval.value, interval.low, interval.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}, n = {interval.n}, {interval.method})"


def _share(interval: Interval) -> str:
    value, low, high = (100 * (x or 0.0) for x in (interval.value, interval.low, interval.high))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _clusters(samples: Sequence[SampleRecord]) -> list[str] | None:
    if all(sample.cluster is None for sample in samples):
        return None
    return [sample.cluster or f"item {sample.id}" for sample in samples]


def _changed(
    pairs: Sequence[tuple[SampleRecord, SampleRecord]], metric: str, better: bool
) -> tuple[ChangedAnswer, ...]:
    """Samples that were answered otherwise, those that lost most first."""
    found = [
        ChangedAnswer(
            id=before.id,
            target=before.target,
            judged=before.answer,
            exported=after.answer,
            judged_score=before.scores.get(metric),
            exported_score=after.scores.get(metric),
        )
        for before, after in pairs
        if before.answer != after.answer
    ]
    sign = 1 if better else -1
    found.sort(key=lambda one: sign * ((one.exported_score or 0.0) - (one.judged_score or 0.0)))
    return tuple(found[:NAMED])
