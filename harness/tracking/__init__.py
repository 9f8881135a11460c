"""Results told to other trackers through their own APIs, each verdict once, and an alias of theirs pointed to it.

content      what is told           mlflow_runs   MLflow's store and its model registry
wandb_runs   Weights & Biases       trackio_runs  trackio       hub   a repository on the Hugging Face Hub
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import Problem, UsageError, did_you_mean
from harness.records import Candidate
from harness.store import ExperimentStore
from harness.tracking import hub, mlflow_runs, trackio_runs, wandb_runs
from harness.tracking.content import Content, content

__all__ = ["MIRRORS", "TRACKERS", "Told", "tell"]

TRACKERS: Final[Mapping[str, Callable[[Content], tuple[str, bool]]]] = {
    "mlflow": mlflow_runs.tell,
    "wandb": wandb_runs.tell,
    "trackio": trackio_runs.tell,
}
"""Name to what makes one run of a verdict: its id there, and whether it is new."""
MIRRORS: Final[Mapping[str, Callable[[Content, str], tuple[str, bool]]]] = {"mlflow": mlflow_runs.mirror}
"""Name to what points an alias there to an experiment's run: the version, and whether anything moved."""
HUB: Final = "hub"
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Told:
    """What was told, and where."""

    to: str
    experiment: str
    identity: str
    """Experiment and verdict."""
    where: str
    """Id of the run there, or the commit's address."""
    new: bool
    """False where it had been told before, so that nothing was made."""
    alias: str | None = None
    version: str | None = None
    """Of the registered model that the alias points to."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def lines(self) -> list[str]:
        """For people."""
        told = f"{self.to}: {self.where}" if self.new else f"{self.to}: {self.where} has it already; nothing was made"
        if self.alias is None:
            return [told]
        return [told, f"{self.to}: alias {self.alias} points to version {self.version} of {mlflow_runs.MODEL}"]


def tell(
    folder: ExperimentStore, candidate: Candidate, to: str, *, alias: str | None = None, repo: str | None = None,
    public: bool = False, weights: bool = False, note: Note = lambda text: None,
) -> Told:  # fmt: skip
    """Tell an experiment with its verdict to a tracker, or upload its weights to the Hub; once for each verdict.

    alias: point this alias of the tracker's registered model there too. repo, public: of the Hub.
    Raises UsageError for an unknown tracker, options that it does not take, or an unfinished experiment.
    """
    known = [*TRACKERS, HUB]
    if to not in known:
        raise UsageError(Problem("--to", f"unknown tracker {to!r}", did_you_mean(to, known)))
    if alias is not None and to not in MIRRORS:
        raise UsageError(Problem("--alias", f"{to} has no aliases", f"One of {', '.join(MIRRORS)} has"))
    if to != HUB and (repo is not None or public):
        raise UsageError(Problem("--repo, --public", f"{to} has no repositories", "They go with --to hub"))
    made = content(folder, candidate, weights or to == HUB)
    if candidate.model.name.startswith("/") or candidate.model.name.startswith("."):
        note(f"the base model is told as it is spelled in the spec: {candidate.model.name}")
    if to == HUB:
        where, new = hub.upload(made, repo, public)
        return Told(to, folder.id, made.identity, where, new)
    where, new = TRACKERS[to](made)
    if alias is None:
        return Told(to, folder.id, made.identity, where, new)
    version, _ = MIRRORS[to](made, alias)
    return Told(to, folder.id, made.identity, where, new, alias, version)
