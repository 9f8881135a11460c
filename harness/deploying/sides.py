"""The two sides of a deploy gate: who answers, by content, and on what evidence of its training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from harness import models, prompts, trainers
from harness.deploying import taking
from harness.deploying.naming import BASE, Named
from harness.deploying.spec import CANDIDATE, REFERENCE, SideSpec, stored_part
from harness.engines import ServeSpec
from harness.errors import ModelError, Problem, UsageError
from harness.judgement import asked_as
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import Candidate, Decoding, Prompt, TrainingRecord, digest
from harness.spec import Experiment
from harness.store import ExperimentStore, Store


@dataclass(frozen=True, slots=True)
class Side:
    """One side, ready to be asked."""

    spec: SideSpec
    training: TrainingRecord | None = None
    """How its adapter was trained, of its seed alone, where that is known."""

    @property
    def candidate(self) -> Candidate:
        """Who answers."""
        return self.spec.candidate

    @property
    def remote(self) -> bool:
        """Whether a server answers whose weights nobody here sees."""
        return self.spec.serve.engine == "openai"

    def resolved(self, near: Path, progress: Progress) -> LocalModel:
        """Its base model, on this machine. Raises ModelError where that is another one than was named."""
        wanted = self.candidate.model
        trusted = wanted.remote_code  # as its experiment did; the digest below holds the code to what it was
        model = models.resolve(
            self.spec.model, revision=self.spec.revision, near=near, trusted=trusted, note=progress.note
        )
        if self.spec.kind == "url":
            return replace(model, ref=wanted)
        if model.ref.digest != wanted.digest:
            what = f"is not the one of {self.spec.given}: {model.ref.digest[:8]}, and that is of {wanted.digest[:8]}"
            raise ModelError(Problem(f"model {self.spec.model}", what, next="Restore it, or pin it with `revision`"))
        return model


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of both sides."""

    model: str | None
    """The candidate's base model; at a URL the server's name for it."""
    against_model: str | None
    """Of a reference at a URL the server's name for its model."""
    engine: str | None
    """Who serves what is not served elsewhere."""


def both(
    candidate: Named, reference: Named, wishes: Wishes, task: Experiment | None, store: Store, progress: Progress
) -> tuple[Side, Side]:
    """Candidate and reference. Raises a HarnessError where one of them cannot be had; writes nothing into the store.

    Who has no prompt of its own is asked as the reference is, else under the task's raw prompt.
    """
    served = _served(candidate, reference, wishes)
    raw = _Asking(
        prompts.raw_prompt(task.instruction if task else ""), task.spec.task.decoding if task else Decoding(), None
    )
    if reference.kind == "base" and reference.given == BASE:
        ours = _side(candidate, CANDIDATE, wishes.model, served, raw, store, progress)
        base = ours.candidate.model_copy(
            update={"name": REFERENCE, "adapter": None, "prompt": raw.prompt, "decoding": raw.decoding}
        )
        if asked_as(base) == asked_as(ours.candidate):
            hint = "Name the model that it was trained from: --model BASE, or in --against"
            raise UsageError(Problem("--against base", f"{candidate.given} is its own base model", next=hint))
        spec = ours.spec.model_copy(update={"given": BASE, "kind": "base", "experiment": None, "candidate": base})
        return ours, Side(spec)
    theirs = _side(reference, REFERENCE, wishes.against_model, served, raw, store, progress)
    drop_in = (
        raw if reference.kind in ("base", "url") else _Asking(theirs.candidate.prompt, theirs.candidate.decoding, None)
    )
    given = replace(drop_in, model=None if theirs.remote else theirs.spec.model)
    return _side(candidate, CANDIDATE, wishes.model, served, given, store, progress), theirs


@dataclass(frozen=True, slots=True)
class _Asking:
    """How one is asked that does not say it itself; and the other side's base model."""

    prompt: Prompt
    decoding: Decoding
    model: str | None


def _served(candidate: Named, reference: Named, wishes: Wishes) -> ServeSpec:
    """How what is served here is served: as is wished, else as the reference's experiment, else the candidate's."""
    if wishes.engine is not None:
        return ServeSpec.model_validate({"engine": wishes.engine})
    for one in (reference, candidate):
        if one.folder is not None and (found := serve_of(one.folder)).engine != "openai":
            return found
    return ServeSpec()


def serve_of(folder: ExperimentStore) -> ServeSpec:
    """How an experiment, or a gate, serves."""
    return stored_part(folder, "serve", ServeSpec, folder.spec().get("serve") or {})


