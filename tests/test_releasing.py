"""Promotion and going back: what is refused, what is recorded, and that nothing is ever half-done."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import released_store
from released_store import PROMOTED, REJECTED

from harness import artifacts
from harness.cli import main
from harness.errors import StoreError, UsageError
from harness.evidence import deployable, pointers
from harness.records import ReleaseRecord, VerdictRecord
from harness.releasing import promote, rollback, standing
from harness.store import Store

FIRST, SECOND = PROMOTED


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(place / "home"))
        released_store.build(place / "reports")
    return place


@pytest.fixture
def store(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    return Store(tmp_path / "reports")


def named(moves: list[ReleaseRecord]) -> list[str]:
    return [move.experiment.partition("--")[0] for move in moves]


def test_a_promotion_says_who_when_why_and_what(store: Store) -> None:
    folder = store.find(FIRST)
    done = promote(store, folder, why="better on refunds", by="ada")
    assert done.moved
    assert done.before is None
    kept = store.registry.current("production")
    assert kept == done.release
    assert kept is not None
    assert (kept.by, kept.why, kept.number, kept.decision) == ("ada", "better on refunds", 1, "promote")
    assert kept.candidate == deployable(folder)
    assert kept.verdict_digest == folder.file_digest(VerdictRecord)


def test_what_was_not_judged_promote_is_refused_unless_overridden_with_a_reason(store: Store) -> None:
    folder = store.find(REJECTED)
    with pytest.raises(UsageError, match=r"was judged reject.*--override"):
        promote(store, folder)
    with pytest.raises(UsageError, match="empty text"):
        promote(store, folder, override=" ")
    assert not store.registry.path.exists()
    kept = promote(store, folder, override="the old one is down").release
    assert (kept.decision, kept.override) == ("reject", "the old one is down")


def test_an_override_of_what_was_promoted_anyway_is_none(store: Store) -> None:
    assert promote(store, store.find(FIRST), override="just in case").release.override is None


def test_the_same_candidate_twice_is_told_and_writes_nothing(store: Store) -> None:
    promote(store, store.find(FIRST))
    again = promote(store, store.find(FIRST))
    assert not again.moved
    assert len(store.registry.all()) == 1


@pytest.mark.parametrize("alias", ["latest", "base", "../x", "", "a b", "tickets--12345678"])
def test_an_alias_has_a_name_that_means_nothing_else(store: Store, alias: str) -> None:
    with pytest.raises(UsageError, match="cannot be an alias"):
        promote(store, store.find(FIRST), alias)


def test_an_experiment_of_another_store_is_not_promoted_in_this_one(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not lie in.*--reports"):
        promote(Store(tmp_path / "other"), store.find(FIRST))
    assert not (tmp_path / "other").exists()


def test_aliases_move_apart_from_each_other(store: Store) -> None:
    promote(store, store.find(FIRST), "staging")
    promote(store, store.find(SECOND))
    assert {name: one.move.number for name, one in pointers(store).items()} == {"production": 1, "staging": 1}


def test_weights_that_are_gone_or_changed_are_not_deployed(store: Store) -> None:
    candidate = deployable(store.find(FIRST))
    assert candidate.adapter
    path = artifacts.folder("adapters", candidate.adapter.digest)
    (path / "adapter_config.json").write_text('{"r": 1}')
    with pytest.raises(StoreError, match="not those that were judged"):
        promote(store, store.find(FIRST))
    shutil.rmtree(path)
    with pytest.raises(StoreError, match=r"weights are gone.*HARNESS_HOME"):
        promote(store, store.find(FIRST))
    assert not store.registry.path.exists()


def test_a_verdict_whose_runs_were_changed_is_not_deployed(store: Store) -> None:
    folder = store.find(FIRST)
    run = folder.path / "runs" / "base--task--test"
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"samples_digest": "', '"samples_digest": "0'))
    shutil.rmtree(folder.path / "runs" / "best_prompt--task--test")
    with pytest.raises(StoreError) as told:
        promote(store, folder)
    assert "base--task--test: is not the run" in str(told.value)
    assert "best_prompt--task--test: is gone" in str(told.value)


def test_a_verdict_that_was_edited_to_promote_is_not_deployed(store: Store) -> None:
    folder = store.find(FIRST)
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    gates = tuple(gate.model_copy(update={"outcome": "fail"}) for gate in verdict.gates)
    (folder.path / "verdict.json").write_text(verdict.model_copy(update={"gates": gates}).model_dump_json())
    with pytest.raises(StoreError, match="a blocking gate that did not pass"):
        promote(store, folder)


def test_samples_that_were_changed_are_found(store: Store) -> None:
    folder = store.find(FIRST)
    runs = folder.path / "runs"
    shutil.copy(runs / "base--task--test" / "samples.parquet", runs / "tuned-seed0--task--test" / "samples.parquet")
    with pytest.raises(StoreError, match="was changed after the run was finished"):
        promote(store, folder)


def test_rollbacks_in_a_row_go_further_back_and_never_to_and_fro(store: Store) -> None:
    for name in (FIRST, SECOND):
        promote(store, store.find(name))
    promote(store, store.find(REJECTED), override="a trial")
    assert named([rollback(store).release]) == [SECOND]
    assert named([rollback(store).release]) == [FIRST]
    with pytest.raises(UsageError, match="none before"):
        rollback(store)
    promote(store, store.find(SECOND))
    assert named([rollback(store, why="worse", by="bo").release]) == [FIRST]
    last = store.registry.history("production")[-1]
    assert (last.action, last.back_to, last.by, last.why) == ("rollback", 1, "bo", "worse")
    assert [move.number for move in store.registry.all()] == list(range(1, 8))


def test_a_rollback_to_one_that_had_been_left_puts_it_on_top(store: Store) -> None:
    promote(store, store.find(FIRST))
    promote(store, store.find(SECOND))
    rollback(store)
    assert named([rollback(store, to=SECOND).release]) == [SECOND]
    assert named(standing(store.registry.all())) == [FIRST, SECOND]
    assert named([rollback(store, to="1").release]) == [FIRST]
    with pytest.raises(UsageError, match="already"):
        rollback(store, to="1")


@pytest.mark.parametrize("to", ["7", "nobody"])
def test_a_rollback_to_what_never_was_is_refused(store: Store, to: str) -> None:
    with pytest.raises(UsageError, match=r"never moved.*harness promote"):
        rollback(store, to=to)
    promote(store, store.find(FIRST))
    with pytest.raises(UsageError, match=r"is no move of production.*1 \(tickets-lora"):
        rollback(store, to=to)


def test_a_rollback_to_what_is_gone_is_refused_and_says_what_is_left(store: Store) -> None:
    promote(store, store.find(REJECTED), override="first of all")
    promote(store, store.find(FIRST))
    promote(store, store.find(SECOND))
    shutil.rmtree(store.find(FIRST).path)
    with pytest.raises(StoreError, match=r"no longer in the store.*--to: 1 \(intents-lora"):
        rollback(store)
    assert named([rollback(store, to="1").release]) == [REJECTED]


def test_a_rollback_without_the_weights_is_refused(store: Store) -> None:
    promote(store, store.find(FIRST))
    adapter = store.registry.all()[0].candidate.adapter
    promote(store, store.find(SECOND))
    assert adapter
    shutil.rmtree(artifacts.folder("adapters", adapter.digest))
    with pytest.raises(StoreError, match="weights are gone"):
        rollback(store)
    assert len(store.registry.all()) == 2


def test_a_pointer_to_a_deleted_experiment_or_another_verdict_is_called_broken(store: Store) -> None:
    promote(store, store.find(FIRST))
    promote(store, store.find(SECOND), "staging")
    assert [one.fault for one in pointers(store).values()] == ["", ""]
    verdict = store.find(SECOND).path / "verdict.json"
    verdict.write_text(verdict.read_text() + "\n")
    shutil.rmtree(store.find(FIRST).path)
    found = pointers(store)
    assert "is no longer in the store" in found["production"].fault
    assert "not the one that was promoted" in found["staging"].fault
    with pytest.raises(StoreError, match="harness rollback --alias staging"):
        found["staging"].whole()


# ------------------------------------------------------------------- two at once


def start(store: Store, name: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", "promote", name, "--by", name, "--json", "--reports", str(store.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who waits for a lock")
def test_of_two_who_promote_at_once_one_wins_and_the_other_is_told(store: Store) -> None:
    with store.registry.turn():  # both look before either may write
        movers = {name: start(store, name) for name in PROMOTED}
        lock = os.stat(store.root / ".registry.lock").st_ino
        deadline = time.monotonic() + 120
        while _waiting(lock) < 2:
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.05)
    said = {name: mover.communicate(timeout=120) for name, mover in movers.items()}
    codes = sorted(mover.returncode for mover in movers.values())
    assert codes == [0, 1], said
    (kept,) = store.registry.all()
    loser = next(name for name, mover in movers.items() if mover.returncode == 1)
    assert kept.by != loser
    assert f"{kept.by} moved it meanwhile to {kept.experiment}" in said[loser][1]


def _waiting(inode: int) -> int:
    """Processes that wait for a lock on a file, as Linux tells."""
    lines = Path("/proc/locks").read_text().splitlines()
    return sum("->" in line and f":{inode} " in line for line in lines)


# ---------------------------------------------------------------------- full disk


def test_a_full_disk_moves_nothing_and_leaves_the_registry_readable(store: Store) -> None:
    promote(store, store.find(FIRST))
    size = store.registry.path.stat().st_size
    limit = size + 200  # less than a line: some of it is written, then no more
    mover = start(store, SECOND, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    out, err = mover.communicate(timeout=120)
    assert mover.returncode == 1
    assert "cannot write" in json.loads(out)["error"]["problems"][0]
    assert "Traceback" not in err
    assert store.registry.path.stat().st_size == size
    assert named(store.registry.all()) == [FIRST]
    assert promote(store, store.find(SECOND)).release.number == 2


# ------------------------------------------------------------------- command line


def said(capsys: pytest.CaptureFixture[str], store: Store, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--reports", str(store.root)])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def test_the_commands_tell_people(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing was promoted yet" in said(capsys, store, "aliases")[1]
    assert "production points to tickets-lora" in said(capsys, store, "promote", FIRST, "--why", "better")[1]
    assert "already" in said(capsys, store, "promote", FIRST)[1]
    said(capsys, store, "promote", SECOND, "--alias", "staging")
    assert "; before: tickets-lora" in said(capsys, store, "promote", "staging")[1]
    assert "rollback to 1" in (said(capsys, store, "rollback"), said(capsys, store, "aliases", "production"))[1][1]
    assert "production" in said(capsys, store, "ls")[1]
    code, _, err = said(capsys, store, "promote", REJECTED)
    assert (code, "was judged reject" in err) == (2, True)
    code, _, err = said(capsys, store, "aliases", "prodction")
    assert (code, "Did you mean 'production'" in err) == (2, True)


def test_a_broken_pointer_is_told_by_every_listing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    promote(store, store.find(FIRST))
    shutil.rmtree(store.find(FIRST).path)
    for command in (["ls"], ["aliases"]):
        code, _, err = said(capsys, store, *command)
        assert code == 0
        assert "broken: production points to tickets-lora" in err
    (alias,) = json.loads(said(capsys, store, "aliases", "--json")[1])["aliases"]
    assert "no longer in the store" in alias["fault"]


def test_a_registry_that_cannot_be_read_hides_no_experiment(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.registry.path.write_text("{}\n")
    code, out, err = said(capsys, store, "ls")
    assert code == 0
    assert FIRST in out
    assert "registry.jsonl:1: not a ReleaseRecord" in err
    assert said(capsys, store, "promote", FIRST)[0] == 1


def test_scripts_get_one_document(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    done = json.loads(said(capsys, store, "promote", FIRST, "--by", "ci", "--json")[1])
    assert (done["moved"], done["before"], done["release"]["by"]) == (True, None, "ci")
    listed = json.loads(said(capsys, store, "aliases", "production", "--json")[1])
    assert [move["number"] for move in listed["history"]] == [1]
    rows = json.loads(said(capsys, store, "ls", "--json")[1])["experiments"]
    assert {row["name"]: row["aliases"] for row in rows if row["aliases"]} == {FIRST: ["production"]}
