"""Overhead: the same chat questions to a server that answers at once, by this harness and by its peers.

Every client runs as a process of its own, from its start to its finished and saved results; CPU time is that of the
process and its children (`wait4`). Each peer runs as its documentation advises for an OpenAI-compatible server and
saves its samples. How many requests are in flight, and for inspect_ai whether its log is kept up to date on the way,
is each client's own best, found on a tenth of the requests: the setting with the most requests per CPU second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cost:
    """What one client took for all requests."""

    client: str
    setting: str
    requests: int
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def per_cpu_second(self) -> float:
        """Requests per second of CPU time."""
        return self.requests / self.cpu_s


@dataclass(frozen=True)
class Setting:
    """How a client is run."""

    concurrency: int
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{self.concurrency} in flight", *self.options])


LEAN = ("--no-log-realtime", "--no-score-display", "--log-buffer", "1000")
"""inspect_ai without what it does while samples come in: then those of a killed run are lost."""


@contextmanager
def instant_server() -> Iterator[int]:
    """The server in a process of its own; yields its port."""
    env = os.environ | {"PYTHONPATH": str(HERE.parent)}
    with subprocess.Popen([sys.executable, "-m", "evaluating.instant"], stdout=subprocess.PIPE, env=env) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def timed(client: str, setting: str, requests: int, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Cost:
    """Run a client to its end; raises RuntimeError with its last words when it fails."""
    log = cwd / f"{client}.log"
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"{client} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return Cost(client, setting, requests, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


Command = tuple[list[str], dict[str, str]]


def harness_client(python: str, port: int, requests: int, setting: Setting, folder: Path) -> Command:
    """`evaluate` with its journal, its Parquet file and its manifest."""
    return (
        [python, "-m", "evaluating.client", str(port), str(requests), str(setting.concurrency), str(folder)],
        {"PYTHONPATH": f"{HERE.parent}:{HERE.parent.parent}"},
    )


def lm_eval_client(python: str, port: int, requests: int, setting: Setting, folder: Path) -> Command:
    """`lm-eval run` with `local-chat-completions`, samples logged."""
    rows = [{"question": f"Question {n}: what is the capital of France?", "answer": "Paris"} for n in range(requests)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "bench_chat.yaml").write_text(
        "task: bench_chat\ndataset_path: json\ndataset_kwargs: {data_files: {test: "
        + str(folder / "rows.jsonl")
        + "}}\ntest_split: test\noutput_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: answer\n"
        "generation_kwargs: {max_gen_toks: 8, until: [], do_sample: false}\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    arguments = f"model=instant,base_url=http://127.0.0.1:{port}/v1/chat/completions"
    arguments += f",num_concurrent={setting.concurrency}"
    command = [python, "-m", "lm_eval", "run", "--model", "local-chat-completions", "--model_args", arguments]
    command += ["--tasks", "bench_chat", "--include_path", str(folder), "--apply_chat_template"]
    command += ["--output_path", str(folder / "out"), "--log_samples"]
    return command, {"OPENAI_API_KEY": "none"}


INSPECT = """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import exact
from inspect_ai.solver import generate

@task
def bench_chat():
    rows = [Sample(input=f"Question {n}: what is the capital of France?", target="Paris") for n in range(%d)]
    return Task(dataset=MemoryDataset(rows), solver=generate(), scorer=exact())
"""


def inspect_client(python: str, port: int, requests: int, setting: Setting, folder: Path) -> Command:
    """`inspect eval` with its OpenAI-compatible provider, its own log as results."""
    (folder / "bench_inspect.py").write_text(INSPECT % requests)
    command = [python, "-m", "inspect_ai", "eval", "bench_inspect.py", "--model", "openai-api/local/instant"]
    most = str(setting.concurrency)
    command += ["--max-connections", most, "--max-samples", most, "--max-tokens", "8", *setting.options]
    command += ["--temperature", "0", "--seed", "0", "--log-dir", str(folder / "logs"), "--display", "none"]
    return command, {"LOCAL_API_KEY": "none", "LOCAL_BASE_URL": f"http://127.0.0.1:{port}/v1"}


CLIENTS: dict[str, Callable[[str, int, int, Setting, Path], Command]] = {
    "harness": harness_client,
    "lm-eval": lm_eval_client,
    "inspect_ai": inspect_client,
}


def settings(client: str, concurrencies: Sequence[int]) -> list[Setting]:
    """What is tried for a client."""
    options: tuple[tuple[str, ...], ...] = ((), LEAN) if client == "inspect_ai" else ((),)
    return [Setting(concurrency, option) for concurrency in concurrencies for option in options]


def run(client: str, python: str, port: int, requests: int, setting: Setting) -> Cost:
    """One client from its start to its saved results."""
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    try:
        command, extra = CLIENTS[client](python, port, requests, setting, folder)
        quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "datasets"), "DO_NOT_TRACK": "1"}
        env = os.environ | quiet | {"HARNESS_HOME": str(folder / "home")} | extra
        cost = timed(client, str(setting), requests, command, env, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(cost)), file=sys.stderr, flush=True)
    return cost


def measure(requests: int, concurrencies: Sequence[int], rounds: int, pythons: Mapping[str, str]) -> list[Cost]:
    """Every client at its best setting `rounds` times in turn; clients without a Python are left out."""
    costs, best = list[Cost](), dict[str, Setting]()
    with instant_server() as port:
        for name, python in pythons.items():
            tried = [(run(name, python, port, requests // 10, each), each) for each in settings(name, concurrencies)]
            best[name] = max(tried, key=lambda pair: pair[0].per_cpu_second)[1]
        for number in range(rounds):
            for name in list(pythons)[:: 1 if number % 2 == 0 else -1]:
                costs.append(run(name, pythons[name], port, requests, best[name]))
    return costs
