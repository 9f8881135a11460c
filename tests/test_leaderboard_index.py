"""What the leaderboard remembers of a store."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from sample_store import build

from harness import leaderboard
from harness.errors import StoreError
from harness.leaderboard.index import Index, place
from harness.records import VerdictRecord
from harness.store import ExperimentStore, Found, Store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "reports").root


@pytest.fixture
def store(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    shutil.copytree(built, tmp_path / "reports")
    return Store(tmp_path / "reports")


def ready(store: Store) -> Index:
    index = Index(store)
    assert index.refresh() == 0
    return index


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The experiments whose verdict is read from now on."""
    seen: list[str] = []
    read = ExperimentStore.read

    def noted(self: ExperimentStore, kind: type) -> object:
        if kind is VerdictRecord:
            seen.append(self.name)
        return read(self, kind)

    monkeypatch.setattr(ExperimentStore, "read", noted)
    return seen


def test_remembered_frames_are_those_that_the_records_make(store: Store) -> None:
    first, again = ready(store), ready(store)
    for index in (first, again):
        frame = index.experiments()
        pd.testing.assert_frame_equal(frame[list(leaderboard.SUMMARY_COLUMNS)], leaderboard.experiments(store))
        pd.testing.assert_frame_equal(index.rows(list(frame["experiment"])), leaderboard.rows(store))
        pd.testing.assert_frame_equal(index.damaged(), leaderboard.damaged(store))


def test_only_what_changed_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(store)
    seen = reads(monkeypatch)
    index = ready(store)
    assert seen == []
    verdict = store.find("tickets").path / "verdict.json"
    verdict.write_text(verdict.read_text().replace("All blocking gates passed.", "Edited by hand, and longer."))
    index.refresh()
    assert seen == ["tickets-lora"]
    assert "Edited by hand" in index.experiments().set_index("name").loc["tickets-lora", "reason"]


def test_a_folder_that_goes_is_forgotten_and_a_new_one_stands_first(store: Store) -> None:
    index = ready(store)
    shutil.rmtree(store.find("tickets").path)
    store.create("new--11111111", "name: new\nhypothesis: Something.\n")
    index.refresh()
    names = list(index.experiments()["name"])
    assert names[0] == "new"
    assert "tickets-lora" not in names


