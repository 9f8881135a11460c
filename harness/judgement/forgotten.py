"""What the adapters of an experiment forgot: those that were judged, and the trials of a sweep against forgetting."""

from __future__ import annotations

from collections.abc import Iterable

from harness import forgetting
from harness.progress import Progress
from harness.records import AdapterRef, Candidate, ForgettingRecord, SweepRecord, TrialRecord
from harness.serving import Serving
from harness.store import ExperimentStore
from harness.trainers import TrainSpec, trades


def measure_forgetting(
    spec: TrainSpec, candidates: Iterable[Candidate], folder: ExperimentStore, serving: Serving, progress: Progress
) -> None:
    """General text and KL to the base model for every adapter, beside the suites' scores; once."""
    if folder.read(ForgettingRecord) is not None:
        return
    if spec.method == "classifier":
        progress.note("forgetting is not measured: a classifier writes no text")
        return
    if spec.method == "managed":
        progress.note("forgetting is not measured: a service gives no log-likelihoods of text")
        return
    texts = forgetting.load()
    if texts is None:
        progress.note("forgetting is not measured: the bundled suites, with the general text, are not here")
        return
    refs = [one.adapter for one in candidates if one.adapter is not None]
    adapters = {serving.name_of(ref): ref for ref in refs} | _trials(spec, folder, serving, refs)
    record = forgetting.measure(serving.engine, adapters, texts, progress)
    folder.write(record)
    for one in record.adapters:
        progress.note(forgetting.told(one))


def _trials(
    spec: TrainSpec, folder: ExperimentStore, serving: Serving, judged: list[AdapterRef]
) -> dict[str, AdapterRef]:
    """The trials of a sweep over replay by the name under which they are served; what was judged is there already."""
    sweep = folder.read(SweepRecord) if trades(spec) else None
    known, found = {ref.digest for ref in judged}, dict[str, AdapterRef]()
    for trial in sweep.trials if sweep is not None else ():
        if trial.adapter is not None and trial.adapter.digest not in known:
            known.add(trial.adapter.digest)
            found[name_of(trial)] = trial.adapter
            serving.add(name_of(trial), trial.adapter)
    return found


def name_of(trial: TrialRecord) -> str:
    """Under which a trial is served."""
    return f"trial-{trial.number}"
