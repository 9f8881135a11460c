"""Weights by content: publishing, hashing, locking."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest

from harness import artifacts
from harness.errors import ModelError


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


def staged(path: Path, content: bytes = b"weights", name: str = "adapter_model.safetensors") -> Path:
    path.mkdir(parents=True)
    (path / name).write_bytes(content)
    (path / "adapter_config.json").write_text("{}")
    return path


def test_home_follows_the_environment(tmp_path: Path) -> None:
    assert artifacts.home() == tmp_path / "home"


def test_published_folder_is_named_by_its_content(tmp_path: Path) -> None:
    digest = artifacts.publish("adapters", staged(tmp_path / "a"))
    assert artifacts.folder("adapters", digest).joinpath("adapter_model.safetensors").read_bytes() == b"weights"
    assert artifacts.digest_folder(artifacts.folder("adapters", digest)) == digest
    assert not (tmp_path / "a").exists()


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    first = artifacts.publish("adapters", staged(tmp_path / "a"))
    made = artifacts.folder("adapters", first).stat().st_ino
    assert artifacts.publish("adapters", staged(tmp_path / "b")) == first
    assert artifacts.folder("adapters", first).stat().st_ino == made
    assert [path.name for path in artifacts.folder("adapters", first).parent.iterdir()] == [first]


def test_names_and_contents_both_count(tmp_path: Path) -> None:
    digests = {
        artifacts.digest_folder(staged(tmp_path / "a")),
        artifacts.digest_folder(staged(tmp_path / "b", b"other")),
        artifacts.digest_folder(staged(tmp_path / "c", name="model.safetensors")),
    }
    assert len(digests) == 3


def test_large_files_are_hashed_once_and_again_when_they_change(tmp_path: Path) -> None:
    path = staged(tmp_path / "a", b"x" * artifacts.REMEMBER_FROM)
    first = artifacts.digest_folder(path)
    assert len(artifacts.read_json("digests.json")) == 1
    assert artifacts.digest_folder(path) == first
    (path / "adapter_model.safetensors").write_bytes(b"y" * artifacts.REMEMBER_FROM)
    assert artifacts.digest_folder(path) != first


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt", "state.pkl"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    path = staged(tmp_path / "a")
    (path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=f"{name}.*Only safetensors"):
        artifacts.publish("adapters", path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        artifacts.publish("models", staged(tmp_path / "a", name="notes.txt"))


def test_a_torn_table_counts_as_empty() -> None:
    artifacts.update_json("index.json", {"a": "1"})
    (artifacts.home() / "index.json").write_text('{"a": ')
    assert artifacts.read_json("index.json") == {}


def test_a_workspace_stays(tmp_path: Path) -> None:
    assert artifacts.workspace("x", "seed0") == tmp_path / "home" / "work" / "x" / "seed0"
    assert artifacts.workspace("x", "seed0").is_dir()


def hold(ready: Any, go: Any, done: Path) -> None:
    with artifacts.lock("one"):
        ready.set()
        go.wait()
        done.touch()


def test_a_lock_keeps_other_processes_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    child = context.Process(target=hold, args=(ready, go, tmp_path / "done"))
    child.start()
    assert ready.wait(120)
    later = threading.Timer(0.2, go.set)  # by then this process waits for the lock
    later.start()
    with artifacts.lock("one"):
        assert (tmp_path / "done").exists()
    later.join()
    child.join()
