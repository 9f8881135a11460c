"""A model folder: what must be in it, what counts for its identity, what it says of itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from harness import artifacts
from harness.errors import ModelError, Problem
from harness.models import code
from harness.records import ModelRef

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
"""Any of these makes a tokenizer."""

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
"""Names under which configs state the context length in tokens."""

MOST_HEADER = 100 * 2**20
"""Bytes that a safetensors header may take, as the format's own reader has it."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A base model that lies on this machine, checked and hashed."""

    ref: ModelRef
    """Identity by content; goes into every record."""
    path: Path
    """Folder with safetensors weights, config, tokenizer and chat template."""
    context_length: int
    """Most tokens of prompt and answer together."""
    remote_name: str | None = None
    """Name of a model that only a server has, and this machine nothing of (`path` is then no folder)."""

    @property
    def safely(self) -> dict[str, Any]:
        """How transformers reads any part of it: off this machine, and no code of its own unless the spec trusts it."""
        return {"local_files_only": True, "trust_remote_code": self.ref.remote_code}


def describe(name: str, path: Path, revision: str | None, trusted: bool = False) -> LocalModel:
    """Check a folder, hash what counts in it and describe it. Raises ModelError.

    trusted: code that lies in it may run (`trust_remote_code`), and then counts.
    """
    check(path, name, trusted)
    template = chat_template(path)
    ref = ModelRef(
        name=name,
        digest=content(path, trusted),
        revision=revision,
        chat_template_digest=hashlib.sha256(template.encode()).hexdigest() if template else None,
        remote_code=trusted and code.brought(path) is not None,
    )
    return LocalModel(ref=ref, path=path, context_length=context_length(path))


def refuse_other(found: LocalModel, judged: ModelRef) -> None:
    """Raise ModelError where a model is not the one that something was judged on."""
    if found.ref.digest != judged.digest:
        what = f"is not the one that was judged ({found.ref.digest[:8]} instead of {judged.digest[:8]})"
        where = f"model {found.ref.name} ({found.path})"
        raise ModelError(Problem(where, what, next="Restore its weights, tokenizer and chat template"))


def content(path: Path, trusted: bool = False) -> str:
    """A model's identity: the digest of the files that count, of its code too where that may run."""
    own = trusted and code.brought(path) is not None
    return artifacts.digest_folder(path, lambda name: counts(name) or (own and code.counts(name)))


def counts(name: str) -> bool:
    """Whether a file is part of the model's identity: weights, config, tokenizer, chat template.

    A README or the generation config is not: nothing is taken from them.
    """
    if "/" in name or name == "generation_config.json":
        return False
    return name.endswith((".safetensors", ".json", ".jinja", ".model")) or name == "merges.txt"


def check(path: Path, name: str, trusted: bool = False) -> None:
    """Raise ModelError, naming all faults at once, when the folder is not a usable chat model.

    trusted: code that lies in it may run.
    """
    where = f"model {name!r}" if name == str(path) else f"model {name!r} ({path})"
    problems: list[Problem] = []
    if not any(path.glob("*.safetensors")):
        pickled = any(file.suffix in artifacts.PICKLES for file in path.iterdir())
        what = "has only pickled weights" if pickled else "has no weights"
        allowed = "Weights must be *.safetensors; a pickle runs code when it is read"
        problems.append(Problem(where, what, allowed, "Save it with save_pretrained of transformers"))
    if not (path / "config.json").is_file():
        problems.append(Problem(where, "has no config.json", next="Copy it from the original model"))
    elif not read_config(path / "config.json").get("model_type"):
        problems.append(Problem(where, "config.json names no model_type", next="Copy it from the original model"))
    if not any((path / file).is_file() for file in TOKENIZERS):
        allowed = f"One of {', '.join(TOKENIZERS)} must be there"
        problems.append(Problem(where, "has no tokenizer", allowed, "Save it with tokenizer.save_pretrained"))
    elif chat_template(path) is None:
        allowed = "A template must be in chat_template.jinja or tokenizer_config.json, so that nobody guesses it"
        problems.append(Problem(where, "has no chat template", allowed, "Use the instruct variant, or add the file"))
    problems += [
        *_unreadable_weights(path, where),
        *_broken_template(path, where),
        *code.problems(path, where, trusted),
    ]
    if problems:
        raise ModelError(problems)


def _unreadable_weights(path: Path, where: str) -> list[Problem]:
    """A safetensors file begins with the length of its JSON header; a torn or empty one does not."""
    found = []
    for file in sorted(path.glob("*.safetensors")):
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = stream.read(min(length, MOST_HEADER))
        try:
            whole = length <= MOST_HEADER and isinstance(json.loads(header), dict)
        except ValueError:
            whole = False
        if not whole:
            found.append(
                Problem(where, f"{file.name} is not a safetensors file", next="Copy it again from the original")
            )
    return found


def _broken_template(path: Path, where: str) -> list[Problem]:
    """A chat template that is no Jinja would fail at the first question."""
    try:
        template = chat_template(path)
        jinja2.sandbox.SandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", Generation]).parse(template or "")
    except jinja2.TemplateSyntaxError as fault:
        return [Problem(where, f"its chat template is broken: {fault.message} (line {fault.lineno})")]
    return []


class Generation(jinja2.ext.Extension):
    """The `{% generation %}` block of transformers: what is inside stands as it is."""

    tags = {"generation"}  # noqa: RUF012  jinja2 declares it so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """The block's body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def chat_template(path: Path) -> str | None:
    """The chat template's text, or None when the folder has none."""
    file = path / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8") or None
        except UnicodeDecodeError as error:
            raise ModelError(Problem(str(file), "is not UTF-8", next="Copy it again from the original")) from error
    stored = read_config(path / "tokenizer_config.json").get("chat_template")
    if isinstance(stored, list):  # several named templates
        named = [entry for entry in stored if isinstance(entry, dict)]
        stored = {entry.get("name"): entry.get("template") for entry in named}.get("default")
    return stored if isinstance(stored, str) and stored.strip() else None


def context_length(path: Path) -> int:
    """Most tokens the model can see, from its config; the tokenizer's limit when that is silent."""
    config = read_config(path / "config.json")
    text = config.get("text_config")
    for source in (text if isinstance(text, dict) else {}, config):
        for key in CONTEXT_KEYS:
            if isinstance(source.get(key), int):
                return int(source[key])
    limit = read_config(path / "tokenizer_config.json").get("model_max_length")
    if isinstance(limit, int) and limit < 10**9:
        return limit
    raise ModelError(
        Problem(
            str(path / "config.json"),
            "does not state a context length",
            f"One of {', '.join(CONTEXT_KEYS)} must be there",
            "Add `max_position_embeddings` with the number of tokens it was trained for",
        )
    )


def read_config(file: Path) -> dict[str, Any]:
    """A JSON object from a model folder; empty when the file is missing. Raises ModelError when malformed."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(Problem(str(file), f"is not JSON: {error}", next="Copy it again from the original")) from error
    return value if isinstance(value, dict) else {}
