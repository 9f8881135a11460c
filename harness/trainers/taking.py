"""Taking what was trained elsewhere: a PEFT adapter or a whole model is checked, and published by content.

What cannot be served as it was trained is refused here, before anything is judged: pickles, values that are not
numbers, another base model, weights that do not fit it, another chat template, an adapter that does nothing.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from harness import artifacts
from harness.errors import ModelError, Problem, TrainingError
from harness.models import chat_template
from harness.models.folder import check, counts
from harness.records import AdapterRef, ProbeScores, SeedTraining, Supervision
from harness.trainers.base import Job, Origin
from harness.trainers.probing import read_base, read_probes
from harness.trainers.publish import PROMPT_FILE, is_plain_lora
from harness.trainers.setup import load_base, load_model, origin

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
BASE_CHANGING: Final = ("pissa", "olora", "corda", "loftq", "eva")
"""Initialisations that change the base model's weights, unless the adapter was converted when it was saved."""
FORMS: Final = f"A PEFT adapter ({CONFIG}, {WEIGHTS}) or a whole model (config.json, *.safetensors, tokenizer)"
Kind = Literal["lora", "peft", "model"]

NOTHING_SEEN: Final = Supervision(
    rows=0,
    tokens=0,
    supervised_tokens=0,
    rows_without_loss=0,
    rows_truncated=0,
    rows_with_end_of_turn=0,
    longest=0,
    example="(trained elsewhere: what it learned from was not seen here)",
)
"""Evidence of a training whose tensors nobody here saw: of no row."""


def take(folder: Path, job: Job, workspace: Path, *, seconds: float = 0.0) -> tuple[SeedTraining, Supervision]:
    """Check a folder, publish it under `job.prompt`, and score the probes with it, as after a training here.

    seconds: how long its training took, where that is known. Raises TrainingError, ModelError.
    """
    where = str(folder)
    if not folder.is_dir():
        raise TrainingError(Problem(where, "is no folder", FORMS, "Correct the path"))
    artifacts.refuse_pickles(folder)
    staging = workspace / "taken"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    _same_template(folder, job)
    if (folder / CONFIG).is_file():
        kind = _adapter(folder, job, staging)
    elif (folder / "config.json").is_file():
        kind = _model(folder, job, staging)
    else:
        raise TrainingError(Problem(where, f"holds neither {CONFIG} nor config.json", FORMS))
    on = origin(job.spec.method)
    probes, parameters = _acts(staging, kind, job, on, where)
    (staging / PROMPT_FILE).write_text(job.prompt.model_dump_json(indent=1), encoding="utf-8")
    digest = artifacts.publish("models" if kind == "model" else "adapters", staging)
    adapter = AdapterRef(digest=digest, method=job.spec.method, seed=job.seed, kind=kind)
    return SeedTraining(
        seed=job.seed,
        adapter=adapter,
        steps=0,
        curve=(),
        seconds=round(seconds, 1),
        peak_memory_bytes=None,
        resumed=0,
        trainable_parameters=parameters,
        dtype=on.dtype,
        probes=probes,
    ), NOTHING_SEEN


def _same_template(folder: Path, job: Job) -> None:
    """Refuse a chat template beside the weights that is not the one they will be served with."""
    own = chat_template(folder)
    if own is not None and own != chat_template(job.model.path):
        what = "has another chat template than the base model, so it would be served otherwise than it was trained"
        hint = "Train with the base model's own template, or name a base model that has this one"
        raise TrainingError(Problem(str(folder), what, next=hint))