def _side(
    named: Named, role: str, model: str | None, served: ServeSpec, asking: _Asking, store: Store, progress: Progress
) -> Side:
    if named.folder is not None and named.candidate is not None:
        return _of_experiment(named, named.folder, named.candidate, role, served)
    if named.kind == "url":
        return _at_url(named, role, model, asking)
    if named.kind == "adapter" or (named.kind == "model" and model is not None):
        return _taken(named, role, taking.base_of(Path(named.given), model, asking.model), served, asking, store,
                      progress)  # fmt: skip
    found = models.resolve(named.given, note=progress.note)
    if found.remote_name is not None:
        raise UsageError(Problem(named.given, "is only a name at a server", next="Give its URL, and --model NAME"))
    prompt = (trainers.trained_prompt(found.path) if named.kind == "model" else None) or asking.prompt
    answers = Candidate(name=role, model=found.ref, prompt=prompt, decoding=asking.decoding)
    return Side(SideSpec(given=named.given, kind=named.kind, model=named.given, serve=served, candidate=answers))


def _of_experiment(named: Named, folder: ExperimentStore, answers: Candidate, role: str, served: ServeSpec) -> Side:
    """What an experiment, one of its runs or an alias names. Its weights must still be there."""
    told = folder.spec()
    part = told.get("reference") if named.kind == "run" and answers.name == REFERENCE else None
    part = part if isinstance(part, dict) else None
    model = str((part or told).get("model") or answers.model.name)
    here = folder.path / model
    adapter = answers.adapter
    if adapter is not None and adapter.kind != "remote":
        alias = f"alias {named.given}: " if named.kind == "alias" else ""
        trainers.weights_of(adapter, f"{alias}{folder.id}")
    own = stored_part(folder, "serve", ServeSpec, (part or told).get("serve") or {})
    side = SideSpec(
        given=named.given,
        kind=named.kind,
        experiment=folder.id,
        move=named.move,
        model=str(here) if here.is_dir() else model,
        revision=(part or told).get("revision"),
        serve=own if own.engine == "openai" else served,
        candidate=answers.model_copy(update={"name": role}),
    )
    return Side(side, training_of(folder, answers))


def training_of(folder: ExperimentStore, answers: Candidate) -> TrainingRecord | None:
    """The training of a candidate's adapter, of its seed alone. What it cost stands in its own experiment."""
    record = folder.read(TrainingRecord)
    if record is None or answers.adapter is None:
        return None
    own = tuple(seed for seed in record.seeds if seed.adapter.digest == answers.adapter.digest)
    return record.model_copy(update={"seeds": own, "cost": None}) if own else None


def _at_url(named: Named, role: str, model: str | None, asking: _Asking) -> Side:
    if model is None:
        option = "--model" if role == CANDIDATE else "--against-model"
        raise UsageError(Problem(named.given, "which model of this server?", next=f"Name it: {option} NAME"))
    try:
        serve = ServeSpec.model_validate({"engine": "openai", "url": spelled_alike(named.given), "api_model": model})
    except ValidationError as fault:  # the URL is not repeated: it may hold a password
        where = "candidate" if role == CANDIDATE else "--against"
        raise UsageError([Problem(where, one["msg"].removeprefix("Value error, ")) for one in fault.errors()]) from None
    ref = models.remote(model).ref
    ref = ref.model_copy(update={"digest": digest({"served model": model, "url": serve.url})})  # not by name alone
    answers = Candidate(name=role, model=ref, prompt=asking.prompt, decoding=asking.decoding)
    return Side(SideSpec(given=named.given, kind="url", model=f"openai:{model}", serve=serve, candidate=answers))


def spelled_alike(url: str) -> str:
    """A URL in the one spelling that all of its spellings share: letter case of the host, usual port, last slash."""
    try:
        parts = urlsplit(url)
        usual = parts.port == {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # told by who asks it
        return url
    host = parts.netloc.removesuffix(f":{parts.port}") if usual else parts.netloc
    return parts._replace(netloc=host.lower(), path=parts.path.rstrip("/")).geturl()


def _taken(
    named: Named, role: str, base: str, served: ServeSpec, asking: _Asking, store: Store, progress: Progress
) -> Side:
    folder = Path(named.given).expanduser()
    if not Path(base).is_dir() and (folder / base).is_dir():  # as the adapter's own configuration spells it
        base = str(folder / base)
    model = models.resolve(base, note=progress.note)
    prompt = trainers.trained_prompt(folder) or asking.prompt
    training = taking.take(folder, model, prompt, store, progress)
    answers = Candidate(
        name=role, model=model.ref, adapter=training.seeds[0].adapter, prompt=prompt, decoding=asking.decoding
    )
    spec = SideSpec(given=named.given, kind=named.kind, model=base, serve=served, candidate=answers)
    return Side(spec, training)