def test_reading_stops_when_its_time_is_over_and_goes_on_with_the_next_newest(store: Store) -> None:
    index = Index(store)
    counts = []
    while owed := index.refresh(seconds=0):
        counts.append(owed)
    assert counts == list(range(9, 0, -1))
    assert list(index.experiments()["experiment"]) == [name for name in store.ids() if "torn" not in name]


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Reading stops at `faq-prompt`: an event that says that it is there, and one that lets it go on."""
    arrived, go = threading.Event(), threading.Event()
    read = ExperimentStore.spec

    def waiting(self: ExperimentStore) -> object:
        if self.name == "faq-prompt":
            arrived.set()
            assert go.wait(60)
        return read(self)

    monkeypatch.setattr(ExperimentStore, "spec", waiting)
    yield arrived, go
    go.set()


def ended() -> None:
    """Wait for the thread that reads."""
    for thread in threading.enumerate():
        if thread.name == "leaderboard":
            thread.join(60)


def test_while_one_reads_the_others_get_what_is_known_and_how_much_is_owed(
    store: Store, held_up: tuple[threading.Event, threading.Event]
) -> None:
    arrived, go = held_up
    index = Index(store)
    index.follow(seconds=0)
    assert arrived.wait(60)
    assert index.busy()
    known, owed = index.progress()
    assert known + owed == 10
    assert index.refresh() == owed > 0
    index.follow(seconds=float("inf"))
    frame = index.experiments()
    assert list(frame["experiment"]) == [name for name in store.ids()[:known] if "torn" not in name]
    assert len(index.rows(list(frame["experiment"]))) > known
    go.set()
    ended()
    assert index.progress() == (10, 0)
    assert len(index.experiments()) == 9


def test_who_comes_while_the_store_is_looked_at_sees_what_was_written_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ready(store)
    arrived, go, scan = threading.Event(), threading.Event(), Store.scan

    def waiting(self: Store) -> object:
        found = scan(self)
        arrived.set()
        assert go.wait(60)
        return found

    monkeypatch.setattr(Store, "scan", waiting)
    index.follow(seconds=0)
    assert arrived.wait(60)
    store.create("new--11111111", "name: new\nhypothesis: Something.\n")
    index.follow(seconds=0)
    go.set()
    ended()
    assert index.experiments()["name"].iloc[0] == "new"


def test_a_reading_goes_on_when_nobody_waits_for_it(
    store: Store, held_up: tuple[threading.Event, threading.Event]
) -> None:
    index = Index(store)
    index.follow(seconds=0)
    held_up[1].set()
    ended()
    assert not index.busy()
    assert len(index.experiments()) == 9


def test_a_store_that_cannot_be_looked_at_is_told_once_and_looked_at_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(store)

    def gone(_: Store) -> list[Found]:
        raise OSError("stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "scan", gone)
        with pytest.raises(StoreError, match="cannot be looked at: OSError: stale file handle"):
            index.follow(seconds=60)
    index.follow(seconds=60)
    assert index.progress() == (10, 0)


@pytest.mark.parametrize("harm", ["garbage", "torn", "foreign"])
def test_a_damaged_file_is_made_anew(store: Store, harm: str) -> None:
    path = place(store)
    if harm == "torn":
        ready(store)
        path.write_bytes(path.read_bytes()[:5000])
    else:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no database" * 1000 if harm == "garbage" else b"")
    assert len(ready(store).experiments()) == 9
    assert len(ready(store).experiments()) == 9


def test_a_file_that_is_damaged_while_it_is_open_costs_no_more_than_another_reading(store: Store) -> None:
    index = ready(store)
    place(store).write_bytes(b"\0" * 100_000)
    (store.find("tickets").path / "verdict.json").touch()
    assert index.refresh() == 0
    assert len(index.experiments()) == 9
    assert len(index.rows(list(index.experiments()["experiment"]))) == 41


def test_without_a_place_to_write_it_is_held_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "file"))
    assert len(ready(store).experiments()) == 9


def test_several_processes_and_threads_share_one_file(store: Store) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom harness.leaderboard import Index\nfrom harness.store import Store\n"
    )
    code += "index = Index(Store(Path(sys.argv[1])))\nindex.refresh()\nprint(len(index.experiments()))"
    command = [sys.executable, "-c", code, str(store.root)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    index = Index(store)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: index.refresh(), range(8)))
    assert index.progress() == (10, 0)
    assert len(index.experiments()) == 9
    assert [child.communicate()[0].strip() for child in children] == ["9", "9"]
    assert len(ready(store).experiments()) == 9


def test_an_experiment_that_nobody_foresaw_is_told_and_leaves_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.find("faq").path / "spec.yaml").write_text("hypothesis: " + "[" * 200_000)
    (store.find("intents").path / "data.json").write_text('{"schema_version": 9}')
    folder = store.find("summary").path / "conditions.json"
    folder.write_text("{")
    index = ready(store)
    reasons = index.damaged().set_index("folder")["reason"]
    assert {"faq-prompt", "intents-lora", "summary-lora"} <= {name.rpartition("--")[0] for name in reasons.index}
    assert "This program reads schema version 2" in reasons[store.find("intents").id]
    assert "summary-lora" in set(index.experiments()["name"])
    assert not {"faq-prompt", "intents-lora"} & set(index.experiments()["name"])


def test_the_stamp_of_an_experiment_changes_with_each_of_its_records_and_with_no_other(store: Store) -> None:
    one, other = store.find("tickets"), store.find("intents").id
    seen = {store.stamp(one.id)}
    for name in ("spec.yaml", "verdict.json", "comparisons.jsonl", "runs/base--task--test/run.json"):
        with (one.path / name).open("a") as stream:
            stream.write("\n")
        seen.add(store.stamp(one.id))
    assert len(seen) == 5
    before = store.stamp(other)
    (store.at(other).path / "report.md").write_text("A view.")
    assert store.stamp(other) == before
    assert store.stamp("none") == ""


def test_a_store_that_was_just_looked_at_is_not_looked_at_again_unless_something_is_owed(store: Store) -> None:
    index = Index(store)
    while index.refresh(seconds=0, rest=1e9):
        pass
    shutil.rmtree(store.find("tickets").path)
    index.refresh(rest=1e9)
    assert "tickets-lora" in set(index.experiments()["name"])
    index.refresh()
    assert "tickets-lora" not in set(index.experiments()["name"])


def test_only_a_folder_of_the_store_itself_is_held(store: Store) -> None:
    assert store.holds(store.ids()[0])
    assert not any(store.holds(name) for name in ("", ".", "..", "../reports", str(store.root), "a\0b"))
    assert not Store(store.root / "none").holds("x")
