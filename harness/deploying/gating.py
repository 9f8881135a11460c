"""The page of the deploy gate: from two sides to a verdict.

    runs of the store -> serve the candidate -> looks -> ask -> the reference, where another engine serves it -> judge

What is done is not done again: a gate that was killed goes on where it was, and an unchanged one ends at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import engines, evaluate, machine, report
from harness.deploying import stored, taking
from harness.deploying.planning import Deployment
from harness.deploying.sides import Side
from harness.deploying.spec import CANDIDATE, DEFAULT_MARGIN
from harness.engines.base import Engine
from harness.errors import EngineError, NotComparableError, Problem
from harness.judgement import Answers, Contender, Court, Wanted, asked_as
from harness.progress import Progress
from harness.records import (
    Conditions,
    GatedRecord,
    ParityRecord,
    Provenance,
    ReferenceConditions,
    SeedTraining,
    SideRecord,
    TrainingRecord,
    VerdictRecord,
)
from harness.serving import Serving
from harness.store import ExperimentStore, Store
from harness.suites import Suite


def run(gate: Deployment, store: Store, progress: Progress) -> VerdictRecord:
    """Run or resume a deploy gate to its verdict.

    Raises NotComparableError for two sides whose answers could not be compared, before anything is asked, and any
    HarnessError of an engine that cannot serve; what was done stays.
    """
    folder = store.at(gate.id)
    verdict = folder.read(VerdictRecord)
    if verdict is not None:
        progress.note(f"{gate.id} has its verdict of {verdict.created}; nothing to do")
        if gate.candidate.remote or gate.reference.remote:
            progress.note("a server may have other weights by now under the same name: --name makes another gate")
        if not (folder.path / "junit.xml").exists():  # it was killed after its verdict
            report.write_reports(folder)
        return verdict
    refuse_unlike(gate)
    _answering(gate)
    folder = store.create(gate.id, gate.resolved_yaml(folder.path), gate.task.files if gate.task else {})
    spec, near = gate.spec, gate.task.folder if gate.task else Path.cwd()
    with folder.lock(), evaluate.aided(spec.allow_code_execution, spec.judge, progress.note, near):
        verdict = _Gate(gate, folder, store, progress).to_verdict()
        folder.write(verdict)
        report.write_reports(folder)
    return verdict


def refuse_unlike(gate: Deployment) -> None:
    """Raise NotComparableError for sides that would be answered under unlike conditions, unless that is meant."""
    if gate.spec.as_deployed:
        return
    ours, theirs = gate.candidate, gate.reference
    told = []
    names = [_engine_name(side.spec.serve) for side in (ours, theirs)]
    if names[0] != names[1]:
        told.append(f"{names[0]} answers for the candidate and {names[1]} for the reference")
    elif names[0] == "openai" and ours.spec.serve != theirs.spec.serve:
        told.append("two servers' models answer")
    templates = [side.candidate.model.chat_template_digest for side in (ours, theirs)]
    if "openai" not in names and templates[0] != templates[1]:
        told.append("their base models have other chat templates")
    if told:
        hint = "Add --as-deployed to compare the two deployments as they are, engine and template included"
        raise NotComparableError(Problem("harness gate", "; ".join(told), next=hint))


def _answering(gate: Deployment) -> None:
    """Raise EngineError for a server that does not answer, before anything is written."""
    for side in (gate.candidate, gate.reference):
        serve = side.spec.serve
        if serve.engine == "openai" and serve.url:
            name = serve.api_model or side.spec.model.removeprefix("openai:")
            with engines.open_endpoint(serve.url, name, serve.api_key_env):
                pass


class _Gate:
    """One gate on its way to the verdict. Every method is one stage."""

    def __init__(self, gate: Deployment, folder: ExperimentStore, store: Store, progress: Progress) -> None:
        self.gate, self.folder, self.store, self.progress = gate, folder, store, progress
        self.ours, self.theirs = gate.candidate, gate.reference
        self.case = gate.case
        self.test = evaluate.task_suite(gate.task.data.test.unseal(), gate.task.spec.task) if gate.task else None
        self.library = gate.task.shelves(progress.note) if gate.task else None
        self.asked: list[Suite] = [*([self.test] if self.test else []), *gate.suites]
        self.together = _served_together(self.ours, self.theirs)

    def to_verdict(self) -> VerdictRecord:
        """All stages in order."""
        self.record_training()
        self.take_stored(None)
        owed = self.owed(self.ours) or (self.together and self.owed(self.theirs))
        serving = self.serving([self.ours, *([self.theirs] if self.together else [])]) if owed else _Unneeded()
        court = Court(self.case, self.folder, self.store.looks, serving, self.progress, self.library)
        with serving:
            if owed:
                self.progress.stage("serving")
                self.prove(serving, [self.ours, *([self.theirs] if self.together else [])])
                self.take_stored(serving.engine.conditions)
            self.pin()
            self.progress.stage("evaluation")
            contender = court.enter_against(self.ours.candidate, self.theirs.candidate)
            if self.together and self.test is not None:
                court.evaluate_all([self.theirs.candidate], self.test)
            court.examine([contender], self.theirs.candidate if self.together else None, self.test)
        if not self.together:
            self.ask_reference()
        self.progress.stage("verdict")
        return self.judged(court, contender)

    # ------------------------------------------------------------------- before asking

    def record_training(self) -> None:
        """What is known of how the candidate was trained: its prompt, its curves, its probes."""
        if self.ours.training is not None and self.folder.read(TrainingRecord) is None:
            self.folder.write(self.ours.training)

    def take_stored(self, conditions: Conditions | None) -> None:
        """Take over what the store holds: without an engine where that is all, else what fits the engine's conditions.

        Two deployments as they are may each have conditions of their own.
        """
        if self.gate.timed:
            return
        sides = [side for side in (self.ours, self.theirs) if not side.remote]
        found = stored.search(self.store, self.folder, [one for side in sides for one in self.wanted(side)])
        apart = self.gate.spec.as_deployed
        for group in [[side] for side in sides] if apart else [sides]:
            begun = self.folder.read(ReferenceConditions if group == [self.theirs] and apart else Conditions)
            wanted = [one for side in group for one in self.wanted(side)]
            alike = conditions if self.ours in group else None
            if alike is None and begun is None and (apart or len(group) == 2):
                alike = stored.common([found[one.id] for one in wanted])
            if (conditions_of := alike or begun) is not None:
                stored.take(self.folder, wanted, found, conditions_of)

    def wanted(self, side: Side) -> list[Wanted]:
        """Every run of one side."""
        return [Wanted(side.candidate, suite) for suite in self.asked]

    def owed(self, side: Side) -> bool:
        """Whether a run of this side is not there yet."""
        return any(self.folder.run(one.id) is None for one in self.wanted(side))

    def serving(self, sides: Sequence[Side], pinned: type[Conditions] = Conditions) -> Serving:
        """Serves these sides, which share their base model; started when it is first asked."""
        adapters = [side.candidate.adapter for side in sides if side.candidate.adapter is not None]
        here = [one for one in adapters if one.kind in ("lora", "peft")]
        serve = sides[0].spec.serve
        return Serving(
            serve.model_copy(update={"cache": False}) if self.gate.timed else serve,
            sides[0].resolved(self.gate.folder, self.progress),
            max_adapters=sum(one.kind == "lora" for one in {one.digest: one for one in adapters}.values()),
            rank=max([1, *(taking.rank_of(one) for one in here)]),
            folder=self.folder,
            progress=self.progress,
            pinned=pinned,
        )

    def prove(self, serving: Serving, sides: Sequence[Side]) -> None:
        """Load the adapters, each of which must act, and hold the engine against what their trainings say."""
        known: dict[str, SeedTraining] = {}
        loaded = set[str]()
        for side in sides:
            adapter = side.candidate.adapter
            if adapter is None or adapter.digest in loaded:
                continue
            loaded.add(adapter.digest)
            serving.add(side.candidate.name, adapter)
            if side.training is not None:
                known[side.candidate.name] = side.training.seeds[0]
        proven = serving.parity(known) if known else None
        if proven is not None and CANDIDATE in known and self.folder.read(ParityRecord) is None:
            self.folder.write(proven)

    def pin(self) -> None:
        """Where and with what. Of what was all in the store already, the conditions are those of its runs."""
        runs = [self.folder.run(one.id) for one in self.wanted(self.ours)]
        done = next((one for one in runs if one is not None), None)
        if self.folder.read(Conditions) is None and done is not None:
            self.folder.write(done.conditions)
        conditions = self.folder.read(Conditions)
        self.carry_parity()
        if self.folder.read(Provenance) is None and conditions is not None:
            engine = f"{conditions.engine} {conditions.engine_version}"
            made = machine.provenance(self.gate.id, Path.cwd(), self.ours.candidate.model, engine, {})
            self.folder.write(made)

    def carry_parity(self) -> None:
        """What the candidate's own experiment found, where its answers were all taken over and nothing was served."""
        adapter, of = self.ours.candidate.adapter, self.ours.spec.experiment
        if adapter is None or of is None or self.folder.read(ParityRecord) is not None or not self.store.holds(of):
            return
        proven = self.store.at(of).read(ParityRecord)
        rows = [row for row in (proven.adapters if proven else ()) if row.adapter == adapter.digest]
        if proven is not None and rows:
            own = rows[0].model_copy(update={"candidate": CANDIDATE})
            self.folder.write(proven.model_copy(update={"adapters": (own,)}))

    def ask_reference(self) -> None:
        """The reference, where the candidate's engine does not serve it."""
        if not self.owed(self.theirs):
            return
        self.progress.stage("reference")
        apart = self.gate.spec.as_deployed
        with self.serving([self.theirs], ReferenceConditions if apart else Conditions) as serving:
            self.prove(serving, [self.theirs])
            if not apart:
                stored_here = stored.search(
                    self.store, self.folder, [] if self.theirs.remote else self.wanted(self.theirs)
                )
                stored.take(self.folder, self.wanted(self.theirs), stored_here, serving.engine.conditions)
            answers = Answers(self.folder, serving, self.progress, self.library, timed=self.gate.timed)
            answers.evaluate_all(self.wanted(self.theirs))

    # ------------------------------------------------------------------------- judging

    def judged(self, court: Court, contender: Contender) -> VerdictRecord:
        """The sides, then the verdict with what this gate alone has to say against it."""
        if self.folder.read(GatedRecord) is None:
            self.folder.write(
                GatedRecord(
                    candidate=_told(self.ours),
                    reference=_told(self.theirs),
                    by_default=self.gate.spec.by_default,
                    reused=stored.reused(self.folder),
                    as_deployed=self.gate.spec.as_deployed,
                )
            )
        verdict = court.verdict([contender])
        return verdict.model_copy(update={"warnings": (*verdict.warnings, *self.further())})

    def further(self) -> list[str]:
        """What a reader should know of this gate."""
        spec, told = self.gate.spec, list[str]()
        runs = [self.folder.run(self.wanted(side)[0].id) for side in (self.ours, self.theirs)]
        ours, theirs = (one.conditions.model_dump() if one else {} for one in runs)
        unlike = [field for field in ours if ours[field] != theirs.get(field)]
        if asked_as(self.ours.candidate) == asked_as(self.theirs.candidate):
            told.append("Candidate and reference are one and the same: weights, prompt and decoding.")
        if unlike:
            told.append(f"Compared as deployed: the two sides differ in {', '.join(unlike)}.")
        if spec.by_default:
            suites = ", ".join(spec.by_default)
            told.append(f"No gate of the policy is on {suites}: at most {100 * -DEFAULT_MARGIN:g} points may be lost.")
        model = self.ours.candidate.model.name
        named = taking.named_base(Path(self.ours.spec.given)) if self.ours.spec.kind == "adapter" else None
        if named and named not in (model, self.ours.spec.model):
            told.append(f"The adapter's own configuration names {named} as its base model; it was served over {model}.")
        return told


class _Unneeded(Serving):
    """Where every answer is there already: needs no weights and starts nothing."""

    def __init__(self) -> None:
        pass

    @property
    def engine(self) -> Engine:
        """Never asked."""
        raise AssertionError("every answer was there")

    def close(self) -> None:
        """Nothing runs."""


def _engine_name(serve: engines.ServeSpec) -> str:
    """Who would answer; where nobody can here, who is asked for: what is in the store needs no engine."""
    try:
        return engines.choose(serve).name
    except EngineError:
        return serve.engine


def _served_together(ours: Side, theirs: Side) -> bool:
    """Whether one engine serves both: one base model, served in one way."""
    return ours.candidate.model.digest == theirs.candidate.model.digest and ours.spec.serve == theirs.spec.serve


def _told(side: Side) -> SideRecord:
    spec = side.spec
    return SideRecord(
        given=spec.given, kind=spec.kind, experiment=spec.experiment, move=spec.move, candidate=spec.candidate
    )
