"""Weights by content: where models, adapters and training scratch lie under HARNESS_HOME.

    HARNESS_HOME/            default ~/.cache/harness
    ├── models/<digest>/     converted base models
    ├── adapters/<digest>/   trained adapters
    ├── work/...             scratch of trainings that can be resumed
    ├── locks/               one file a lock
    ├── digests.json         sha256 of large files, by path, size and time of change
    └── index.json           where a converted model came from -> its digest

A published folder is never changed: its name is the sha256 of what is in it.
Weights are safetensors only; a pickle runs code when it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from harness.errors import ModelError, Problem

Kind = Literal["models", "adapters"]

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
"""Endings of weight files that run code when they are read."""

REMEMBER_FROM = 1 << 20
"""Files from this many bytes on have their digest remembered."""


def home() -> Path:
    """The folder of all artefacts: HARNESS_HOME, else ~/.cache/harness."""
    return Path(os.environ.get("HARNESS_HOME") or "~/.cache/harness").expanduser().absolute()


def folder(kind: Kind, digest: str) -> Path:
    """Where an artefact of this digest (64 hex digits) lies, or would lie."""
    return home() / kind / digest


def workspace(*parts: str) -> Path:
    """A scratch folder under work/, made if needed. It stays until somebody deletes it."""
    path = home().joinpath("work", *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def tracking() -> Path:
    """Where trackers write what their own variables do not place elsewhere: never into the current directory."""
    path = home() / "tracking"
    path.mkdir(parents=True, exist_ok=True)
    return path


def publish(kind: Kind, staging: Path) -> str:
    """Move a finished folder to its place by content and return its digest (64 hex digits).

    The folder appears whole or not at all. When the same content is there already, that
    one is kept and the staging folder is deleted. Raises ModelError when the folder holds
    a pickle or no safetensors file.
    """
    refuse_pickles(staging)
    if not any(staging.rglob("*.safetensors")):
        raise ModelError(Problem(str(staging), "holds no weights", "Weights are *.safetensors files"))
    digest = digest_folder(staging)
    target = folder(kind, digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        # A rename is atomic only inside one file system, so the content is first brought beside its target.
        beside = target.parent / f".incoming-{uuid.uuid4().hex}"
        shutil.move(staging, beside)
        with contextlib.suppress(OSError):  # lost a race: the same content got there first
            beside.rename(target)
        shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(staging, ignore_errors=True)
    return digest


def refuse_pickles(path: Path) -> None:
    """Raise ModelError when the folder holds a weight file that runs code when it is read."""
    found = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.suffix in PICKLES)
    if found:
        raise ModelError(
            Problem(
                str(path),
                f"holds pickled files ({', '.join(found[:3])})",
                "Only safetensors weights are accepted, because reading a pickle runs the code in it",
                "Save with save_pretrained(..., safe_serialization=True) and delete the pickled files",
            )
        )


def digest_folder(path: Path, keep: Callable[[str], bool] = lambda name: True) -> str:
    """sha256 (64 hex digits) over the relative names and contents of the files in a folder.

    `keep` tells by relative name which files count; hidden files never do. Large files
    are read once and remembered by size and time of change.
    """
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    names = [name for name in names if keep(name) and not any(part.startswith(".") for part in name.split("/"))]
    remembered = read_json("digests.json")
    fresh: dict[str, Any] = {}
    whole = hashlib.sha256()
    for name in names:
        file = (path / name).resolve()
        stat = file.stat()
        known = remembered.get(str(file))
        if known and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            content = known[2]
        else:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            if stat.st_size >= REMEMBER_FROM:
                fresh[str(file)] = [stat.st_size, stat.st_mtime_ns, content]
        whole.update(f"{name}\0{content}\n".encode())
    if fresh:
        update_json("digests.json", fresh)
    return whole.hexdigest()


def read_json(name: str) -> dict[str, Any]:
    """A small table under HARNESS_HOME; empty when it is missing or torn (it can be rebuilt)."""
    try:
        value = json.loads((home() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def update_json(name: str, entries: dict[str, Any]) -> None:
    """Add entries to a small table under HARNESS_HOME, atomically, other processes' entries kept.

    Entries whose key is the path of a file that is gone are dropped.
    """
    with lock(name):
        merged = {**read_json(name), **entries}
        merged = {key: value for key, value in merged.items() if not key.startswith("/") or Path(key).exists()}
        torn = home() / f".{name}.{uuid.uuid4().hex}"
        torn.write_text(json.dumps(merged, indent=1, sort_keys=True), encoding="utf-8")
        torn.replace(home() / name)


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a named lock among all processes of this machine; waits until it is free.

    The operating system frees it when the holder dies.
    """
    with _lock_file(name).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def lock_if_free(name: str) -> Iterator[bool]:
    """Hold a named lock as `lock` does; False, at once, where somebody else holds it."""
    with _lock_file(name).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _lock_file(name: str) -> Path:
    folder_ = home() / "locks"
    folder_.mkdir(parents=True, exist_ok=True)
    safe = "".join(sign if sign.isalnum() or sign in "._-=" else "_" for sign in name)
    return folder_ / f"{safe}.lock"
