"""From a model's name to its folder on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import ModelError, Problem
from harness.models import folder, names, package
from harness.models.folder import LocalModel
from harness.records import ModelRef, digest

WANTED = [
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.txt",
    "*.jinja",
    "tokenizer.model",
    "*.spm",
    "README.md",
]
"""What is fetched from the hub: no pickles, no code unless it is trusted; the card for its licence."""
UNBOUNDED = 1 << 30
"""Context length of a model that only its server knows: the server refuses what is too long."""


def resolve(
    name: str,
    *,
    revision: str | None = None,
    near: Path | None = None,
    trusted: bool = False,
    note: Callable[[str], None] = lambda message: None,
) -> LocalModel:
    """Bring the named model to this machine, check it and hash it.

    `revision` pins a hub branch, tag or commit; the record always holds the commit.
    `near` is the folder that relative paths are meant from. `trusted`: code that comes with
    it may run (`trust_remote_code`). `note` gets one line a human
    may want to see before each long step. Raises ModelError.
    """
    spelling = names.read(name, near)
    if revision is not None and spelling.kind != "hub":
        raise ModelError(Problem("model", f"{name!r} has no revisions", "Only hub ids take one", "Remove it"))
    if spelling.kind == "remote":
        return remote(spelling.value)
    if spelling.kind == "package":
        path, version = package.obtain(spelling.value, note)
        return folder.describe(name, path, version)
    if spelling.kind == "folder":
        return folder.describe(name, Path(spelling.value), None, trusted)
    path = fetch(spelling.value, revision, note, code=trusted)
    return folder.describe(name, path, path.name, trusted)


def resolve_judged(
    name: str, judged: ModelRef, *, near: Path, note: Callable[[str], None] = lambda message: None
) -> LocalModel:
    """The very model that something was judged on, of the hub in the revision that it had then; see `resolve`.

    Raises ModelError where another one lies under its name.
    """
    pinned = judged.revision if names.read(name, near).kind == "hub" else None
    found = resolve(name, revision=pinned, near=near, trusted=judged.remote_code, note=note)
    folder.refuse_other(found, judged)
    return found


def remote(name: str) -> LocalModel:
    """A model that a server has: known by its name only, because its weights cannot be seen.

    The server that answered is in the conditions of every run; whether it still serves the same weights under this
    name, nobody here can tell.
    """
    ref = ModelRef(name=f"{names.REMOTE}{name}", digest=digest({"served model": name}))
    return LocalModel(ref=ref, path=Path(ref.name), context_length=UNBOUNDED, remote_name=name)


def fetch(
    hub_id: str,
    revision: str | None,
    note: Callable[[str], None],
    ignored: Sequence[str] = ("*/*",),
    *,
    code: bool = False,
) -> Path:
    """The hub cache's folder of one commit (its name is the commit), fetched when it is not there.

    ignored: patterns of files that do not count; by default only top-level files do, because repositories of
    language models carry other formats of the same weights in folders. code: fetch what may run, too.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    offline = names.offline()
    if not offline:
        note(f"fetching {hub_id} from the hub, or finding it in its cache")
    try:
        path = snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=names.hub_cache(),
            local_files_only=offline,
            allow_patterns=[*WANTED, "*.py"] if code else WANTED,
            ignore_patterns=list(ignored),
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "HF_HUB_OFFLINE is set: unset it to fetch" if offline else "Gated models need a token in HF_TOKEN"
        where = f"model {hub_id!r}" + (f" at {revision}" if revision else "")
        raise ModelError(Problem(where, f"cannot be fetched: {reason}", names.ALLOWED, hint)) from error
    return Path(path)
