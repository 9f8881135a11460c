"""A candidate's own weights with their card in a repository of the Hugging Face Hub: private unless told otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError, Problem, UsageError
from harness.models.names import HUB_ID
from harness.tracking.content import Content

NAMED: Final = re.compile(HUB_ID.pattern)
CARD: Final = "model_card.md"


def upload(content: Content, repo: str | None, public: bool) -> tuple[str, bool]:
    """Commit card, verdict and weights to a repository, made where there is none; the commit's address, and whether
    anything was new.

    The token is huggingface_hub's own: HF_TOKEN, or who has logged in. A repository that is there keeps its
    visibility. Raises UsageError for a name that is none, or an experiment that trained nothing; HarnessError with
    what the Hub says.
    """
    if repo is None or not NAMED.fullmatch(repo):
        raise UsageError(Problem("--repo", f"got {repo!r}", "The repository's name on the Hub, as OWNER/NAME"))
    if content.weights is None:
        what = "has no weights of its own: nothing was trained, or a server has them"
        raise UsageError(Problem(content.experiment, what, next="Share its report instead (--to mlflow)"))
    card = next((file for file in content.files if file.name == CARD), None)
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    sent = {"README.md": card, "verdict.json": _named(content, "verdict.json")}
    sent |= {path.relative_to(content.weights).as_posix(): path for path in sorted(content.weights.rglob("*"))
             if path.is_file() and not path.name.startswith(".")}  # fmt: skip
    operations = [CommitOperationAdd(name, str(path)) for name, path in sent.items() if path is not None]
    title = f"Weights and card of {content.identity}"
    try:
        api = HfApi()
        address = str(api.create_repo(repo, private=not public, repo_type="model", exist_ok=True))
        if any(commit.title == title for commit in api.list_repo_commits(repo)):
            return address, False
        return str(api.create_commit(repo, operations, commit_message=title).commit_url), True
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as fault:
        hint = "Look at HF_TOKEN (it needs the right to write) and HF_ENDPOINT"
        raise HarnessError(Problem(f"hub {repo}", _first_line(fault), next=hint)) from fault


def _named(content: Content, name: str) -> Path | None:
    return next((file for file in content.files if file.name == name), None)


def _first_line(fault: Any) -> str:
    lines = [line for line in str(fault).splitlines() if line.strip()]
    return lines[0] if lines else type(fault).__name__
