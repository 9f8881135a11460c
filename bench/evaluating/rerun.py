"""The same command again: what `harness run` of an experiment that has its verdict takes, and that it asks no model.

The experiment is a real one and small: the small model, prompt search, a LoRA, a regression suite. It is run to its
verdict once; then the very same command is timed, from the start of the process to its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.models import LocalModel

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / "suites"
ENGINES = ("torch", "transformers", "vllm", "peft")
"""Without these nothing can answer in this process."""


@dataclass(frozen=True)
class Rerun:
    """One command from its start to its end."""

    sitting: str
    """`first`, which ran the experiment, or `again`."""
    seconds: float
    exit_code: int
    written: int
    """Files under the reports folder that it made or changed."""


def write(model: str, folder: Path) -> Path:
    """The spec of a small real experiment on a model, named as in a spec."""
    spec = yaml.safe_load((SUITES / "tickets" / "experiment.yaml").read_text(encoding="utf-8"))
    files = {split: str(SUITES / "tickets" / f"{split}.jsonl") for split in ("train", "dev", "test")}
    spec |= {
        "name": "rerun",
        "model": model,
        "data": files | {"limit": {"train": 64, "dev": 16, "test": 20}},
        "prompt": {"budget": 48, "shots": [0, 2], "draws": 1, "reasoning": False, "contestants": []},
        "suites": [str(SUITES / "regression-mini")],
        "serve": {"engine": "transformers"},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file below."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            stat = path.stat()
            found[str(path.relative_to(folder))] = (stat.st_size, stat.st_mtime_ns)
    return found


def sit(name: str, command: Sequence[str], reports: Path, env: dict[str, str]) -> tuple[Rerun, str, str]:
    """Run the command; also what it wrote to stdout and stderr. Raises RuntimeError when it ends without a verdict."""
    before = stamps(reports)
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if done.returncode not in (0, 10, 11, 12):
        raise RuntimeError(f"harness run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    after = stamps(reports)
    written = sum(before.get(path) != stamp for path, stamp in after.items())
    return Rerun(name, seconds, done.returncode, written), done.stdout, done.stderr


def measure(model: LocalModel, rounds: int, folder: Path) -> list[Rerun]:
    """The experiment once, then the same command `rounds` times; raises RuntimeError where it is not a re-run."""
    spec, reports = write(str(model.path), folder), folder / "reports"
    env = os.environ | {"HARNESS_HOME": str(folder / "home")}
    arguments = ["-m", "harness", "run", str(spec), "--reports", str(reports), "--json"]
    first, said, _ = sit("first", [sys.executable, *arguments], reports, env)
    found = [first]
    for _ in range(rounds):
        again, told, _ = sit("again", [sys.executable, *arguments], reports, env)
        found.append(again)
        if json.loads(told) != json.loads(said):
            raise RuntimeError(f"told something else the second time:\n{said}\n{told}")
    # Once more with every import told, out of the clock: who imports no engine asks no model.
    _, _, imports = sit("again", [sys.executable, "-X", "importtime", *arguments], reports, env)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in imports.splitlines() if "|" in line}
    if heavy := loaded.intersection(ENGINES):
        raise RuntimeError(f"the second sitting loaded {', '.join(sorted(heavy))}")
    return found
