"""The page: the order of the stages, and the only file that knows it.

    spec -> data -> baseline, contestants -> prompt search -> enough? -> train -> serve -> evaluate -> compare
         -> gate -> report

Each stage reads the records before it and leaves one record behind. A stage whose
record is there is not run again; so a killed experiment goes on where it was, and an
unchanged one ends at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness import data, evaluate, learning, machine, models, money, prompts, report, reviewing, trainers
from harness.engines import Choice, choose, open_endpoint
from harness.errors import NotComparableError, Problem, SpecError
from harness.judgement import Contender, Court, measure_forgetting, same_question, share, under
from harness.learning import Ground, learn
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import (
    AdapterRef,
    Candidate,
    DataRecord,
    Decoding,
    ModelRef,
    ParityRecord,
    Prompt,
    PromptRecord,
    Provenance,
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
    folder, prices = store.at(experiment.id), money.resolve(experiment.spec.budget, experiment.folder)
    verdict = folder.read(VerdictRecord)
    if verdict is not None and reviewing.may_judge_again(folder, verdict):
        progress.note(f"people have voted on {experiment.id} since its verdict, which waited for that: judged again")
    elif verdict is not None:
        progress.note(f"{experiment.id} has its verdict; nothing to do")
        if money.pin(folder, prices) or not (folder.path / "report.html").exists():
            report.write_reports(folder)
        return verdict
    progress.stage("model")  # before anything is written: what cannot be had leaves no trace
    choice = choose(experiment.spec.serve)
    progress.note(choice.reason)
    trainers.require_installed(experiment.spec.train)
    spec = experiment.spec
    refuse([*trainers.unservable(spec.train, choice.name), *prompts.missing_packages(spec.prompt)])
    model = _base(experiment, progress)
    refuse(
        prompts.too_long(
            spec.prompt, spec.task, experiment.instruction, experiment.data.train.items, model.path,
            spec.serve.max_model_len or model.context_length, experiment.shelves().passages,
        )
    )  # fmt: skip
    folder = store.create(experiment.id, experiment.resolved_yaml(folder.path), experiment.files)
    with folder.lock(), evaluate.aided(spec.allow_code_execution, spec.judge, progress.note, experiment.folder):
        with money.Meter(folder, prices, progress) as meter:
            verdict = _Line(experiment, model, choice, folder, store.looks, meter).to_verdict()
        folder.set_aside_verdict()
        folder.write(verdict)
        report.write_reports(folder)
    return verdict


def _base(experiment: Experiment, progress: Progress) -> LocalModel:
    spec, near = experiment.spec, experiment.folder
    trusted = spec.trust_remote_code
    return models.resolve(spec.model, revision=spec.revision, near=near, trusted=trusted, note=progress.note)


def help_sweep(experiment: Experiment, store: Store, progress: Progress) -> None:
    """Take trials of the sweep of an experiment that runs elsewhere on this machine, until there is none left."""
    spec = experiment.spec
    trainers.require_installed(spec.train)
    model = _base(experiment, progress)
    learning.help_sweep(spec.train, ground_of(experiment, model, store.at(experiment.id), progress))


def ground_of(experiment: Experiment, model: LocalModel, folder: ExperimentStore, progress: Progress) -> Ground:
    """What the experiment's trainings stand on: train and dev, never test."""
    rows = experiment.data
    return Ground(
        model=model,
        task=experiment.spec.task,
        train=rows.train,
        dev=rows.dev,
        instruction=experiment.instruction,
        near=experiment.folder,
        folder=folder,
        progress=progress,
    )


def refuse(problems: Iterable[Problem]) -> None:
    """Raise SpecError for what the prompt search, or the engine, could not do here."""
    if told := list(problems):
        raise SpecError(told)


