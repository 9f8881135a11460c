"""What an experiment would deploy: the candidate that its verdict speaks of, whole."""

from __future__ import annotations

from harness.errors import Problem, UsageError
from harness.evidence.gathered import Evidence, gather, suite_score
from harness.records import Candidate, RunRecord
from harness.store import ExperimentStore


def deployable(folder: ExperimentStore) -> Candidate:
    """The candidate that the verdict speaks of, as it answered the task's test split, whatever was decided of it.

    A tuned model under its prompt; the best prompt, where that suffices; of a claim about the recipe the seed that is
    best on dev. Of a deploy gate without a task, as it answered the first of its suites.
    Raises UsageError where there is no verdict, no run of the candidate, or no telling which seed it is.
    """
    return of_verdict(gather(folder))


def of_verdict(known: Evidence) -> Candidate:
    """As `deployable`, of records that were read already."""
    if known.verdict is None:
        missing = f"it has no {', no '.join(known.missing)}"
        raise UsageError(Problem(known.id, f"there is nothing to deploy: {missing}", next="Go on with `harness run`"))
    name = known.verdict.candidate
    if (run := task_run(known, name)) is not None:  # of a recipe: the name is that of the seed best on dev
        return run.candidate
    seeds = {seed: made for seed in sorted(known.members(name)) if (made := task_run(known, seed)) is not None}
    if not seeds:
        hint = "Restore the folder `runs/`, or delete verdict.json and run again"
        raise UsageError(Problem(known.id, f"there is nothing to deploy: no test run of {name} is here", next=hint))
    scores = {seed: score for seed in seeds if (score := _on_dev(known, seed)) is not None}
    if len(scores) < len(seeds):
        told = f"{name} stands for {', '.join(seeds)}, and no dev run says which is best"
        hint = "Run the experiment again, or judge one of them with `train: {method: existing}`"
        raise UsageError(Problem(known.id, told, next=hint))
    return seeds[max(scores, key=lambda seed: scores[seed])].candidate


def task_run(known: Evidence, name: str) -> RunRecord | None:
    """The test run by which a candidate is known: on the task where there is one, else the first by suite name."""
    runs = [run for run in known.runs if run.split == "test" and run.candidate.name == name]
    return min(runs, key=lambda run: (run.suite != "task", run.suite), default=None)


def _on_dev(known: Evidence, name: str) -> float | None:
    runs = (run for run in known.runs if run.split == "dev" and run.suite == "task" and run.candidate.name == name)
    score = suite_score(next(runs, None))
    return score.value if score else None
