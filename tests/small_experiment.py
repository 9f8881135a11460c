"""A real experiment small enough for a test: the small model, a few dozen tickets, two regression tasks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROMPT: dict[str, Any] = {"budget": 48, "shots": [0, 2], "draws": 1, "reasoning_tokens": 24}
ALONE = PROMPT | {"reasoning": False, "contestants": [], "with_tuned": False}
"""No baselines, and tuned candidates under their own prompt alone: for tests of something else."""


def write(folder: Path, **changes: Any) -> Path:
    """Write spec and suite; returns the spec's path."""
    suite = folder / "tiny"
    suite.mkdir(parents=True)
    for name in ("facts", "arithmetic"):
        for kind in ("yaml", "jsonl"):
            shutil.copy(ROOT / "suites" / "regression-mini" / f"{name}.{kind}", suite)
        path = suite / f"{name}.yaml"
        path.write_text(path.read_text().replace("suites/regression-mini/", ""))
    (suite / "suite.yaml").write_text(
        "group: tiny\ntask: [mini-facts, mini-arithmetic]\nmetadata: {role: regression, version: 1}\n"
    )
    tickets = ROOT / "suites" / "tickets"
    spec: dict[str, Any] = yaml.safe_load((tickets / "experiment.yaml").read_text())
    spec |= {
        "name": "small",
        "data": {split: str(tickets / f"{split}.jsonl") for split in ("train", "dev", "test")}
        | {"limit": {"train": 64, "dev": 16, "test": 20}},
        "prompt": PROMPT,
        "suites": ["./tiny"],
        "gates": [
            {"suite": "task", "metric": "json_field_f1", "against": "base", "min_delta": 0.1},
            {"suite": "tiny", "against": "base", "min_delta": -0.2},
        ],
    }
    spec["train"] |= {"save_steps": 2}
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(spec | changes, sort_keys=False))
    return path


def command(spec: Path, reports: Path) -> list[str]:
    """The command line that runs it."""
    return [sys.executable, "-m", "harness", "run", str(spec), "--reports", str(reports), "--json"]


def run(spec: Path, reports: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its verdict."""
    return subprocess.run(
        command(spec, reports),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
