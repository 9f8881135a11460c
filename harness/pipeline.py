"""The page: the order of the stages, and the only file that knows it.

    spec -> data -> baseline -> prompt race -> enough? -> train -> serve -> evaluate -> compare -> gate -> report

Each stage reads the records before it and leaves one record behind. A stage whose
record is there is not run again; so a killed experiment goes on where it was, and an
unchanged one ends at once.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from harness import data, evaluate, gates, machine, models, prompts, report, trainers
from harness.caveats import caveats
from harness.compare import compare
from harness.engines import Choice, choose
from harness.errors import NotComparableError, Problem
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import (
    EXIT_CODES,
    AdapterRef,
    Candidate,
    ComparisonRecord,
    DataRecord,
    Decision,
    GateRecord,
    JudgedRun,
    ModelRef,
    Prompt,
    PromptRecord,
    Provenance,
    RunRecord,
    SeedTraining,
    TrainingRecord,
    VerdictRecord,
)
from harness.serving import Serving
from harness.spec import Experiment
from harness.store import ExperimentStore, Store
from harness.suites import Suite


def run(experiment: Experiment, store: Store, progress: Progress) -> VerdictRecord:
    """Run or resume an experiment to its verdict.

    Raises a HarnessError of the stage that cannot go on; what was done stays.
    """
    folder = store.at(experiment.id)
    verdict = folder.read(VerdictRecord)
    if verdict is not None:
        progress.note(f"{experiment.id} has its verdict; nothing to do")
        if not (folder.path / "report.html").exists():
            report.write_reports(folder)
        return verdict
    progress.stage("model")  # before anything is written: what cannot be had leaves no trace
    choice = choose(experiment.spec.serve)
    progress.note(choice.reason)
    trainers.require_installed(experiment.spec.train.method)
    spec = experiment.spec
    model = models.resolve(spec.model, revision=spec.revision, near=experiment.folder, note=progress.note)
    folder = store.create(experiment.id, experiment.resolved_yaml(folder.path))
    with folder.lock():
        verdict = _Line(experiment, model, choice, folder, progress).to_verdict()
        folder.write(verdict)
        report.write_reports(folder)
    return verdict


class _Line:
    """The straight line over one experiment. Every method is one stage."""

    def __init__(
        self, experiment: Experiment, model: LocalModel, choice: Choice, folder: ExperimentStore, progress: Progress
    ) -> None:
        self.spec = experiment.spec
        self.model = model
        self.choice = choice
        self.experiment = experiment
        self.folder = folder
        self.progress = progress
        self.task_test = evaluate.task_suite(experiment.data.test.unseal(), self.spec.task)

    def to_verdict(self) -> VerdictRecord:
        """All stages in order."""
        self.progress.stage("data")
        self.check_data()
        self.pin_provenance(f"{self.choice.name}: {self.choice.reason}")
        self.serving = Serving(
            self.spec.serve,
            self.model,
            max_adapters=len(self.spec.train.seeds),
            rank=self.spec.train.rank,
            folder=self.folder,
            progress=self.progress,
        )
        with self.serving:
            self.progress.stage("baseline")
            base = self.candidate("base", prompts.raw_prompt(self.experiment.instruction))
            self.judge(base)
            self.progress.stage("prompt race")
            raced = self.race_prompts()
            best = self.candidate("best_prompt", raced.winner)
            best_run = self.judge(best)
            if self.is_enough(best_run):
                return self.verdict("prompt_suffices", self.enough_reason(best_run), best, ())
            self.progress.stage("training")
            training = self.train()
            self.progress.stage("evaluation")
            tuned = self.pick(training)
            self.judge(tuned)
            self.judge_suites(base, tuned)
        self.progress.stage("verdict")
        judged = self.gate(tuned)
        decision, reason = gates.decide(judged)
        return self.verdict(decision, reason, tuned, judged)

    # ------------------------------------------------------------ before training

    def check_data(self) -> None:
        """Audit the data; what would make the verdict a lie stops here."""
        record = self.folder.read(DataRecord)
        if record is None:
            record = data.audit(self.experiment.data)
            data.refuse_errors(record)
            self.folder.write(record)
        sizes = ", ".join(f"{split.rows} {name}" for name, split in record.splits.items())
        self.progress.note(f"{sizes}; {len(record.findings)} findings")

    def pin_provenance(self, engine: str) -> None:
        """Record where and with what; refuse to go on with another model than the one begun with."""
        earlier = self.folder.read(Provenance)
        if earlier is None:
            spec = self.spec
            seeds: dict[str, int | tuple[int, ...]] = {
                "data": spec.data.seed,
                "prompt": spec.prompt.seed,
                "train": spec.train.seeds,
            }
            self.folder.write(
                machine.provenance(self.experiment.id, self.experiment.folder, self.model.ref, engine, seeds)
            )
        elif earlier.model.digest != self.model.ref.digest:
            digests = f"{self.model.ref.digest[:8]}, was {earlier.model.digest[:8]}"
            what = f"is not the one this experiment began with ({digests})"
            hint = "Give the experiment another name, or pin the model with `revision`"
            raise NotComparableError(Problem(f"model {self.spec.model}", what, next=hint))

    def race_prompts(self) -> PromptRecord:
        """The best prompt that the budget finds. It is handed train and dev, never test."""
        record = self.folder.read(PromptRecord)
        if record is None:
            rows = self.experiment.data
            if self.spec.prompt.search == "none":
                record = prompts.no_search(self.spec.prompt, self.spec.task, self.experiment.instruction)
            else:
                record = prompts.race(
                    self.spec.prompt,
                    self.spec.task,
                    self.experiment.instruction,
                    rows.train,
                    rows.dev,
                    self.serving.engine,
                    self.folder,
                    self.progress,
                )
            self.folder.write(record)
        self.progress.note(f"best prompt: {record.winner.name} ({_share(record.winner_dev.value)} on dev)")
        return record

    def is_enough(self, best: RunRecord) -> bool:
        """Whether the best prompt is good enough with confidence, so that training is not worth it."""
        score = best.metrics[0].estimate
        return self.spec.enough is not None and score.low is not None and score.low > self.spec.enough

    def enough_reason(self, best: RunRecord) -> str:
        """Why nothing is trained."""
        score = best.metrics[0].estimate
        return (
            f"The best prompt alone scores {_share(score.value)} on {best.metrics[0].metric} "
            f"(95 % interval from {_share(score.low)}, n = {score.n}), above the {_share(self.spec.enough)} "
            "that is enough; nothing was trained."
        )

    # -------------------------------------------------------------- train and judge

    def train(self) -> TrainingRecord:
        """One training per seed. The engine is closed first: both would not fit a GPU."""
        record = self.folder.read(TrainingRecord)
        if record is not None:
            return record
        self.serving.close()
        spec = self.spec.train
        prompt = Prompt(
            name="trained", instruction=self.experiment.instruction if spec.instruction is None else spec.instruction
        )
        rows = self.experiment.data.train
        results = [trainers.train(spec, rows, prompt, self.model, seed, self.progress) for seed in spec.seeds]
        hours = sum(seed.seconds for seed, _ in results) / 3600
        price = self.spec.budget.gpu_hour_price
        record = TrainingRecord(
            method=spec.method,
            prompt=prompt,
            arguments=spec.arguments,
            device=results[0][0].device or "unknown",
            supervision=results[0][1],
            seeds=tuple(result[0] for result in results),
            cost=None if price is None else round(hours * price, 4),
        )
        self.folder.write(record)
        return record

    def pick(self, training: TrainingRecord) -> Candidate:
        """The seed that does best on dev; with one seed there is nothing to pick."""
        made = [self.tuned(training, seed) for seed in training.seeds]
        for candidate in made:
            if candidate.adapter is not None:
                self.serving.add(candidate.name, candidate.adapter)
        if len(made) == 1:
            return made[0]
        dev = evaluate.task_suite(self.experiment.data.dev, self.spec.task)
        scores = [self.judge(candidate, dev).metrics[0].estimate.value for candidate in made]
        ranked = [-1.0 if score is None else score for score in scores]
        best = ranked.index(max(ranked))
        self.progress.note(f"{made[best].name} does best on dev ({_share(scores[best])}) and is judged")
        return made[best]

    def tuned(self, training: TrainingRecord, seed: SeedTraining) -> Candidate:
        """The candidate of one seed."""
        return self.candidate(f"tuned-seed{seed.seed}", training.prompt, seed.adapter)

    def candidate(self, name: str, prompt: Prompt, adapter: AdapterRef | None = None) -> Candidate:
        """A candidate of this experiment."""
        ref: ModelRef = self.model.ref
        return Candidate(name=name, model=ref, adapter=adapter, prompt=prompt, decoding=self.spec.task.decoding)

    def judge(self, candidate: Candidate, suite: Suite | None = None) -> RunRecord:
        """Evaluate a candidate on a suite (default: the task's test split), once.

        Two names for one candidate (the raw prompt may win the race) share their answers.
        """
        suite = suite or self.task_test
        done = self.folder.run(evaluate.run_id(candidate.name, suite.name, suite.split))
        if done is not None and (done.candidate_digest, done.fingerprint) != (candidate.digest, suite.fingerprint):
            hint = "Delete the experiment's folder to start over"
            raise NotComparableError(Problem(done.id, "holds answers of another candidate or suite", next=hint))
        if done is None:
            twin = next(
                (r for r in self.folder.runs() if r.candidate_digest == candidate.digest and r.suite == suite.name
                 and r.split == suite.split), None,
            )  # fmt: skip
            if twin is not None:
                done = self.folder.copy_run(twin, candidate, evaluate.run_id(candidate.name, suite.name, suite.split))
            else:
                name = candidate.name if candidate.adapter else None
                done = evaluate.evaluate(candidate, suite, self.serving.engine, self.folder, self.progress, name)
        score = done.metrics[-1].estimate
        self.progress.note(
            f"{candidate.name} on {suite.name}/{suite.split}: {_share(score.value)} "
            f"[{_share(score.low)}, {_share(score.high)}] n={score.n}"
        )
        return done

    def judge_suites(self, base: Candidate, tuned: Candidate) -> None:
        """Base and tuned candidate on every further suite, asked as the suite stands."""
        for suite in self.experiment.suites:
            self.judge(base, suite)
            self.judge(tuned, suite)

    # ------------------------------------------------------------------ the verdict

    def gate(self, tuned: Candidate) -> list[GateRecord]:
        """Compare and judge, gate by gate."""
        comparisons: list[ComparisonRecord] = []
        judged = []
        for gate in self.spec.gates:
            candidate, reference = self.run_of(tuned.name, gate.suite), self.run_of(gate.against, gate.suite)
            comparison = compare(
                candidate,
                self.folder.samples(candidate.id),
                reference,
                self.folder.samples(reference.id),
                task=gate.task,
                metric=gate.metric or "primary",
                confidence=0.95,
            )
            comparisons.append(comparison)
            judged.append(gates.judge(gate, comparison))
        self.folder.write_comparisons(comparisons)
        return judged

    def run_of(self, candidate: str, suite: str) -> RunRecord:
        """The test run of a candidate on a suite."""
        found = self.folder.run(evaluate.run_id(candidate, suite, "test"))
        assert found is not None, f"no run of {candidate} on {suite}"  # noqa: S101  the stages before made it
        return found

    def verdict(
        self, decision: Decision, reason: str, candidate: Candidate, judged: Sequence[GateRecord]
    ) -> VerdictRecord:
        """The decision with all its evidence pinned."""
        runs = [run for run in self.folder.runs() if run.split == "test"]
        return VerdictRecord(
            experiment=self.experiment.id,
            hypothesis=self.spec.hypothesis,
            decision=decision,
            exit_code=EXIT_CODES[decision],
            reason=reason,
            candidate=candidate.name,
            gates=tuple(judged),
            runs=tuple(
                JudgedRun(run=run.id, candidate_digest=run.candidate_digest, samples_digest=run.samples_digest)
                for run in runs
            ),
            warnings=caveats(runs, self.folder, self.spec.train.seeds),
            created=_now(),
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _share(value: float | None) -> str:
    return "unscored" if value is None else f"{100 * value:.1f} %"
