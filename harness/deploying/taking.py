"""Adapters and whole models that lie in a folder: checked against their base model, taken once, known again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import artifacts, models, trainers
from harness.errors import HarnessError, Problem, TrainingError, UsageError
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import AdapterRef, GatedRecord, Prompt, Provenance, SeedTraining, TrainingRecord, digest
from harness.store import Store
from harness.trainers import Job, TrainSpec
from harness.trainers.base import TRAINER_VERSION
from harness.trainers.taking import CONFIG, NOTHING_SEEN

TAKEN = "taken.json"
"""Under HARNESS_HOME: what was taken before, by the folder's content, its base model and its prompt."""


def base_of(folder: Path, wanted: str | None, reference: str | None) -> str:
    """The base model of a folder: the one that is named, else its own word, else the reference's.

    Raises UsageError where nothing names one.
    """
    if wanted is not None:
        return wanted
    named = named_base(folder)
    if named and named != reference:
        try:
            models.exists(named, near=folder)
        except HarnessError:
            named = None
    if named or reference:
        return str(named or reference)
    what = f"its {CONFIG} names no base model that is here"
    raise UsageError(Problem(str(folder), what, next="Name it: --model BASE (owner/name, a folder, package:NAME)"))


def named_base(folder: Path) -> str | None:
    """What an adapter's own configuration calls its base model; None for a whole model."""
    return str(_config(folder).get("base_model_name_or_path") or "") or None


def take(folder: Path, model: LocalModel, prompt: Prompt, store: Store, progress: Progress) -> TrainingRecord:
    """Check what lies in a folder against its base model and publish it by content, under the prompt it is judged with.

    Raises TrainingError where it is of another base model, by what recorded its training, by its configuration or by
    the shapes of its weights; or does nothing, or cannot be read.
    """
    _refuse_another_base(folder, model, store)
    spec = TrainSpec.model_validate(
        {"method": "existing", "adapter": str(folder.resolve()), "rank": max(1, _rank(_config(folder))), "seeds": [0]}
    )
    content = artifacts.digest_folder(folder)
    asked = prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"})
    key = digest([content, model.ref.digest, asked, TRAINER_VERSION])
    known = artifacts.read_json(TAKEN).get(key)
    made = None if known is None else SeedTraining.model_validate(known)
    if made is None or not trainers.folder_of(made.adapter).is_dir():
        made = _taken(spec, folder, model, prompt, progress)
        artifacts.update_json(TAKEN, {key: made.model_dump(mode="json")})
    return record_of(made, prompt)


def taken_before(adapter: AdapterRef, prompt: Prompt) -> TrainingRecord | None:
    """What is known of an adapter that was taken before, by its content."""
    made = (SeedTraining.model_validate(told) for told in artifacts.read_json(TAKEN).values())
    return next((record_of(one, prompt) for one in made if one.adapter.digest == adapter.digest), None)


def record_of(made: SeedTraining, prompt: Prompt) -> TrainingRecord:
    """As `method: existing` records it."""
    return TrainingRecord(
        method=made.adapter.method,
        prompt=prompt,
        arguments={},
        device=made.device or "unknown",
        supervision=NOTHING_SEEN,
        seeds=(made,),
    )


def rank_of(adapter: AdapterRef) -> int:
    """The largest rank in an adapter; 0 where it has none."""
    return _rank(_config(trainers.folder_of(adapter)))


def _taken(spec: TrainSpec, folder: Path, model: LocalModel, prompt: Prompt, progress: Progress) -> SeedTraining:
    try:
        made, _ = trainers.train(Job(spec=spec, prompt=prompt, model=model, seed=0), progress)
    except TrainingError as fault:
        named = named_base(folder)
        told = f"its {CONFIG} names {named!r}, and " if named else ""
        base = f"{model.ref.name} ({model.ref.digest[:8]})"
        hint = "Name its base model: --model BASE"
        raise TrainingError([*fault.problems, Problem(str(folder), f"{told}its base model here is {base}", next=hint)]
                            ) from fault  # fmt: skip
    return made


def _refuse_another_base(folder: Path, model: LocalModel, store: Store) -> None:
    """Weights that were trained here are known by their content: so is the base model that they were trained over."""
    if trainers.trained_prompt(folder) is None:
        return
    content, found = artifacts.digest_folder(folder), list[tuple[bool, str, Provenance]]()
    for one in store.experiments():
        training, made = one.read(TrainingRecord), one.read(Provenance)
        trained = () if training is None else training.seeds
        if made is not None and any(seed.adapter.digest == content for seed in trained):
            found.append((one.read(GatedRecord) is not None, one.id, made))  # gates copy what experiments recorded
    if found and all(made.model.digest != model.ref.digest for _, _, made in found):
        _, id, made = min(found, key=lambda one: one[:2])
        what = f"was trained in {id} over {made.model.name} ({made.model.digest[:8]})"
        other = f"and its base model here is {model.ref.name} ({model.ref.digest[:8]})"
        raise TrainingError(Problem(str(folder), f"{what}, {other}", next=f"Name it: --model {made.model.name}"))


def _rank(config: dict[str, Any]) -> int:
    ranks = [config.get("r") or 0, *(config.get("rank_pattern") or {}).values()]
    return max(rank for rank in [0, *ranks] if isinstance(rank, int))


def _config(folder: Path) -> dict[str, Any]:
    """An adapter's configuration; empty where there is none that can be read, which is told when it is taken."""
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
