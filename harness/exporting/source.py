"""What is exported: the candidate of an experiment or of an alias, with its base model as it lies on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import evidence, models, trainers
from harness.errors import Problem, UsageError
from harness.models import LocalModel
from harness.models.folder import describe
from harness.records import Candidate, Decision, VerdictRecord
from harness.store import ExperimentStore, Store


@dataclass(frozen=True, slots=True)
class Source:
    """One candidate, ready to be exported."""

    folder: ExperimentStore
    """Experiment that judged it."""
    candidate: Candidate
    model: LocalModel
    """Its base model, held against the one that was judged."""
    decision: Decision | None
    alias: str | None = None
    """Alias by which it was asked for."""

    @property
    def adapter_folder(self) -> Path | None:
        """Where an adapter lies that is served beside the base model; None without one."""
        adapter = self.candidate.adapter
        return None if adapter is None or adapter.kind == "model" else trainers.folder_of(adapter)


@dataclass(frozen=True, slots=True)
class Whole:
    """A model folder that answers as the candidate does, without an adapter beside it."""

    model: LocalModel
    drift: float | None
    """See `trainers.Merged`."""


def bring(store: Store, wanted: str, note: Callable[[str], None] = lambda text: None) -> Source:
    """A candidate with its base model and weights. Raises HarnessError for what cannot be exported, telling why."""
    folder, candidate, move = evidence.deployed(store, wanted)
    _refuse(folder, candidate)
    name = str(folder.spec().get("model") or candidate.model.name)
    model = models.resolve_judged(name, candidate.model, near=folder.path, note=note)
    verdict = folder.read(VerdictRecord)
    return Source(folder, candidate, model, verdict.decision if verdict else None, move.alias if move else None)


def _refuse(folder: ExperimentStore, candidate: Candidate) -> None:
    """What has no weights here, or whose weights are no language model, or not those that were judged."""
    where, adapter = f"{folder.id}: {candidate.name}", candidate.adapter
    if candidate.model.name.startswith("openai:"):
        hint = "Export it where its weights are"
        raise UsageError(Problem(where, "only a server has its model, so there are no weights to export", next=hint))
    if candidate.prompt.fixed_answer is not None:
        raise UsageError(Problem(where, "always gives the same answer and asks no model: there is nothing to export"))
    if adapter is None:
        return
    if adapter.kind == "remote":
        hint = "Export it at the service that trained it"
        raise UsageError(Problem(where, f"was trained and is served elsewhere ({adapter.remote})", next=hint))
    if adapter.kind == "classifier":
        what = "is a label head over the base model: none of these forms can carry it"
        hint = f"Load it with transformers from its folder: {trainers.folder_of(adapter)}"
        raise UsageError(Problem(where, what, next=hint))
    trainers.weights_of(adapter, where)


def whole(source: Source) -> Whole:
    """The candidate as one model: merged where it is an adapter. Raises TrainingError for one that cannot be."""
    adapter = source.candidate.adapter
    if adapter is None:
        return Whole(source.model, None)
    made = trainers.merged(adapter, source.model)
    return Whole(
        describe(f"{source.folder.id}:{source.candidate.name}", made.folder, None, source.model.ref.remote_code),
        made.drift,
    )
