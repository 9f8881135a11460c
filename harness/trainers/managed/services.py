"""Which services there are, how each is reached, and what it needs: package, key, arguments that it knows."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from harness.errors import Problem, TrainingError, did_you_mean
from harness.trainers.managed.base import Line, Service
from harness.trainers.managed.journal import Journal
from harness.trainers.spec import TrainSpec

URLS: Final = {
    "openai": "https://api.openai.com/v1",
    "together": "https://api.together.ai/v1",
    "fireworks": "https://api.fireworks.ai",
}
KEYS: Final = {
    "openai": "OPENAI_API_KEY",
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "compatible": "HARNESS_API_KEY",
}
PACKAGES: Final = {"openai": "openai", "together": "together", "fireworks": "fireworks", "compatible": "openai"}
"""Modules by service."""
ACCOUNT: Final = "FIREWORKS_ACCOUNT_ID"


def _openai(line: Line) -> Service:
    from harness.trainers.managed.openai_jobs import OpenAIJobs

    return OpenAIJobs(line)


def _together(line: Line) -> Service:
    from harness.trainers.managed.together_jobs import TogetherJobs

    return TogetherJobs(line)


def _fireworks(line: Line) -> Service:
    from harness.trainers.managed.fireworks_jobs import FireworksJobs

    return FireworksJobs(line)


SERVICES: Final[dict[str, Callable[[Line], Service]]] = {
    "openai": _openai,
    "together": _together,
    "fireworks": _fireworks,
    "compatible": _openai,
}
"""Every service and who speaks to it; the contract tests run over each."""


def reached(spec: TrainSpec, model: str) -> Journal:
    """How the spec's service is reached: the beginning of a journal."""
    managed = spec.managed
    assert managed is not None  # noqa: S101  the spec's own check
    return Journal(
        service=managed.service,
        url=managed.url or URLS[managed.service],
        key_env=managed.api_key_env or KEYS[managed.service],
        account=(managed.account or os.environ.get(ACCOUNT, "")) if managed.service == "fireworks" else "",
        model=model,
    )


def opened(begun: Journal) -> Service:
    """Who speaks to the service of a journal. Raises TrainingError without its key."""
    key = os.environ.get(begun.key_env, "").strip()
    if problem := _keyless(begun):
        raise TrainingError(problem)
    return SERVICES[begun.service](Line(begun.service, begun.url, key, begun.key_env, begun.account))


def exposed(url: str) -> str:
    """A sentence where key and rows can be read on their way, else empty."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.hostname or "") in ("127.0.0.1", "::1", "localhost"):
        return ""
    return f"the key and all rows travel unencrypted to {parts.hostname}; use https where it is no network of your own"


def unready(spec: TrainSpec) -> Iterator[Problem]:
    """What is missing before a job can be asked for: the package, the key, arguments that it knows."""
    managed = spec.managed
    if managed is None:
        return
    package = PACKAGES[managed.service]
    if importlib.util.find_spec(package) is None:
        hint = "pip install 'finetune-harness[managed]'"
        yield Problem("train.managed.service", f"the package {package} is not installed", next=hint)
        return
    known = _known(managed.service, spec.objective)
    for name in managed.hyperparameters:
        if known and name not in known:
            where = f"train.managed.hyperparameters.{name}"
            yield Problem(where, f"{managed.service} knows no such argument", did_you_mean(name, sorted(known)))
    if problem := _keyless(reached(spec, "")):
        yield problem


def _keyless(begun: Journal) -> Problem | None:
    if not os.environ.get(begun.key_env, "").strip():
        hint = f"Set it to a key of {begun.service} that may fine-tune; it is written nowhere"
        return Problem("train.managed", f"{begun.key_env} is not set", next=hint)
    if begun.service == "fireworks" and not begun.account:
        return Problem("train.managed.account", "is missing", next=f"State it, or set {ACCOUNT}")
    return None


def _known(service: str, objective: str) -> set[str]:
    """Names of hyperparameters, off the installed package; none where only the service knows them."""
    if service == "compatible":
        return set()
    if service == "together":
        from harness.trainers.managed import together_jobs

        return together_jobs.hyperparameters(objective)
    if service == "fireworks":
        from harness.trainers.managed import fireworks_jobs

        return fireworks_jobs.hyperparameters(objective)
    from harness.trainers.managed import openai_jobs

    return openai_jobs.hyperparameters(objective)
