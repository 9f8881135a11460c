"""Merging: an adapter's weights put into the base model's, and how far the merged model's answers are from before.

A merged model is served by every engine, and exported. It lies under HARNESS_HOME/models by content, like any other;
an adapter is merged once for each number type.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.models import LocalModel, quiet
from harness.probes import PROBES_DIGEST
from harness.records import AdapterRef, digest
from harness.trainers.base import Origin
from harness.trainers.publish import PROMPT_FILE, folder_of, save_model

KNOWN = "merged.json"
"""Table under HARNESS_HOME: adapter, base model and number type -> what came out."""

DRIFT: Final[Mapping[str, float]] = {"float32": 1e-3, "bfloat16": 1.0, "float16": 0.1}
"""Nats by which the log-probability of a single token may move, by number type."""

UNMERGEABLE: Final = frozenset({"PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "ADAPTION_PROMPT"})
"""PEFT's types that change no weight of the base model: they put learned tokens or keys before the text."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A whole model made of a base model and an adapter."""

    digest: str
    """sha256 over its folder, which is named by it."""
    dtype: str
    """Number type of its weights, in which it was merged."""
    drift: float | None
    """Largest difference of a token's log-probability before and after merging, over all probes, in nats; None where
    nothing was merged, because the training made a whole model."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return artifacts.folder("models", self.digest)


def merged(adapter: AdapterRef, model: LocalModel, dtype: str | None = None) -> Merged:
    """The whole model of an adapter on its base model.

    dtype: number type to merge in (float32, bfloat16 or float16); by default that in which the engines of this machine
    serve. Low-precision sums lose a part of small updates: `Merged.drift` says how much.
    Raises TrainingError for an adapter that cannot be merged, or one whose merged model answers otherwise.
    """
    if adapter.kind == "model":
        config = json.loads((folder_of(adapter) / "config.json").read_text(encoding="utf-8"))
        return Merged(adapter.digest, config.get("dtype", "float32"), None)
    path = folder_of(adapter)
    _refuse_unmergeable(adapter, path)
    on = _here(dtype)
    key = digest([adapter.digest, model.ref.digest, on.dtype, on.device, PROBES_DIGEST])
    with artifacts.lock(f"merging-{key[:16]}"):
        known = artifacts.read_json(KNOWN).get(key)
        if known is not None and (done := Merged(**known)).folder.is_dir():
            return done
        made = _merge(path, model, on, artifacts.workspace("merging", key[:16]))
        _free(on)
        artifacts.update_json(KNOWN, {key: asdict(made)})
    return made


def _refuse_unmergeable(adapter: AdapterRef, path: Path) -> None:
    where = f"adapter {adapter.digest[:8]} ({adapter.method})"
    if adapter.kind in ("classifier", "remote"):
        raise TrainingError(Problem(where, f"a {adapter.kind} is no adapter that could be merged"))
    try:
        config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    except OSError as fault:
        hint = "Run the experiment again; it is trained again"
        raise TrainingError(Problem(where, f"is not at {path}", next=hint)) from fault
    if config.get("peft_type") in UNMERGEABLE:
        what = "cannot be merged: it learned tokens before the text, and no weight of the base model changes"
        hint = "Serve it with the transformers engine (serve.engine: transformers), or train a LoRA"
        raise TrainingError(Problem(where, what, next=hint))


def _here(dtype: str | None) -> Origin:
    import torch

    cuda = torch.cuda.is_available()
    return Origin("cuda" if cuda else "cpu", dtype or ("bfloat16" if cuda else "float32"), {})


def _free(on: Origin) -> None:
    """Give back the GPU's memory, which the engine will want."""
    if on.device == "cuda":
        import torch

        gc.collect()
        torch.cuda.empty_cache()


def _merge(path: Path, model: LocalModel, on: Origin, work: Path) -> Merged:
    """Merge, hold the answers to the probes against those before, and publish."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    from harness.trainers.probing import read_tokens
    from harness.trainers.setup import load_model

    staging = work / "model"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(model.path), **model.safely)
            adapted = PeftModel.from_pretrained(load_model(model.path, on, model), str(path))
            before = read_tokens(adapted, tokenizer, model.context_length)
            whole = adapted.merge_and_unload(safe_merge=True)
            after = read_tokens(whole, tokenizer, model.context_length)
            save_model(whole, model, staging, on.dtype)
    except (OSError, ValueError, RuntimeError) as fault:
        raise TrainingError(Problem(f"adapter {path.name[:8]}", f"cannot be merged: {fault}")) from fault
    drift = max((abs(one - other) for one, other in zip(before, after, strict=True)), default=0.0)
    if not drift <= DRIFT[on.dtype]:
        what = f"merged in {on.dtype} it answers otherwise: a token's log-probability moves by {drift:.2g} nats"
        hint = "Merge in float32, or serve the adapter beside its base model"
        raise TrainingError(Problem(f"adapter {path.name[:8]}", what, f"At most {DRIFT[on.dtype]:g}", hint))
    if (path / PROMPT_FILE).exists():
        shutil.copyfile(path / PROMPT_FILE, staging / PROMPT_FILE)
    return Merged(artifacts.publish("models", staging), on.dtype, drift)
