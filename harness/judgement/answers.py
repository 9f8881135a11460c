"""A candidate's answers to a suite: asked once, and shared by all who would be asked the very same."""

from __future__ import annotations

from harness import evaluate
from harness.chat import Library
from harness.errors import NotComparableError, Problem
from harness.evaluate import Watch
from harness.progress import Progress
from harness.records import Candidate, RunRecord, digest
from harness.serving import Serving
from harness.store import ExperimentStore
from harness.suites import Suite


class Answers:
    """The runs of one experiment, made when they are first asked for."""

    def __init__(
        self, folder: ExperimentStore, serving: Serving, progress: Progress, library: Library | None = None
    ) -> None:
        self._folder, self._serving, self._progress, self._library = folder, serving, progress, library

    def evaluate(self, candidate: Candidate, suite: Suite, watch: Watch | None = None) -> RunRecord:
        """Evaluate a candidate on a suite, once.

        Two names for one candidate share their answers (the raw prompt may win the race); so do two prompts of the
        same weights on a suite of plain texts, which no prompt touches. Of a run that ended early the answers are
        taken over, and asked on where this candidate's own gates want more.
        Raises NotComparableError when the run's folder holds answers of another candidate or suite.
        """
        id = evaluate.run_id(candidate.name, suite.name, suite.split)
        done = self._folder.run(id)
        if done is not None and (done.candidate_digest, done.fingerprint) != (candidate.digest, suite.fingerprint):
            hint = "Delete the experiment's folder to start over"
            raise NotComparableError(Problem(done.id, "holds answers of another candidate or suite", next=hint))
        if done is None:
            done = self._taken_over(candidate, suite, id) or self._asked(candidate, suite, watch)
        self._tell(done, suite)
        return done

    def _asked(self, candidate: Candidate, suite: Suite, watch: Watch | None) -> RunRecord:
        adapter = None if candidate.adapter is None else self._serving.name_of(candidate.adapter)
        engine = self._serving.engine
        return evaluate.evaluate(
            candidate, suite, engine, self._folder, self._progress, adapter, watch, self._library
        )  # fmt: skip

    def _taken_over(self, candidate: Candidate, suite: Suite, id: str) -> RunRecord | None:
        """A whole run of who was asked the same, under this name; of one that ended early, its answers as a start."""
        plain = all(task.as_it_stands or not any(item.messages for item in task.items) for task in suite.tasks)
        wanted = (_asked_as(candidate, plain), suite.name, suite.split, suite.fingerprint)
        twins = [
            run
            for run in self._folder.runs()
            if (_asked_as(run.candidate, plain), run.suite, run.split, run.fingerprint) == wanted
        ]
        if not twins:
            return None
        twin = min(twins, key=lambda run: run.stopped is not None)
        if twin.stopped is None:
            same = twin.model_copy(update={"candidate_digest": candidate.digest})
            return self._folder.copy_run(same, candidate, id)
        with self._folder.sample_journal(id) as journal:
            journal.append(self._folder.samples(twin.id))
        return None

    def _tell(self, run: RunRecord, suite: Suite) -> None:
        score = run.metrics[-1].estimate
        ended = run.stopped is not None and run.stopped.asked < run.stopped.of
        early = f", decided after {run.n} of {suite.size}" if ended else ""
        self._progress.note(
            f"{run.candidate.name} on {suite.name}/{suite.split}: {share(score.value)} "
            f"[{share(score.low)}, {share(score.high)}] n={score.n}{early}"
        )


def _asked_as(candidate: Candidate, plain: bool) -> str:
    """What decides a candidate's answers: names do not; on plain texts, neither do prompt and decoding."""
    who = [candidate.model.digest, candidate.adapter and candidate.adapter.digest]
    if plain:
        return digest(who)
    prompt = candidate.prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"})
    return digest([*who, prompt, candidate.decoding.model_dump(mode="json")])


def share(value: float | None) -> str:
    """A score for a progress line."""
    return "unscored" if value is None else f"{100 * value:.1f} %"