def _adapter(folder: Path, job: Job, staging: Path) -> Kind:
    where = str(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        raise TrainingError(Problem(str(folder), f"has no {WEIGHTS}", FORMS, "Save it with save_pretrained of PEFT"))
    config = _read(folder / CONFIG)
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(BASE_CHANGING):
        hint = "Save it with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
        raise TrainingError(Problem(where, f"its initialisation ({start}) changes the base model's weights", next=hint))
    _same_base(str(config.get("base_model_name_or_path") or ""), job, where)
    ranks = [config.get("r") or 0, *(config.get("rank_pattern") or {}).values()]
    if config.get("peft_type") == "LORA" and max(ranks) > job.spec.rank:
        what = f"its rank is {max(ranks)}, and engines are started for rank {job.spec.rank}"
        raise TrainingError(Problem(where, what, next=f"Set train.rank: {max(ranks)}"))
    config["base_model_name_or_path"] = job.model.ref.name
    for key, value in config.items():
        if key.endswith("modules") and isinstance(value, list):
            config[key] = sorted(value)
    _finite([folder / WEIGHTS])
    shutil.copyfile(folder / WEIGHTS, staging / WEIGHTS)
    (staging / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    return "lora" if is_plain_lora(config) else "peft"


def _same_base(named: str, job: Job, where: str) -> None:
    """Refuse a base model that is here, by its path, and is another one. A name alone proves nothing either way."""
    for path in (Path(named), job.near / named) if named else ():
        if path.is_dir() and (path / "config.json").is_file():
            found = artifacts.digest_folder(path, counts)
            if found != job.model.ref.digest and _weights(path) != _weights(job.model.path):
                what = f"it was trained on {named} ({found[:8]}), and the experiment's model is another one"
                hint = f"Name that model in the spec (model: {named})"
                raise TrainingError(Problem(where, f"{what} ({job.model.ref.digest[:8]})", next=hint))


def _weights(path: Path) -> str:
    return artifacts.digest_folder(path, lambda name: name.endswith(".safetensors"))


def _model(folder: Path, job: Job, staging: Path) -> Kind:
    """A whole model: its weights and config; what renders and splits text is the base model's, or equal to it."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and counts(file.name):
            shutil.copyfile(file, staging / file.name)
    for file in sorted(job.model.path.iterdir()):  # many trainers leave the tokenizer out
        weights = ".safetensors" in file.name
        if counts(file.name) and not weights and not (staging / file.name).exists():
            shutil.copyfile(file, staging / file.name)
    config = _read(staging / "config.json")
    config.pop("_name_or_path", None)
    if "auto_map" in config:
        what = "needs code of its own (auto_map), which is not run"
        raise TrainingError(Problem(str(folder / "config.json"), what, next="Save it as a model of transformers"))
    (staging / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    try:
        check(staging, str(folder))
    except ModelError as fault:
        raise TrainingError(fault.problems) from fault
    for name in ("tokenizer.json", "tokenizer.model"):
        own, base = staging / name, job.model.path / name
        if base.is_file() and _vocabulary(own) != _vocabulary(base):
            what = f"its {name} splits text otherwise than the base model's"
            hint = "Train with the base model's tokenizer: suites and prompts are counted by it"
            raise TrainingError(Problem(str(folder), what, next=hint))
    _finite(sorted(staging.glob("*.safetensors")))
    return "model"


def _vocabulary(path: Path) -> object:
    """What of a tokenizer decides: JSON says the rest, which padding was set last among it."""
    if path.suffix != ".json":
        return path.read_bytes()
    told = _read(path)
    return [told.get(key) for key in ("model", "pre_tokenizer", "normalizer", "added_tokens")]


def _acts(staging: Path, kind: Kind, job: Job, on: Origin, where: str) -> tuple[ProbeScores, int]:
    """The probes by base model and candidate, and how many parameters are the candidate's own.

    Raises TrainingError for weights that do not fit the base model, or that leave every probe as it was.
    """
    from peft import PeftModel

    known, room = None, job.model.context_length
    try:
        base, tokenizer = load_base(job.spec, job.model, on)
        if kind == "model":
            known = read_base(base, tokenizer, room)
            tuned = load_model(staging, on, job.model)
        else:
            tuned = PeftModel.from_pretrained(base, str(staging))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as fault:
        what = f"does not fit the base model: {' '.join(str(fault).split())[:300]}"
        raise TrainingError(Problem(where, what, next="Check model in the spec")) from fault
    own = sum(weights.numel() for weights in tuned.parameters())
    if kind != "model":
        own = _fits(tuned, staging / WEIGHTS, where)
    probes = read_probes(tuned, tokenizer, room, known)
    if probes.base == probes.tuned:
        what = "changes nothing: every probe has the base model's own log-likelihoods"
        raise TrainingError(Problem(where, what, next="Check that its training moved it, and that this is its folder"))
    return probes, own


def _fits(tuned: Any, weights: Path, where: str) -> int:
    """How many parameters the adapter has. PEFT loads what it knows and says nothing of the rest."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    wanted = {name: tuple(value.shape) for name, value in get_peft_model_state_dict(tuned).items()}
    with safe_open(weights, framework="pt") as stored:
        found = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    strange, missing = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    if strange or missing:
        what = f"{len(strange)} of its weights belong to no layer of the base model, and {len(missing)} are missing"
        example = f", e.g. {(strange or missing)[0]}"
        raise TrainingError(Problem(where, what + example, next="Check model in the spec"))
    return sum(math.prod(shape) for shape in found.values())


def _finite(files: list[Path]) -> None:
    """Raise TrainingError for weights that are not numbers, naming the first."""
    for file, name, tensor in _tensors(files):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise TrainingError(Problem(str(file), f"{name} holds values that are not numbers"))


def _tensors(files: list[Path]) -> Iterator[tuple[Path, str, Any]]:
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(file, framework="pt") as stored:
                for name in stored.keys():  # noqa: SIM118  it is no mapping
                    yield file, name, stored.get_tensor(name)
        except SafetensorError as fault:
            raise TrainingError(Problem(str(file), f"is no safetensors file: {fault}")) from fault


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise TrainingError(Problem(str(path), f"is not JSON: {fault}")) from fault
    if not isinstance(told, dict):
        raise TrainingError(Problem(str(path), "is no JSON object"))
    return told
