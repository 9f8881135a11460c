"""Exported GGUF files in llama.cpp itself, where its server is installed: it reads prompts as transformers does."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_chat_model

from harness.engines import llama_server
from harness.engines.base import Answer, Engine, Request
from harness.engines.llama_server import LlamaServer
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import EngineError
from harness.exporting import gguf
from harness.models import LocalModel
from harness.records import Decoding, Message

ASKED = [
    Request(Decoding(max_tokens=8), (Message(role="system", content="Count."), Message(role="user", content=text)))
    for text in ("What comes after 12345?", "the inner\n\nthings  of 1 2 33", "Grüße, 你好!", "I've 3.14, haven't I?")
]


@pytest.fixture(scope="module")
def program() -> str:
    found = llama_server.find()
    if found is None:
        pytest.skip("llama.cpp's server is not installed; HARNESS_LLAMA_SERVER names it")
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny_chat_model.make(tmp_path_factory.mktemp("tiny"))


def said(engine: Engine) -> list[Answer]:
    with engine:
        answers = dict(engine.answer(ASKED))
    assert not [answer.error for answer in answers.values() if answer.error]
    return [answers[at] for at in range(len(ASKED))]


@pytest.mark.parametrize("digits", [True, False])
def test_llama_cpp_reads_prompts_and_answers_as_transformers_does(digits: bool, program: str, tmp_path: Path) -> None:
    model = tiny_chat_model.make(tmp_path / "model", digits=digits)
    gguf.write(model.path, tmp_path / "model.gguf", "f16", "tiny")
    server = LlamaServer(program, tmp_path / "model.gguf", model, log=tmp_path / "log")
    ours, theirs = said(server), said(TransformersEngine(model))
    assert [answer.tokens_in for answer in ours] == [answer.tokens_in for answer in theirs]
    assert server.conditions.engine == "llama.cpp"
    assert server.conditions.chat_template_digest == model.ref.chat_template_digest


def test_a_file_that_it_cannot_read_is_told_with_its_last_words(
    program: str, model: LocalModel, tmp_path: Path
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(EngineError, match="ended while starting"):
        LlamaServer(program, tmp_path / "model.gguf", model, log=tmp_path / "log")


def test_where_it_is_not_installed_nothing_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HARNESS_LLAMA_SERVER", raising=False)
    assert llama_server.find() is None
