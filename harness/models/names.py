"""Names of models: which of the four spellings a string is, and whether it can be had at all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import ModelError, Problem, did_you_mean
from harness.models import folder
from harness.models.package import PACKAGES

ALLOWED = "A model is a hub id (owner/name), a local folder (./my-model), package:NAME or openai:NAME"
REMOTE = "openai:"
"""Begins the name of a model that a server has: by name only, because its weights cannot be seen."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name read: its kind and what it stands for (package name, hub id, absolute path, name at the server)."""

    kind: Literal["package", "folder", "hub", "remote"]
    value: str


def read(name: str, near: Path | None) -> Spelling:
    """Tell which spelling a name is; relative folders are looked up in `near`, then in the current folder.

    A folder that is there wins over a hub id of the same spelling. Raises ModelError for
    an unknown package and for a path that is not there.
    """
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        if package not in PACKAGES:
            raise ModelError(Problem("model", f"unknown package {package!r}", did_you_mean(package, list(PACKAGES))))
        return Spelling("package", package)
    if name.startswith(REMOTE):
        if not (served := name.removeprefix(REMOTE).strip()):
            raise ModelError(Problem("model", f"{name!r} names no model", "openai:NAME, with the server's name for it"))
        return Spelling("remote", served)
    bases = [base for base in (near, Path.cwd()) if base is not None]
    tried = [(base / Path(name).expanduser()).absolute() for base in bases]
    for path in tried:
        if name and path.is_dir():
            return Spelling("folder", str(path))
    if HUB_ID.fullmatch(name):
        return Spelling("hub", name)
    looked = " and ".join(dict.fromkeys(str(path.parent) for path in tried))
    raise ModelError(
        Problem("model", f"{name!r} is not a folder (looked in {looked})", ALLOWED, "Correct the name or the path")
    )


def exists(name: str, *, near: Path | None = None, trusted: bool = False) -> None:
    """Raise ModelError when the name cannot be resolved, as far as can be told without network or torch.

    `near` is the folder that relative paths are meant from: the spec's own. A hub id of
    the right shape passes, unless the hub is switched off and the model is not cached.
    `trusted`: code that comes with it may run.
    """
    spelling = read(name, near)
    if spelling.kind == "folder":
        folder.check(Path(spelling.value), name, trusted)
    if spelling.kind == "hub" and offline() and not cached(spelling.value):
        raise ModelError(
            Problem(
                "model",
                f"{name!r} is not in the hub cache ({hub_cache()}), and HF_HUB_OFFLINE is set",
                ALLOWED,
                "Unset HF_HUB_OFFLINE, or name a local folder or package:NAME "
                f"(known packages: {', '.join(sorted(PACKAGES))})",
            )
        )


def identity(name: str, near: Path | None, trusted: bool = False) -> str:
    """What a name stands for, as far as can be told without network: a folder by content, else the name itself.

    trusted: code that comes with it may run, and counts.
    """
    spelling = read(name, near)
    if spelling.kind == "folder":
        return folder.content(Path(spelling.value), trusted)
    return f"package:{spelling.value}=={PACKAGES[spelling.value].version}" if spelling.kind == "package" else name


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network, read as huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it has fetched, by its own environment variables."""
    root = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or os.path.join(root, "hub")).expanduser()


def cached(hub_id: str) -> bool:
    """Whether any revision of a hub model is in the cache."""
    return any((hub_cache() / f"models--{hub_id.replace('/', '--')}" / "snapshots").glob("*"))
