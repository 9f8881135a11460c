"""A candidate's answers to a suite: asked once, and shared by all who would be asked the very same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness import evaluate
from harness.chat import Library
from harness.errors import NotComparableError, Problem
from harness.evaluate import Job, Watch
from harness.progress import Progress
from harness.records import Candidate, RunRecord, digest
from harness.serving import Serving
from harness.store import ExperimentStore
from harness.suites import Suite


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is wanted: one candidate on one suite."""

    candidate: Candidate
    suite: Suite
    watch: Watch | None = None
    """Says when no more answers are needed."""

    @property
    def id(self) -> str:
        """Name of the run."""
        return evaluate.run_id(self.candidate.name, self.suite.name, self.suite.split)

    @property
    def plain(self) -> bool:
        """Whether no item of the suite is touched by a prompt."""
        return all(task.as_it_stands or not any(item.messages for item in task.items) for task in self.suite.tasks)


class Answers:
    """The runs of one experiment, made when they are first asked for."""

    def __init__(
        self,
        folder: ExperimentStore,
        serving: Serving,
        progress: Progress,
        library: Library | None = None,
        timed: bool = False,
    ) -> None:
        """timed: latencies decide, so each run is made alone."""
        self._folder, self._serving, self._progress, self._library = folder, serving, progress, library
        self._timed = timed

    def evaluate(self, candidate: Candidate, suite: Suite, watch: Watch | None = None) -> RunRecord:
        """Evaluate a candidate on a suite, once; see `evaluate_all`."""
        return self.evaluate_all([Wanted(candidate, suite, watch)])[0]

    def evaluate_all(self, wanted: Sequence[Wanted]) -> list[RunRecord]:
        """The runs that are wanted, in their order, each made once; together where the engine has several in flight.

        Two names for one candidate share their answers (the raw prompt may win the race); so do two prompts of the
        same weights on a suite of plain texts, which no prompt touches. Of a run that ended early the answers are
        taken over, and asked on where this candidate's own gates want more.
        Raises NotComparableError when a run's folder holds answers of another candidate or suite.
        """
        runs: dict[int, RunRecord] = {}
        while owed := [at for at in range(len(wanted)) if at not in runs]:
            now = dict[int, Wanted]()
            taken = set[object]()
            for at in owed:
                one = wanted[at]
                same = {one.id, _content(one)}
                if taken & same:  # who is asked the very same waits for these answers
                    continue
                run = self._done(one) or self._taken_over(one)
                if run is None:
                    taken |= same
                    now[at] = one
                else:
                    runs[at] = self._told(run, one.suite)
            for at, run in self._asked(now):
                runs[at] = self._told(run, wanted[at].suite)
        return [runs[at] for at in range(len(wanted))]

    def _done(self, wanted: Wanted) -> RunRecord | None:
        done = self._folder.run(wanted.id)
        asked = wanted.candidate.digest, wanted.suite.fingerprint
        if done is not None and (done.candidate_digest, done.fingerprint) != asked:
            hint = "Delete the experiment's folder to start over"
            raise NotComparableError(Problem(done.id, "holds answers of another candidate or suite", next=hint))
        return done

    def _asked(self, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, RunRecord]]:
        if not wanted:
            return
        engine = self._serving.engine
        for group in [[at] for at in wanted] if self._timed else [list(wanted)]:
            jobs = [self._job(wanted[at]) for at in group]
            for place, run in evaluate.evaluate_all(jobs, engine, self._folder, self._progress, self._library):
                yield group[place], run

    def _job(self, one: Wanted) -> Job:
        adapter = one.candidate.adapter
        name = None if adapter is None else self._serving.name_of(adapter)
        return Job(one.candidate, one.suite, name, one.watch)

    def _taken_over(self, one: Wanted) -> RunRecord | None:
        """A whole run of who was asked the same, under this name; of one that ended early, its answers as a start."""
        twins = [run for run in self._folder.runs() if _content_of(run, one.plain) == _content(one)]
        if not twins:
            return None
        twin = min(twins, key=lambda run: run.stopped is not None)
        if twin.stopped is None:
            same = twin.model_copy(update={"candidate_digest": one.candidate.digest})
            return self._folder.copy_run(same, one.candidate, one.id)
        with self._folder.sample_journal(one.id) as journal:
            journal.append(self._folder.samples(twin.id))
        return None

    def _told(self, run: RunRecord, suite: Suite) -> RunRecord:
        score = run.metrics[-1].estimate
        ended = run.stopped is not None and run.stopped.asked < run.stopped.of
        early = f", decided after {run.n} of {suite.size}" if ended else ""
        self._progress.note(
            f"{run.candidate.name} on {suite.name}/{suite.split}: {share(score.value)} "
            f"[{share(score.low)}, {share(score.high)}] n={score.n}{early}"
        )
        return run


def _content(wanted: Wanted) -> tuple[str, str, str, str]:
    """Equal for all who are asked the very same."""
    suite = wanted.suite
    return asked_as(wanted.candidate, wanted.plain), suite.name, suite.split, suite.fingerprint


def _content_of(run: RunRecord, plain: bool) -> tuple[str, str, str, str]:
    return asked_as(run.candidate, plain), run.suite, run.split, run.fingerprint


def asked_as(candidate: Candidate, plain: bool = False) -> str:
    """What decides a candidate's answers: names do not; on plain texts, neither do prompt and decoding."""
    who = [candidate.model.digest, candidate.adapter and candidate.adapter.digest]
    if plain:
        return digest(who)
    prompt = candidate.prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"})
    return digest([*who, prompt, candidate.decoding.model_dump(mode="json")])


def share(value: float | None) -> str:
    """A score for a progress line."""
    return "unscored" if value is None else f"{100 * value:.1f} %"
