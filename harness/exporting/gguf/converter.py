"""llama.cpp's own converter, where it is installed: it knows every architecture that llama.cpp runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from harness.errors import HarnessError, Problem

VARIABLE: Final = "HARNESS_LLAMA_CPP"
"""Names the folder of llama.cpp that has the converter."""
SCRIPT: Final = "convert_hf_to_gguf.py"


def find() -> Path | None:
    """The converter that HARNESS_LLAMA_CPP names, else one on the PATH; None without either."""
    named = os.environ.get(VARIABLE)
    if named and (Path(named).expanduser() / SCRIPT).is_file():
        return Path(named).expanduser() / SCRIPT
    found = shutil.which(SCRIPT)
    return Path(found) if found else None


def convert(script: Path, model: Path, target: Path, quantization: str) -> str:
    """Convert a model folder; returns what did it. Raises HarnessError with the converter's last line."""
    command = [sys.executable, str(script), str(model), "--outfile", str(target), "--outtype", quantization]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not target.is_file():
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        hint = f"Unset {VARIABLE} to use the gguf package instead"
        raise HarnessError(Problem(SCRIPT, f"cannot convert this model: {last}", next=hint))
    return f"llama.cpp {SCRIPT}"
