"""Whether what was judged is still what it was: the runs that a verdict rests on, and the weights that it judged."""

from __future__ import annotations

from harness import models, trainers
from harness.errors import HarnessError, Problem
from harness.models.folder import describe
from harness.records import Candidate, VerdictRecord
from harness.store import ExperimentStore


def run_problems(folder: ExperimentStore, verdict: VerdictRecord) -> list[Problem]:
    """Runs that the verdict pins and that are gone or not what was judged; every sample is looked at.

    Also a verdict that says promote over gates that did not pass: it was edited.
    """
    problems, hint = [], "Restore the folder, or run the experiment again in another store"
    mine = [gate for gate in verdict.gates if gate.candidate in ("", verdict.candidate) and gate.blocking]
    if verdict.decision == "promote" and any(gate.outcome != "pass" for gate in mine):
        what = "says promote over a blocking gate that did not pass: it is not as it was judged"
        problems.append(Problem(f"{folder.id}/verdict.json", what, next=hint))
    for pinned in verdict.runs:
        where = f"{folder.id}/runs/{pinned.run}"
        try:
            run = folder.run(pinned.run)
            if run is None:
                problems.append(Problem(where, "is gone, and the verdict rests on it", next=hint))
            elif (run.candidate_digest, run.samples_digest) != (pinned.candidate_digest, pinned.samples_digest):
                problems.append(Problem(where, "is not the run that the verdict rests on", next=hint))
            else:
                folder.samples(run.id)
        except HarnessError as fault:
            problems += fault.problems
    return problems


def weight_problems(folder: ExperimentStore, candidate: Candidate) -> tuple[list[Problem], list[str]]:
    """What is wrong with the weights of a candidate on this machine, and what of them could not be looked at here."""
    adapter, problems, notes = candidate.adapter, list[Problem](), list[str]()
    if adapter is not None and adapter.kind == "remote":
        notes.append(f"the weights of {adapter.remote} lie at a server and were not looked at")
    elif adapter is not None:
        try:
            trainers.weights_of(adapter, f"{folder.id}: {candidate.name}")
        except HarnessError as fault:
            problems += fault.problems
        if adapter.kind == "model":
            return problems, notes
    try:
        here = _base_is_here(folder, candidate)
    except HarnessError as fault:
        return [*problems, *fault.problems], notes
    if not here:
        notes.append(f"the base model {candidate.model.name} is not on this machine and was not looked at")
    return problems, notes


def _base_is_here(folder: ExperimentStore, candidate: Candidate) -> bool:
    """Whether the base model lies on this machine; fetches nothing. Raises ModelError for another under its name."""
    name = str(folder.spec().get("model") or candidate.model.name)
    path = models.on_disk(name, folder.path)
    if path is None:
        return False
    models.refuse_other(describe(name, path, candidate.model.revision, candidate.model.remote_code), candidate.model)
    return True
