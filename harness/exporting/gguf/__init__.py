"""GGUF, the file format of llama.cpp and Ollama: written from a model folder, and read back to be judged.

vocabulary  the tokenizer as the file states it      writing    tensors and facts, by the gguf package
converter   llama.cpp's own, where it is installed   reading    back to a model folder
"""

from __future__ import annotations

from pathlib import Path

from harness.exporting.gguf import converter, writing
from harness.exporting.gguf.reading import unpack
from harness.exporting.gguf.writing import QUANTIZATIONS

__all__ = ["QUANTIZATIONS", "check", "unpack", "write"]


def check(model: Path) -> None:
    """Raise UsageError, before anything is written, for a model that nothing here can convert."""
    if converter.find() is None:
        writing.check(model)


def write(model: Path, target: Path, quantization: str, name: str) -> str:
    """Write a model folder as a GGUF file; returns what wrote it. See `writing.write`."""
    script = converter.find()
    if script is not None:
        return converter.convert(script, model, target, quantization)
    return writing.write(model, target, quantization, name)
