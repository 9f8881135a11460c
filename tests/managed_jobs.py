"""Jobs as the tests ask for them at a local service."""

from __future__ import annotations

from typing import Any

from managed_server import ManagedServer, running
from managed_words import BASE, KEY
from small_training import Notes, job

from harness import models
from harness.records import Item, Message, Preference, SeedTraining
from harness.trainers import Job, TrainSpec, no_scorer, train
from harness.trainers.managed.base import Line

MODEL = models.resolve(f"openai:{BASE}")
DEV = (Item(id="d0", messages=(Message(role="user", content="What comes after 9?"),), target="It is 10."),)
PAIRS = (
    Preference(id="p0", messages=(Message(role="user", content="Say 1."),), chosen="1", rejected="2"),
    Preference(id="p1", messages=(Message(role="user", content="Say 3."),), chosen="3", rejected="4"),
)
EPOCHS = {"openai": {"n_epochs": 2}, "together": {"n_epochs": 2}, "fireworks": {"epochs": 2}, "compatible": {}}
CREATES = {
    "openai": "POST /v1/fine_tuning/jobs",
    "compatible": "POST /v1/fine_tuning/jobs",
    "together": "POST /v1/fine-tunes",
    "fireworks": "POST /v1/accounts/me/supervisedFineTuningJobs",
}
LOOKS = {
    "openai": "fine_tuning/jobs/ftjob-0", "compatible": "fine_tuning/jobs/ftjob-0", "together": "fine-tunes/ft-0",
    "fireworks": "supervisedFineTuningJobs/harness-",
}  # fmt: skip


def serving(service: str, **settings: Any) -> Any:
    return running("openai" if service == "compatible" else service, **settings)


def asked(
    server: ManagedServer, service: str, *, seed: int = 0, train: dict[str, Any] | None = None, **given: Any
) -> Job:
    at = server.url if service == "fireworks" else f"{server.url}/v1"
    managed = {"service": service, "url": at, "poll": 0.001, "hyperparameters": EPOCHS[service]} | given
    if service == "fireworks":
        managed["account"] = "me"
    spec = TrainSpec.model_validate({"method": "managed", "managed": managed} | (train or {}))
    return job(MODEL, spec, seed=seed, dev=DEV, pairs=PAIRS if spec.objective == "dpo" else ())


def made(server: ManagedServer, service: str, notes: Notes | None = None, **given: Any) -> SeedTraining:
    return train(asked(server, service, **given), notes or Notes(), no_scorer)[0]


def line_to(server: ManagedServer, service: str) -> Line:
    return Line(service, server.url, KEY, "K", "me")
