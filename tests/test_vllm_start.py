"""How a vLLM server is started and asked, and what is refused, all without vLLM."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_http_engine import Reply, client, serving

from harness.engines.base import Adapter, Request
from harness.engines.pairs import Prefix
from harness.engines.vllm import Settings, VllmEngine
from harness.engines.vllm.adapters import check_adapter
from harness.engines.vllm.ask import Asker
from harness.engines.vllm.flags import server_command, server_environment
from harness.errors import EngineError
from harness.models import LocalModel
from harness.records import Decoding, ModelRef


@pytest.fixture
def stub(tmp_path: Path) -> LocalModel:
    """A model folder that is only looked at."""
    shape = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}
    (tmp_path / "config.json").write_text(json.dumps(shape))
    return LocalModel(ref=ModelRef(name="stub", digest="0" * 64), path=tmp_path, context_length=2048)


def flags(model: LocalModel, **settings: Any) -> str:
    return " ".join(server_command("python", model, Settings(**settings), 1234)) + " "


def test_a_slot_is_left_empty_for_the_base_model(stub: LocalModel) -> None:
    # Pins a fault of the CPU build: with no empty slot, base requests are answered by the last adapter.
    assert "--max-loras 3 " in flags(stub, max_adapters=2)


def test_no_adapter_weights_are_applied_to_lm_head_on_a_cpu(stub: LocalModel) -> None:
    # Pins a fault of the CPU build: concurrent log-probabilities with LoRA on lm_head kill the engine.
    given = flags(stub, max_adapters=2).split("--lora-target-modules ")[1]
    assert "q_proj" in given
    assert "lm_head" not in given
    assert "lora-target-modules" not in flags(stub, max_adapters=2, device="cuda")


def test_a_server_without_adapters_is_not_compiled_on_a_cpu(stub: LocalModel) -> None:
    assert "--enforce-eager" in flags(stub)
    assert "--enable-lora" not in flags(stub)


def test_the_key_is_in_the_environment_and_not_on_the_command_line(stub: LocalModel) -> None:
    assert server_environment(Settings(), stub, "secret")["VLLM_API_KEY"] == "secret"
    assert "--api-key" not in flags(stub)


def test_constraints_are_enforced_by_one_library_on_both_engines(stub: LocalModel) -> None:
    assert '--structured-outputs-config {"backend":"guidance"} ' in flags(stub)


def test_nothing_is_taken_from_a_generation_config(stub: LocalModel) -> None:
    assert "--generation-config vllm " in flags(stub)


def test_adapters_that_would_be_served_wrongly_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"base.lm_head.lora_A.weight": {}, "base.q_proj.lora_A.weight": {}}).encode()
    (tmp_path / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    config = {"peft_type": "LORA", "r": 64, "use_dora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError) as caught:
        check_adapter(Adapter("mine", str(tmp_path)), Settings(max_adapters=1, adapter_rank=16))
    for part in ("DoRA", "its rank is 64", "started for 16", "silently skip its weights on lm_head"):
        assert part in str(caught.value)


def letters(_: int, body: Any) -> Reply:
    """Letters are tokens, and the likelihood falls with the alphabet. Refuses as vLLM does by default."""
    prompt, asked = body["prompt"], body.get("logprob_token_ids", [])
    if isinstance(prompt, str):
        return 200, {"tokens": [ord(letter) for letter in prompt]}, {}
    if len(asked) > 20:
        return 400, {"error": {"message": "Requested sample logprobs of 21, which is greater than max allowed: 20"}}, {}
    usage = {"prompt_tokens": len(prompt)}
    if asked:
        top = {f"token_id:{token}": -float(token) for token in asked}
        return 200, {"choices": [{"logprobs": {"top_logprobs": [top]}}], "usage": usage}, {}
    rows = [[{str(token): {"logprob": -float(token)}} for token in tokens] for tokens in prompt]
    choices = [{"index": index, "prompt_logprobs": row} for index, row in enumerate(rows)]
    return 200, {"choices": choices, "usage": usage}, {}


@pytest.mark.parametrize("count", [20, 21])
def test_more_choices_of_one_token_than_a_server_answers_for_are_scored_as_prompts(count: int) -> None:
    choices = tuple(chr(ord("a") + index) for index in range(count))
    with serving(letters) as server, client(server.url) as http:
        asker = Asker(http, Prefix(0, "."), (), 1024)
        answer = asker.answer("m", Request(Decoding(), text="Q: ", choices=choices))
    assert answer.error is None
    assert answer.logprobs is not None
    assert len(answer.logprobs) == count
    assert answer.logprobs[0] > answer.logprobs[-1]


def script(folder: Path, body: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_that_dies_tells_its_last_lines(stub: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"ended while starting.*\n.*no memory"):
        VllmEngine(stub, python=script(tmp_path, "echo no memory; exit 1"), log=tmp_path / "log")


def test_a_server_that_never_comes_up_is_ended(
    stub: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"

    def clock() -> float:
        """Time is over once the server is loading."""
        return 10.0 if log.exists() and len(log.read_text().splitlines()) == 2 else 0.0

    monkeypatch.setattr("harness.engines.vllm.engine.time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    with pytest.raises(EngineError, match="not up after") as caught:
        VllmEngine(
            stub,
            python=script(tmp_path, "echo loading; echo $$; exec sleep 600"),
            log=log,
            settings=Settings(startup_limit_s=5),
        )
    pid = int(str(caught.value).split()[-1].rstrip("."))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
