"""A GGUF file back to a model folder, from nothing but what stands in the file: weights, tokenizer, template, ends.

So an export is judged by what it holds, and a fault of any of these shows. transformers reads all of it but the name
of how text is split; that step is put back by the same name as llama.cpp does.
"""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

from harness.errors import EngineError, Problem
from harness.exporting.gguf.vocabulary import KNOWN
from harness.models import LocalModel, quiet
from harness.models.folder import describe


def unpack(file: Path, folder: Path, name: str) -> LocalModel:
    """Write what a GGUF file holds as a float32 model folder. Raises EngineError for a file that cannot be read."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    logging.getLogger("gguf").setLevel(logging.WARNING)
    try:
        # The reader of GGUF files draws its own progress bar, whatever transformers is told.
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(
                **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
            stated = _stated(file)
            _split_by_name(tokenizer, stated["tokenizer.ggml.pre"])
            ends = [stated.get(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot")]
            model.config.eos_token_id = sorted({end for end in ends if end is not None})
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as fault:
        what = f"cannot be read by transformers: {fault}"
        raise EngineError(Problem(file.name, what, next="Judge it with llama-server (HARNESS_LLAMA_SERVER)")) from fault
    (folder / "generation_config.json").unlink(missing_ok=True)
    return describe(name, folder, None)


def _stated(file: Path) -> dict[str, Any]:
    """Single values of the file's metadata."""
    from gguf import GGUFReader

    reader = GGUFReader(str(file))
    keys = ("tokenizer.ggml.pre", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return {key: reader.fields[key].contents() for key in keys if key in reader.fields}


def _split_by_name(tokenizer: Any, pre: str) -> None:
    """What transformers leaves out: the steps before the byte-level one. Others it knows by their expression."""
    from tokenizers import pre_tokenizers

    steps = KNOWN.get(pre, [])
    if len(steps) < 2:
        return
    made = []
    for step in steps:
        options = {key: value for key, value in step.items() if key != "type"}
        made.append(getattr(pre_tokenizers, step["type"])(**options))
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(made)
