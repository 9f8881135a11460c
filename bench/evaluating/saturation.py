"""Saturation: completion tokens per second against one real vLLM server, by this harness and by vLLM's own client.

Both send the same chat prompts with the same sampling parameters and the same number in flight to the same server,
in turns; the first pass over the prompts, which fills the prefix cache, counts for nobody.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines import Request, ServeSpec, open_engine
from harness.engines.vllm import VllmEngine, find
from harness.models import LocalModel
from harness.records import Decoding, Message


@dataclass(frozen=True)
class Flow:
    """What one client got out of the server in one pass."""

    client: str
    tokens: int
    seconds: float
    prompts: int

    @property
    def rate(self) -> float:
        """Completion tokens per second."""
        return self.tokens / self.seconds


def ours(engine: VllmEngine, prompts: Sequence[str], max_tokens: int) -> Flow:
    """One pass by this harness."""
    decoding = Decoding(max_tokens=max_tokens)
    requests = [Request(decoding, messages=(Message(role="user", content=prompt),)) for prompt in prompts]
    started = time.monotonic()
    answers = [answer for _, answer in engine.answer(requests)]
    seconds = time.monotonic() - started
    assert all(answer.error is None for answer in answers), next(a.error for a in answers if a.error)
    return Flow("harness", sum(answer.tokens_out or 0 for answer in answers), seconds, len(prompts))


def theirs(engine: VllmEngine, prompts: Sequence[str], max_tokens: int, concurrency: int, model: LocalModel) -> Flow:
    """One pass by `vllm bench serve`; the time is the one that it reports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
        (folder / "prompts.jsonl").write_text(rows)
        sampling = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "seed": 0}
        start = "import argparse; from vllm.benchmarks.serve import add_cli_args, main; p = argparse.ArgumentParser();"
        command = [str(find().python), "-c", start + " add_cli_args(p); main(p.parse_args())"]
        command += ["--backend", "openai-chat", "--base-url", engine.url, "--endpoint", "/v1/chat/completions"]
        command += ["--model", engine.served_name, "--tokenizer", str(model.path), "--dataset-name", "custom"]
        command += ["--dataset-path", str(folder / "prompts.jsonl"), "--num-prompts", str(len(prompts))]
        command += ["--custom-output-len", str(max_tokens), "--skip-chat-template", "--disable-shuffle"]
        command += ["--max-concurrency", str(concurrency), "--num-warmups", "0", "--disable-tqdm"]
        command += ["--extra-body", json.dumps(sampling | {"ignore_eos": False}), "--save-result"]
        command += ["--result-dir", str(folder), "--result-filename", "result.json"]
        command += ["--header", f"Authorization=Bearer {engine.api_key}"]
        done = subprocess.run(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"vllm bench serve ended with {done.returncode}:\n{done.stderr[-3000:]}")
        result = json.loads((folder / "result.json").read_text())
        assert result["completed"] == len(prompts), result
        return Flow("vllm bench serve", result["total_output_tokens"], result["duration"], len(prompts))


def measure(
    model: LocalModel, prompts: Sequence[str], concurrency: int, max_tokens: int, rounds: int, log: Path
) -> list[Flow]:
    """Both clients `rounds` times in turn on one server."""
    spec = ServeSpec(engine="vllm", concurrency=concurrency)
    with open_engine(spec, model, max_adapters=0, log=log) as engine:
        assert isinstance(engine, VllmEngine)
        ours(engine, prompts, max_tokens)
        flows = []
        for number in range(rounds):
            pair = [ours, theirs] if number % 2 == 0 else [theirs, ours]
            for client in pair:
                if client is ours:
                    flows.append(ours(engine, prompts, max_tokens))
                else:
                    flows.append(theirs(engine, prompts, max_tokens, concurrency, model))
        return flows
