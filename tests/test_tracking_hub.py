"""`harness export --to hub`: what huggingface_hub's own client sends, received by a stand-in server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub_server
import pytest
import released_store
from hub_server import Hub

from harness import evidence, tracking, trainers
from harness.errors import HarnessError, UsageError
from harness.store import ExperimentStore, Store

REPO = "me/it"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""huggingface_hub sends large files by an older name of httpx's."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return released_store.build(tmp_path / "reports")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    with hub_server.running() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own, which is not tested here
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        yield running


def upload(folder: ExperimentStore, **options: Any) -> tracking.Told:
    return tracking.tell(folder, evidence.deployable(folder), "hub", **{"repo": REPO, **options})


def test_weights_and_card_are_committed_to_a_private_repository(store: Store, hub: Hub) -> None:
    folder = store.find("tickets-lora")
    told = upload(folder)
    adapter = evidence.deployable(folder).adapter
    assert adapter is not None
    weights = trainers.folder_of(adapter)
    assert hub.visibility == {REPO: "private"}
    assert hub.files["adapter_model.safetensors"] == (weights / "adapter_model.safetensors").read_bytes()
    assert hub.files["README.md"] == (folder.path / "model_card.md").read_bytes()
    assert json.loads(hub.files["verdict.json"])["decision"] == "promote"
    assert told.where.endswith(hub.commits[0]["id"])


def test_the_same_verdict_is_committed_once(store: Store, hub: Hub) -> None:
    folder = store.find("tickets-lora")
    assert [upload(folder).new, upload(folder).new] == [True, False]
    assert len(hub.commits) == 1


def test_a_repository_is_public_only_where_that_is_said(store: Store, hub: Hub) -> None:
    upload(store.find("tickets-lora"), public=True)
    assert hub.visibility == {REPO: "public"}


def test_a_wrong_token_is_told(store: Store, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HarnessError, match="HF_TOKEN"):
        upload(store.find("tickets-lora"))
    assert hub.commits == []


def test_a_file_that_is_refused_commits_nothing(store: Store, hub: Hub) -> None:
    hub.refuses_files = True
    with pytest.raises(HarnessError):
        upload(store.find("tickets-lora"))
    assert hub.commits == []


def test_what_trained_nothing_has_nothing_to_upload(store: Store, hub: Hub) -> None:
    with pytest.raises(UsageError, match="has no weights of its own"):
        upload(store.find("faq-prompt"))
    assert hub.visibility == {}
