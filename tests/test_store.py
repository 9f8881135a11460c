"""The store: write-once, manifest last, a torn line is a sample still owed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sample_store import build

from harness import records
from harness.errors import StoreError, UsageError
from harness.records import DataRecord, SampleRecord
from harness.store import FILES, Journal, Store, read_lines, samples_digest
from harness.store.samples import write_samples


def sample(name: str, score: float | None = 1.0, error: str | None = None) -> SampleRecord:
    return SampleRecord(
        task="t", id=name, item_digest="d", question="q", target="g", answer="a", scores={"m": score}, error=error
    )


def data_record() -> DataRecord:
    return DataRecord(format="messages", splits={}, findings=(), majority_answer=None, majority_score=None)


def test_a_record_is_written_once(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    folder.write(data_record())
    with pytest.raises(StoreError, match="exists already"):
        folder.write(data_record())
    assert folder.read(DataRecord) == data_record()


def test_a_torn_last_line_is_cut_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Journal(path) as journal:
        journal.append([sample("a"), sample("b")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert [s.id for s in read_lines(path, SampleRecord)] == ["a"]
    with Journal(path) as journal:
        journal.append([sample("b")])
    assert path.read_bytes() == whole


def test_a_damaged_line_inside_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(sample("a").model_dump_json() + "\nnonsense\n" + sample("b").model_dump_json() + "\n")
    with pytest.raises(StoreError, match=r"samples\.jsonl:2"):
        read_lines(path, SampleRecord)


def test_a_call_asked_again_counts_once(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    with folder.sample_journal("r") as journal:
        journal.append([sample("a", None, "timeout"), sample("a")])
    assert [s.error for s in folder.samples("r")] == [None]


def test_samples_changed_after_the_run_was_finished_are_found(tmp_path: Path) -> None:
    store = build(tmp_path)
    folder = next(e for e in store.experiments() if e.runs())
    run = folder.runs()[0]
    assert folder.samples(run.id)
    path = folder.path / "runs" / run.id / "samples.parquet"
    first, *rest = folder.samples(run.id)
    write_samples(path, [first.model_copy(update={"answer": "something else"}), *rest])
    with pytest.raises(StoreError, match="changed after the run was finished"):
        folder.samples(run.id)


def test_the_samples_digest_ignores_order_and_time_but_not_answers() -> None:
    slow = sample("a").model_copy(update={"latency_s": 9.0})
    assert samples_digest([sample("a"), sample("b")]) == samples_digest([sample("b"), slow])
    assert samples_digest([sample("a")]) != samples_digest([sample("a", 0.0)])


def test_an_unknown_field_is_refused_with_its_name(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    (folder.path / "data.json").write_text(data_record().model_dump_json()[:-1] + ',"surprise":1}')
    with pytest.raises(StoreError, match="surprise"):
        folder.read(DataRecord)


def test_two_processes_do_not_work_on_one_experiment(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x--1", "name: x\n")
    with folder.lock(), pytest.raises(StoreError, match="another process"), folder.lock():
        pass


def test_find_takes_an_id_a_part_or_latest_and_suggests(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("bank--aaaa", "name: bank\n")
    store.create("bank--bbbb", "name: bank\n")
    assert store.find("aaaa").id == "bank--aaaa"
    assert store.find("latest").id in store.ids()
    with pytest.raises(UsageError, match="not unique"):
        store.find("bank")
    with pytest.raises(UsageError, match="Did you mean 'bank--aaaa'"):
        store.find("bank--aaab")


@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_name_is_no_experiment(tmp_path: Path, nothing: str) -> None:
    store = Store(tmp_path)
    store.create("only--12345678", "name: only\n")
    with pytest.raises(UsageError, match="is empty"):
        store.find(nothing)


def test_foreign_and_damaged_folders_are_listed_with_the_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("good--1", "name: good\n")
    store.create("bad--1", "name: bad\n")
    (tmp_path / "bad--1" / "verdict.json").write_text("{")
    store.create("bytes--1", "name: bytes\n")
    (tmp_path / "bytes--1" / "data.json").write_bytes(b"\xff\xfe")
    (tmp_path / "foreign").mkdir()
    assert set(store.damaged()) == {"bad--1", "bytes--1", "foreign"}


def test_every_field_of_every_record_is_in_the_stores_own_documentation() -> None:
    text = Path("reports/README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)\.(\w+)` \|", text, flags=re.M))
    kinds = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, records.Record)]
    expected = {(kind.__name__, field) for kind in kinds for field in kind.model_fields}
    assert documented == expected
    assert all(name in text for name in FILES.values())


def test_every_field_says_what_it_is() -> None:
    kinds = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, records.Record)]
    assert [f"{k.__name__}.{n}" for k in kinds for n, f in k.model_fields.items() if not f.description] == []