class _Line:
    """The straight line over one experiment. Every method is one stage."""

    def __init__(
        self,
        experiment: Experiment,
        model: LocalModel,
        choice: Choice,
        folder: ExperimentStore,
        looks: Looks,
        progress: money.Meter,
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
            self.spec.serving,
            self.model,
            max_adapters=trainers.beside_base(self.spec.train),
            rank=self.spec.train.served_rank,
            folder=self.folder,
            progress=self.progress,
            counted=self.progress.engine,
        )
        self.shelves = self.experiment.shelves(self.progress.note)
        self.court = Court(self.experiment, self.folder, self.looks, self.serving, self.progress, self.shelves)
        test = evaluate.task_suite(self.experiment.data.test.unseal(), self.spec.task)
        with self.serving:
            self.progress.stage("baseline")
            base = self.candidate("base", prompts.raw_prompt(self.experiment.instruction))
            self.court.evaluate_all([base, *self.contestants()], test)
            self.progress.stage("prompt search")
            found = self.search_prompts()
            best = self.candidate("best_prompt", found.winner, decoding=found.winner_decoding)
            suffices = self.court.is_enough(best, test)
            if suffices is not None:
                return suffices
            self.progress.stage("training")
            training = self.train()
            self.progress.stage("evaluation")
            contenders = self.pick(training, best)
            self.court.examine(contenders, base, test)
            self.measure_forgetting(contenders)
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

    def contestants(self) -> list[Candidate]:
        """The baselines beside the raw prompt: few-shot, reasoning, retrieval, the most frequent answer."""
        spec, train = self.spec, self.experiment.data.train
        made = prompts.contestants(spec.prompt, spec.task, self.experiment.instruction, train, self.shelves)
        return [self.candidate(name, arm.prompt, decoding=arm.decoding) for name, arm in made.items()]

    def search_prompts(self) -> PromptRecord:
        """The best prompt that the budget finds. It is handed train and dev, never test."""
        record = self.folder.read(PromptRecord)
        if record is None:
            spec, rows = self.spec, self.experiment.data
            record = prompts.search(
                spec.prompt,
                spec.task,
                self.experiment.instruction,
                rows.train,
                rows.dev,
                self.serving.engine,
                self.shelves,
                self.folder,
                self.progress,
                lambda proposals: open_endpoint(proposals.by, proposals.model),
            )
            self.folder.write(record)
        self.progress.note(f"best prompt: {record.winner.name} ({share(record.winner_dev.value)} on dev)")
        return record

    # -------------------------------------------------------------- train and judge

    def train(self) -> TrainingRecord:
        """One training per seed. The engine is closed first: both would not fit a GPU."""
        spec, ground = self.spec, ground_of(self.experiment, self.model, self.folder, self.progress)
        ground = replace(ground, engine=lambda: self.serving.engine, library=self.shelves)
        return learn(spec.train, ground, gpu_hour_price=self.progress.hour_price, before=self.serving.close)

    def pick(self, training: TrainingRecord, best: Candidate) -> list[Contender]:
        """Who meets the test split: the finalists best on dev, or all seeds together for a claim about the recipe.

        Each under the prompt that it was trained under, and under the best prompt where that is another one: prompt
        and weights together often win. Each is a look; who does better on dev looks first.
        """
        made = [self.tuned(training, seed) for seed in training.seeds]
        for candidate in made:
            if candidate.adapter is not None:
                self.serving.add(candidate.name, candidate.adapter)
        proven, digests = self.folder.read(ParityRecord), [seed.adapter.digest for seed in training.seeds]
        if proven is None or [row.adapter for row in proven.adapters] != digests:  # before any look is taken
            trained = zip((candidate.name for candidate in made), training.seeds, strict=True)
            self.folder.write(self.serving.parity(dict(trained)))
        teams = self.best_on_dev_first([[candidate] for candidate in made])
        if self.spec.policy.claim == "recipe":
            teams = [[candidate for team in teams for candidate in team]]
        teams = teams[: self.spec.finalists]
        labels = self.spec.train.method == "classifier"  # a head reads the prompt that it was trained on
        if self.spec.prompt.with_tuned and not labels and not same_question(made[0], best):
            teams += [[under(candidate, best) for candidate in team] for team in teams]
        return [self.court.enter(team) for team in self.best_on_dev_first(teams)]

    def measure_forgetting(self, contenders: list[Contender]) -> None:
        """General text and KL to the base model for every adapter that was judged, beside the suites' scores."""
        if self.spec.forgetting:
            judged = [candidate for contender in contenders for candidate in contender.candidates]
            measure_forgetting(self.spec.train, judged, self.folder, self.serving, self.progress)

    def best_on_dev_first(self, teams: list[list[Candidate]]) -> list[list[Candidate]]:
        """By their mean score on dev; of equals in the order given. With one there is nothing to rank."""
        if len(teams) == 1:
            return teams
        dev = evaluate.task_suite(self.experiment.data.dev, self.spec.task)
        runs = self.court.evaluate_all([candidate for team in teams for candidate in team], dev)
        values = {run.candidate.name: run.metrics[0].estimate.value for run in runs}

        def mean(team: list[Candidate]) -> float:
            scores = [values[candidate.name] for candidate in team]
            return sum(-1.0 if score is None else score for score in scores) / len(scores)

        means = [mean(team) for team in teams]
        order = sorted(range(len(teams)), key=lambda at: -means[at])
        self.progress.note(f"{teams[order[0]][0].name} does best on dev ({share(means[order[0]])})")
        return [teams[at] for at in order]

    def tuned(self, training: TrainingRecord, seed: SeedTraining) -> Candidate:
        """The candidate of one seed."""
        return self.candidate(f"tuned-seed{seed.seed}", training.prompt, seed.adapter)

    def candidate(
        self, name: str, prompt: Prompt, adapter: AdapterRef | None = None, decoding: Decoding | None = None
    ) -> Candidate:
        """A candidate of this experiment. decoding: its own; by default as the task states."""
        ref: ModelRef = self.model.ref
        return Candidate(
            name=name, model=ref, adapter=adapter, prompt=prompt, decoding=decoding or self.spec.task.decoding
        )
