"""A sample store whose adapters have weights under HARNESS_HOME, so that what was judged can be deployed."""

from __future__ import annotations

import shutil
from pathlib import Path

import sample_records as made
import sample_store

from harness import artifacts
from harness.records import RunRecord
from harness.store import Store

PROMOTED = ("tickets-lora", "orders-lora")
REJECTED = "intents-lora"


def build(root: Path) -> Store:
    """The sample store with weights of every seed; HARNESS_HOME must be a folder of the test's own."""
    store = sample_store.build(root)
    digests = {made.candidate(f"tuned-seed{seed}").adapter: _weights(root, seed) for seed in range(3)}
    swaps = {ref.digest: digest for ref, digest in digests.items() if ref}
    for folder in store.experiments():
        if folder.name == "torn":
            continue
        changed = dict(swaps)
        for run in folder.runs():  # the identity of a candidate holds that of its adapter
            new = RunRecord.model_validate_json(_swapped(run.model_dump_json(), swaps))
            changed[run.candidate_digest] = new.candidate.digest
        for file in (*folder.path.glob("*.json"), *folder.path.glob("runs/*/run.json")):
            file.write_text(_swapped(file.read_text(), changed))
    return store


def _swapped(text: str, swaps: dict[str, str]) -> str:
    for old, new in swaps.items():
        text = text.replace(old, new)
    return text


def _weights(root: Path, seed: int) -> str:
    staging = root.parent / f"weights{seed}"
    staging.mkdir()
    (staging / "adapter_model.safetensors").write_bytes(bytes([seed]) * 64)
    (staging / "adapter_config.json").write_text("{}")
    digest = artifacts.publish("adapters", staging)
    shutil.rmtree(staging, ignore_errors=True)
    return digest
