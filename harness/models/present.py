"""What can be told of a base model without fetching or loading it: its folder, its licence, how it counts tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import jinja2
import jinja2.sandbox
import yaml

from harness.models import folder, names, package

Turns = Sequence[dict[str, str]]
"""One conversation: role and content."""

HEAD = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)
"""The fields that a model card begins with."""

UNKNOWN = "unknown"


def on_disk(name: str, near: Path | None) -> Path | None:
    """The model's folder where it is on this machine already, or None. Raises ModelError for a name that is none."""
    spelling = names.read(name, near)
    if spelling.kind == "folder":
        return Path(spelling.value)
    if spelling.kind == "package":
        return package.kept(spelling.value)
    if spelling.kind == "remote":
        return None
    cached = names.hub_cache() / f"models--{spelling.value.replace('/', '--')}" / "snapshots"
    return max(cached.glob("*/"), key=lambda path: path.stat().st_mtime, default=None)


def licence(name: str, near: Path | None) -> str:
    """The licence that the model's card, config or licence file names, or `unknown`. Raises ModelError."""
    spelling = names.read(name, near)
    if spelling.kind == "package":
        return package.PACKAGES[spelling.value].licence
    path = on_disk(name, near)
    return (path and (_of_card(path) or _of_config(path) or _of_file(path))) or UNKNOWN


def _of_card(path: Path) -> str | None:
    card = path / "README.md"
    head = HEAD.match(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    try:
        told = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError:
        return None
    if not isinstance(told, dict):
        return None
    given = [told.get("license_name") if told.get("license") == "other" else None, told.get("license")]
    return next((str(value) for value in given if value), None)


def _of_config(path: Path) -> str | None:
    given = folder.read_config(path / "config.json").get("license") if (path / "config.json").is_file() else None
    return given if isinstance(given, str) and given.strip() else None


def _of_file(path: Path) -> str | None:
    """The first words of a licence file, which are its title."""
    for file in sorted(path.glob("LICEN[CS]E*")):
        lines = (line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
        return next((line[:80] for line in lines if line), None)
    return None


def token_counter(path: Path) -> Callable[[Sequence[Turns]], list[int]] | None:
    """Counts the tokens of conversations as the chat template writes them, without torch.

    None where the folder has no `tokenizer.json` or no chat template, or the tokenizers library is not there.
    """
    template, file = folder.chat_template(path), path / "tokenizer.json"
    if template is None or not file.is_file() or find_spec("tokenizers") is None:
        return None
    from tokenizers import Tokenizer

    tokenizer, config = Tokenizer.from_file(str(file)), folder.read_config(path / "tokenizer_config.json")
    tokenizer.no_truncation()
    tokens = {key: value for key, value in config.items() if key.endswith("_token")}
    special = {key: value["content"] if isinstance(value, dict) else value for key, value in tokens.items()}
    page = _environment().from_string(template)

    def count(conversations: Sequence[Turns]) -> list[int]:
        texts = [_rendered(page, turns, special) for turns in conversations]
        return [len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)]

    return count


def prompt_text(path: Path, template_digest: str | None, turns: Turns) -> str | None:
    """A prompt as a model's chat template writes it, up to where the answer begins; for reading, without torch.

    None where the folder holds no template of that digest (sha256 of its text), or the template refuses the turns.
    """
    template = folder.chat_template(path) if path.is_dir() else None
    if template is None or hashlib.sha256(template.encode()).hexdigest() != template_digest:
        return None
    config = folder.read_config(path / "tokenizer_config.json")
    tokens = {key: value for key, value in config.items() if key.endswith("_token")}
    special = {key: value["content"] if isinstance(value, dict) else value for key, value in tokens.items()}
    try:
        page = _environment().from_string(template)
        return str(page.render(messages=list(turns), add_generation_prompt=True, **special))
    except jinja2.TemplateError:
        return None


def _environment() -> jinja2.Environment:
    """The environment in which transformers renders chat templates."""
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", folder.Generation]
    )

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    made.globals.update(raise_exception=refuse, strftime_now=lambda form: form)
    return made


def _rendered(page: jinja2.Template, turns: Turns, special: dict[str, object]) -> str:
    try:
        return page.render(messages=list(turns), add_generation_prompt=False, **special)
    except jinja2.TemplateError:  # a template may refuse a role; the words count all the same
        return "\n".join(turn["content"] for turn in turns)
