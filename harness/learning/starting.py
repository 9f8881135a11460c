"""The adapter that a training goes on from: a folder, or what an experiment judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness import artifacts
from harness.errors import HarnessError, Problem, TrainingError
from harness.learning.ground import Ground
from harness.records import AdapterRef, VerdictRecord
from harness.store import ExperimentStore

WHERE = "train.start"
NEEDED = ("adapter_config.json", "adapter_model.safetensors")


def start_of(start: str, ground: Ground) -> AdapterRef:
    """The adapter by its folder, or by the id of the experiment beside this one whose judged adapter it is.

    Raises TrainingError when there is none, or it was trained on another base model.
    """
    folder = ground.near / start
    if folder.is_dir() and not (folder / "verdict.json").exists():
        return _of_folder(folder)
    store = ExperimentStore(folder if folder.is_dir() else ground.folder.path.parent / start)
    if not store.path.is_dir():
        allowed = f"A folder, relative to {ground.near}, or an experiment's whole id in {store.path.parent}"
        raise TrainingError(Problem(WHERE, f"{start!r} is neither an adapter nor an experiment", allowed))
    return _judged(store, ground)


def _of_folder(folder: Path) -> AdapterRef:
    """An adapter of the user's own, taken under HARNESS_HOME by content."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise TrainingError(Problem(WHERE, f"{folder} has no {', '.join(missing)}", "A PEFT adapter as safetensors"))
    staging = artifacts.workspace("start") / artifacts.digest_folder(folder)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    for name in (*NEEDED, "prompt.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, staging / name)
    try:
        kind = str(json.loads((staging / NEEDED[0]).read_text(encoding="utf-8")).get("peft_type", "lora")).lower()
        return AdapterRef(digest=artifacts.publish("adapters", staging), method=kind, seed=0)
    except (HarnessError, ValueError) as fault:
        raise TrainingError(Problem(WHERE, f"{folder} cannot be taken: {fault}")) from fault


def _judged(store: ExperimentStore, ground: Ground) -> AdapterRef:
    verdict = store.read(VerdictRecord)
    if verdict is None:
        hint = f"Finish it first: harness run {store.path / 'spec.yaml'}"
        raise TrainingError(Problem(WHERE, f"{store.id} has no verdict yet", next=hint))
    judged = [run.candidate for run in store.runs() if run.candidate.name == verdict.candidate]
    found = next((candidate for candidate in judged if candidate.adapter is not None), None)
    if found is None or found.adapter is None:
        raise TrainingError(Problem(WHERE, f"{store.id} judged {verdict.candidate}, which has no adapter"))
    if found.model.digest != ground.model.ref.digest:
        what = f"{store.id} tuned {found.model.name} ({found.model.digest[:8]}), which is another base model"
        raise TrainingError(Problem(WHERE, what, f"{ground.model.ref.name} ({ground.model.ref.digest[:8]})"))
    if not artifacts.folder("adapters", found.adapter.digest).is_dir():
        hint = "Name its folder, if you have kept a copy; or train it again"
        raise TrainingError(Problem(WHERE, f"the adapter that {store.id} judged is gone", next=hint))
    return found.adapter
