"""Whether what was judged is still what it was: the runs that a verdict rests on, and the weights that it judged."""

from __future__ import annotations

from harness import artifacts, models
from harness.errors import HarnessError, ModelError, Problem
from harness.models import LocalModel
from harness.models.folder import describe
from harness.records import Candidate, VerdictRecord
from harness.store import ExperimentStore
from harness.trainers import folder_of


def run_problems(folder: ExperimentStore, verdict: VerdictRecord) -> list[Problem]:
    """Runs that the verdict pins and that are gone or not what was judged; every sample is looked at."""
    problems, hint = [], "Restore the folder, or run the experiment again in another store"
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
        path = folder_of(adapter)
        where = f"{candidate.name}: {path}"
        if not path.is_dir():
            hint = "Point HARNESS_HOME to where it was trained, or copy the folder from there"
            problems.append(Problem(where, "its weights are gone", next=hint))
        elif artifacts.digest_folder(path) != adapter.digest:
            problems.append(Problem(where, "its weights are not those that were judged", next="Restore the folder"))
        if adapter.kind == "model":
            return problems, notes
    try:
        base = base_model(folder, candidate)
    except HarnessError as fault:
        return [*problems, *fault.problems], notes
    if base is None:
        notes.append(f"the base model {candidate.model.name} is not on this machine and was not looked at")
    return problems, notes


def base_model(folder: ExperimentStore, candidate: Candidate) -> LocalModel | None:
    """The base model as it lies on this machine, held against the one that was judged; fetches nothing.

    None where it is not here. Raises ModelError for another model under its name.
    """
    name = str(folder.spec().get("model") or candidate.model.name)
    path = models.on_disk(name, folder.path)
    if path is None:
        return None
    found = describe(name, path, candidate.model.revision)
    refuse_other(found, candidate)
    return found


def refuse_other(found: LocalModel, candidate: Candidate) -> None:
    """Raise ModelError where a model is not the one that the candidate was judged on."""
    if found.ref.digest != candidate.model.digest:
        digests = f"{found.ref.digest[:8]} instead of {candidate.model.digest[:8]}"
        what = f"is not the one that was judged ({digests})"
        where = f"model {found.ref.name} ({found.path})"
        raise ModelError(Problem(where, what, next="Restore the weights, tokenizer and template"))
