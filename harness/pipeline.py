"""The page: the order of the stages, and the only file that knows it.

    spec -> data -> baseline -> prompt race -> enough? -> train -> serve -> evaluate -> compare -> gate -> report

Each stage reads the records before it and leaves one record behind. A stage whose
record is there is not run again; so a killed experiment goes on where it was, and an
unchanged one ends at once.
"""

from __future__ import annotations

from harness import data, evaluate, machine, models, prompts, report, trainers
from harness.engines import Choice, choose
from harness.errors import NotComparableError, Problem
from harness.judgement import Contender, Court, share
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import (
    AdapterRef,
    Candidate,
    DataRecord,
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
from harness.store import ExperimentStore, Looks, Store


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
        verdict = _Line(experiment, model, choice, folder, store.looks, progress).to_verdict()
        folder.write(verdict)
        report.write_reports(folder)
    return verdict


class _Line:
    """The straight line over one experiment. Every method is one stage."""

    def __init__(
        self,
        experiment: Experiment,
        model: LocalModel,
        choice: Choice,
        folder: ExperimentStore,
        looks: Looks,
        progress: Progress,
    ) -> None:
        self.spec = experiment.spec
        self.model = model
        self.choice = choice
        self.experiment = experiment
        self.folder = folder
        self.looks = looks
        self.progress = progress

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
        self.court = Court(self.experiment, self.folder, self.looks, self.serving, self.progress)
        test = evaluate.task_suite(self.experiment.data.test.unseal(), self.spec.task)
        with self.serving:
            self.progress.stage("baseline")
            base = self.candidate("base", prompts.raw_prompt(self.experiment.instruction))
            self.court.evaluate(base, test)
            self.progress.stage("prompt race")
            raced = self.race_prompts()
            best = self.candidate("best_prompt", raced.winner)
            best_run = self.court.evaluate(best, test)
            if self.is_enough(best_run):
                return self.court.record("prompt_suffices", self.enough_reason(best_run), best.name)
            self.progress.stage("training")
            training = self.train()
            self.progress.stage("evaluation")
            contenders = self.pick(training)
            self.court.examine(contenders, base, test)
        self.progress.stage("verdict")
        return self.court.verdict(contenders)

    # ------------------------------------------------------------ before training

    def check_data(self) -> None:
        """Audit the data; what would make the verdict a lie stops here."""
        record = self.folder.read(DataRecord)
        if record is None:
            record = self.experiment.audited
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
        self.progress.note(f"best prompt: {record.winner.name} ({share(record.winner_dev.value)} on dev)")
        return record

    def is_enough(self, best: RunRecord) -> bool:
        """Whether the best prompt is good enough with confidence, so that training is not worth it."""
        score = best.metrics[0].estimate
        return self.spec.enough is not None and score.low is not None and score.low > self.spec.enough

    def enough_reason(self, best: RunRecord) -> str:
        """Why nothing is trained."""
        score = best.metrics[0].estimate
        return (
            f"The best prompt alone scores {share(score.value)} on {best.metrics[0].metric} "
            f"(95 % interval from {share(score.low)}, n = {score.n}), above the {share(self.spec.enough)} "
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

    def pick(self, training: TrainingRecord) -> list[Contender]:
        """Who meets the test split: the finalists best on dev, or all seeds together for a claim about the recipe."""
        made = [self.tuned(training, seed) for seed in training.seeds]
        for candidate in made:
            if candidate.adapter is not None:
                self.serving.add(candidate.name, candidate.adapter)
        ranked = self.ranked_on_dev(made)
        if self.spec.policy.claim == "recipe":
            return [self.court.enter(ranked)]
        return [self.court.enter([candidate]) for candidate in ranked[: self.spec.finalists]]

    def ranked_on_dev(self, made: list[Candidate]) -> list[Candidate]:
        """Best on dev first; with one seed there is nothing to rank."""
        if len(made) == 1:
            return made
        dev = evaluate.task_suite(self.experiment.data.dev, self.spec.task)
        scores = [self.court.evaluate(candidate, dev).metrics[0].estimate.value for candidate in made]
        order = sorted(range(len(made)), key=lambda at: -(scores[at] or 0.0) if scores[at] is not None else 1.0)
        self.progress.note(f"{made[order[0]].name} does best on dev ({share(scores[order[0]])})")
        return [made[at] for at in order]

    def tuned(self, training: TrainingRecord, seed: SeedTraining) -> Candidate:
        """The candidate of one seed."""
        return self.candidate(f"tuned-seed{seed.seed}", training.prompt, seed.adapter)

    def candidate(self, name: str, prompt: Prompt, adapter: AdapterRef | None = None) -> Candidate:
        """A candidate of this experiment."""
        ref: ModelRef = self.model.ref
        return Candidate(name=name, model=ref, adapter=adapter, prompt=prompt, decoding=self.spec.task.decoding)
