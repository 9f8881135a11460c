"""Samples as Parquet: nothing is lost, what is damaged or half written is told or left out."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_store import build

from harness.errors import StoreError
from harness.records import SampleRecord, digest
from harness.store import Journal, samples_digest
from harness.store.samples import ROWS, SCHEMA, read_samples, write_samples

texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False, width=64)
records = st.builds(
    SampleRecord,
    task=texts,
    id=texts,
    repeat=st.integers(0, 9),
    item_digest=texts,
    question=texts,
    target=texts,
    answer=st.none() | texts,
    scores=st.dictionaries(texts, st.none() | numbers, max_size=3),
    error=st.none() | texts,
    reasoning=st.none() | texts,
    retrieved=st.lists(texts, max_size=2).map(tuple),
    logprobs=st.none() | st.lists(numbers, max_size=3).map(tuple),
    finish=st.none() | st.sampled_from(["stop", "length"]),
    tokens_in=st.none() | st.integers(0, 10**6),
    tokens_out=st.none() | st.integers(0, 10**6),
    latency_s=st.none() | numbers,
    cluster=st.none() | texts,
    slices=st.dictionaries(texts, texts, max_size=2),
)


def test_the_columns_are_the_records_fields() -> None:
    assert SCHEMA.names == list(SampleRecord.model_fields)


@given(st.lists(records, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, samples: list[SampleRecord]) -> None:
    path = tmp_path_factory.mktemp("run") / "samples.parquet"
    write_samples(path, samples)
    assert list(read_samples(path)) == samples


def one(id: str = "a", answer: str | None = "x") -> SampleRecord:
    return SampleRecord(task="t", id=id, item_digest="d", question="q", target="x", answer=answer, scores={"m": 1.0})


def test_more_samples_than_a_row_group_holds_are_all_there(tmp_path: Path) -> None:
    write_samples(tmp_path / "s.parquet", (one(str(i)) for i in range(ROWS + 3)))
    assert [s.id for s in read_samples(tmp_path / "s.parquet")] == [str(i) for i in range(ROWS + 3)]


def test_the_digest_is_that_of_the_list_of_all_records() -> None:
    rows = [json.loads(s.model_dump_json(exclude={"latency_s"})) for s in (one("a"), one("b", None))]
    assert samples_digest([one("b", None), one("a")]) == digest(rows)
    assert samples_digest([]) == digest([])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_samples(path, [one()])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"s\.parquet.*cannot be read"):
        list(read_samples(path))


def test_another_table_is_not_taken_for_samples(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(StoreError, match=r"has the columns \['a'\]"):
        list(read_samples(tmp_path / "s.parquet"))


def test_a_complete_run_is_one_parquet_file_and_its_manifest(tmp_path: Path) -> None:
    folder = next(e for e in build(tmp_path).experiments() if e.runs())
    run = folder.runs()[0]
    assert {p.name for p in (folder.path / "runs" / run.id).iterdir()} == {"samples.parquet", "run.json"}


def test_a_parquet_file_without_a_manifest_is_a_run_still_owed(tmp_path: Path) -> None:
    folder = next(e for e in build(tmp_path).experiments() if e.runs())
    run = folder.runs()[0]
    (folder.path / "runs" / run.id / "run.json").unlink()
    assert folder.run(run.id) is None
    assert folder.samples(run.id) == []


def test_a_dataframe_reads_it(tmp_path: Path) -> None:
    write_samples(tmp_path / "s.parquet", [one(), one("b", None)])
    frame = pd.read_parquet(tmp_path / "s.parquet")
    assert frame["id"].tolist() == ["a", "b"]
    assert dict(frame["scores"][0]) == {"m": 1.0}


def test_a_line_is_in_the_file_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        for number in range(3):
            journal.append([one(str(number))])
            assert (tmp_path / "j.jsonl").read_bytes().count(b"\n") == number + 1
