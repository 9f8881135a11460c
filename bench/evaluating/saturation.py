"""Saturation: completion tokens per second out of one real vLLM server, by this harness and by vLLM's own client.

Both send the same chat prompts with the same sampling parameters and the same number in flight to the same server,
in turns; the first pass over the prompts, which fills the prefix cache, counts for nobody. This harness evaluates as
an experiment does: a prompt put around each item, a cache of answers that is empty, every sample scored and durable,
a finished run at the end. vLLM's client keeps nothing; its time is the one that it reports, without its start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines import ServeSpec, open_engine
from harness.engines.cached import Answers, CachedEngine
from harness.engines.vllm import VllmEngine, find
from harness.engines.vllm.ask import SAMPLING
from harness.engines.vllm.flags import BASE
from harness.evaluate import evaluate
from harness.models import LocalModel
from harness.progress import Silent
from harness.records import Candidate, Decoding, Item, Message, Prompt
from harness.store import Store
from harness.suites import Suite, Task

PEER = "vllm bench serve"


@dataclass(frozen=True)
class Flow:
    """What one client got out of the server in one pass."""

    client: str
    tokens: int
    seconds: float
    prompts: int


def ours(engine: VllmEngine, prompts: Sequence[str], max_tokens: int, model: LocalModel) -> Flow:
    """One pass by this harness, from items to a finished run."""
    decoding = Decoding(max_tokens=max_tokens)
    items = tuple(
        Item(id=str(number), messages=(Message(role="user", content=prompt),), target="-")
        for number, prompt in enumerate(prompts)
    )
    suite = Suite("bench", "task", "test", (Task("bench", "generate", items, ("exact_match",), decoding),))
    candidate = Candidate(name="base", model=model.ref, prompt=Prompt(name="raw", instruction=""), decoding=decoding)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "reports").create("bench--00000000", "name: bench\n")
        answers = Answers(Path(folder) / "answers.sqlite")
        started = time.monotonic()
        run = evaluate(candidate, suite, CachedEngine(engine, model.ref.digest, answers), store, Silent())
        seconds = time.monotonic() - started
        answers.close()
    assert run.unscored == 0, run
    assert run.tokens_out is not None, run
    return Flow("harness", run.tokens_out, seconds, len(prompts))


def peer_command(python: str, url: str, tokenizer: Path, prompts: int, concurrency: int, max_tokens: int) -> list[str]:
    """vLLM's client with the prompts of a file in its folder; the module, since the CPU build has no command."""
    start = "import argparse; from vllm.benchmarks.serve import add_cli_args, main; p = argparse.ArgumentParser();"
    command = [python, "-c", start + " add_cli_args(p); main(p.parse_args())"]
    command += ["--backend", "openai-chat", "--base-url", url, "--endpoint", "/v1/chat/completions"]
    # Of the forms that it reads from a file this one takes no package beyond vLLM's own.
    command += ["--model", BASE, "--tokenizer", str(tokenizer), "--dataset-name", "sharegpt"]
    command += ["--dataset-path", "prompts.json", "--num-prompts", str(prompts)]
    command += ["--sharegpt-output-len", str(max_tokens), "--disable-shuffle"]
    command += ["--max-concurrency", str(concurrency), "--num-warmups", "0", "--disable-tqdm"]
    return [*command, "--save-result", "--result-dir", ".", "--result-filename", "result.json"]


def theirs(engine: VllmEngine, prompts: Sequence[str], max_tokens: int, concurrency: int, model: LocalModel) -> Flow:
    """One pass by `vllm bench serve`."""
    found = find()
    assert found.python is not None, found.reason
    ends = [int(token) for token in engine.conditions.flags["end_tokens"].split(",")]
    sampling = SAMPLING | {"temperature": 0.0, "top_p": 1.0, "seed": 0, "stop_token_ids": ends}
    command = peer_command(found.python, engine.url, model.path, len(prompts), concurrency, max_tokens)
    # The key goes where its client looks for it; the engine shows it to nobody.
    quiet = {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": engine._connect.keywords["api_key"]}
    with tempfile.TemporaryDirectory() as folder:
        talks = [{"conversations": [{"value": prompt}, {"value": "-"}]} for prompt in prompts]
        (Path(folder) / "prompts.json").write_text(json.dumps(talks))
        done = subprocess.run(
            [*command, "--extra-body", json.dumps(sampling)],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | quiet,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{PEER} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        result = json.loads((Path(folder) / "result.json").read_text())
    assert result["completed"] == len(prompts), result
    return Flow(PEER, result["total_output_tokens"], result["duration"], len(prompts))


def measure(
    model: LocalModel, prompts: Sequence[str], concurrency: int, max_tokens: int, rounds: int, log: Path
) -> list[Flow]:
    """Both clients `rounds` times in turn on one server."""
    spec = ServeSpec(engine="vllm", concurrency=concurrency)
    with open_engine(spec, model, max_adapters=0, log=log) as engine:
        assert isinstance(engine, VllmEngine)
        ours(engine, prompts, max_tokens, model)
        flows = []
        for number in range(rounds):
            for client in ("harness", PEER) if number % 2 == 0 else (PEER, "harness"):
                if client == PEER:
                    flows.append(theirs(engine, prompts, max_tokens, concurrency, model))
                else:
                    flows.append(ours(engine, prompts, max_tokens, model))
                print(flows[-1], file=sys.stderr, flush=True)
        return flows
