"""Whatever the bytes: findings or one clear error, never a traceback; and a cleaned file stays as it is."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import audit_file, clean_file, diff_files
from harness.errors import DataError

settings.register_profile("files", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(max_size=40) | st.sampled_from(
    [
        "where is my card",
        "Where is my card?",
        "Hi, where is our card, thanks",
        "4000 0001 2408 7133",
        "hasnâ€™t",
        "",
        " ",
    ]
)
roles = st.sampled_from(["system", "user", "assistant", "tool", "User"])
turns = st.lists(st.fixed_dictionaries({"role": roles, "content": texts | values}) | values, max_size=4)
rows = st.one_of(
    st.fixed_dictionaries({"messages": turns | values}),
    st.fixed_dictionaries(
        {"prompt": texts | values, "completion": texts | values}, optional={"label": values, "id": values}
    ),
    st.fixed_dictionaries({"instruction": texts, "output": texts}, optional={"input": texts | values}),
    st.fixed_dictionaries({"conversations": turns | values}),
    st.fixed_dictionaries({"prompt": texts, "chosen": texts, "rejected": texts}, optional={"score_chosen": values}),
    st.dictionaries(st.text(max_size=8), values, max_size=3),
)


@settings(settings.get_profile("files"))
@given(data=st.binary(max_size=400), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".parquet"]))
def test_any_bytes_give_findings_or_a_clear_error(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            found = audit_file(str(path), held={"test": [str(path)]})
            assert all(finding.message for finding in found.findings)


@settings(settings.get_profile("files"))
@given(given_rows=st.lists(rows, min_size=1, max_size=8))
def test_cleaning_is_a_fixed_point(given_rows: list[object]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given_rows))
        clean_file(str(folder / "a.jsonl"), folder / "b.jsonl")
        again = clean_file(str(folder / "b.jsonl"), folder / "c.jsonl")
        assert (folder / "b.jsonl").read_bytes() == (folder / "c.jsonl").read_bytes()
        assert (again.dropped, again.changed) == (0, 0)
        left = audit_file(str(folder / "b.jsonl")).findings
        assert not [f for f in left if f.line and f.action in ("error", "drop", "fix")]
        assert diff_files(str(folder / "b.jsonl"), str(folder / "c.jsonl")).changed == ()
