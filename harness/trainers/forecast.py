"""What memory a training will take, told from config.json and the weights' headers alone; and what would fit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness import machine
from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.models import token_counter
from harness.records import Item, MemoryForecast, Preference, Prompt
from harness.trainers.base import LESS_MEMORY, Job
from harness.trainers.kept import activations, adapter_parameters
from harness.trainers.shape import Shape, shape_of
from harness.trainers.spec import ELSEWHERE, TrainSpec

ERROR: Final = 0.15
"""How far a forecast may be off: only what does not fit by more than that is refused."""
LIBRARIES: Final = {"cpu": 640 * 2**20, "cuda": 600 * 2**20}
"""Interpreter, torch, transformers and TRL in memory; on a GPU its libraries' workspaces."""
MOST_COUNTED: Final = 200
"""Rows whose tokens are counted, those of most characters."""


def forecast(
    spec: TrainSpec, shape: Shape, longest: int, learned: int, device: str, available: int | None = None
) -> MemoryForecast | None:
    """Bytes at the peak; None for a method that trains elsewhere.

    longest: tokens of the longest row. learned: of those, tokens with loss at most. device: `cpu` or `cuda`.
    available: bytes free there; where less than the forecast, what would fit is told.
    """
    if spec.method in ELSEWHERE:
        return None
    made = _counted(spec, shape, longest, learned, device, available)
    return made.model_copy(update={"advice": advice(spec, shape, longest, learned, device, available)})


def _counted(
    spec: TrainSpec, shape: Shape, longest: int, learned: int, device: str, available: int | None
) -> MemoryForecast:
    number = 2 if device == "cuda" else 4
    whole = spec.method == "full"
    trained = shape.parameters if whole else adapter_parameters(spec, shape)
    size = number if whole else 4
    rows = (spec.micro_batch_size or spec.batch_size) * _answers(spec)
    state = 2 if "8bit" in str(spec.args.get("optim", "")) else 2 * size
    return MemoryForecast(
        weights=_weights(spec, shape, number, device) + (shape.parameters * number if _second(spec) else 0),
        trainable=0 if whole else trained * size,
        gradients=trained * size,
        optimizer=trained * state,
        activations=activations(spec, shape, rows, longest, learned, number, device),
        overhead=LIBRARIES[device],
        available=available,
    )


def _answers(spec: TrainSpec) -> int:
    """Answers in a batch for each of its rows."""
    return {"dpo": 2, "orpo": 2, "grpo": spec.reward.generations}.get(spec.objective, 1)


def _second(spec: TrainSpec) -> bool:
    """Whether the reference is a second model in memory: it is the base without its adapter where there is one."""
    tied = spec.objective in ("dpo", "kto") or (spec.objective == "grpo" and spec.reward.beta > 0)
    return tied and spec.method == "full"


def _weights(spec: TrainSpec, shape: Shape, number: int, device: str) -> int:
    if spec.method != "qlora":
        return shape.parameters * number
    linear = sum(rows * columns for _, rows, columns in shape.linears)
    held = (shape.parameters - linear) * number + linear * spec.bits // 8
    return held + (shape.file_bytes if device == "cpu" else 0)  # there the file that it was read from stays mapped


def advice(spec: TrainSpec, shape: Shape, longest: int, learned: int, device: str, available: int | None) -> str:
    """What would fit where this does not: smaller parts of a batch, checkpointing, a quantised base. Empty where it
    fits or cannot be told."""
    if available is None or _counted(spec, shape, longest, learned, device, available).total <= available:
        return ""
    halves = [n for n in range(1, spec.micro_batch_size or spec.batch_size) if spec.batch_size % n == 0][::-1]
    ways: list[dict[str, Any]] = [{"micro_batch_size": n} for n in halves]
    if spec.method != "prefix_tuning":  # which PEFT cannot checkpoint
        ways += [{"gradient_checkpointing": True}]
        ways += [{"micro_batch_size": 1, "gradient_checkpointing": True}] * bool(halves)
    ways += [{"method": "lora", **way} for way in ({}, *ways)] if spec.method == "full" else []
    ways += [{"method": "qlora", **way} for way in ({}, *ways) if spec.method != "qlora" and "method" not in way]
    for way in ways:
        told = _counted(spec.model_copy(update=way), shape, longest, learned, device, available).total
        if told <= available:
            keys = ", ".join(f"{name}: {str(value).lower()}" for name, value in way.items())
            return f"train: {{{keys}}} would take about {gib(told)}"
    return "No setting of this model would fit here: take a smaller model, shorter rows or a larger machine"


def of_rows(
    spec: TrainSpec,
    folder: Path,
    rows: Sequence[Item],
    prompt: Prompt,
    pairs: Sequence[Preference] = (),
    available: int | None = None,
    sampled: int = 0,
) -> MemoryForecast | None:
    """The forecast for these rows, or pairs, on this machine; None where the folder does not tell what is needed.

    available: bytes free; by default what this machine has now. sampled: tokens of a sampled answer at most (grpo).
    """
    if spec.method in ELSEWHERE or not (rows or pairs):
        return None
    shape, found = shape_of(folder), lengths(folder, rows, prompt, pairs, sampled if spec.objective == "grpo" else 0)
    if shape is None or found is None:
        return None
    device = "cuda" if machine.gpus() else "cpu"
    return forecast(spec, shape, *found, device, free(device) if available is None else available)


def lengths(
    folder: Path, rows: Sequence[Item], prompt: Prompt, pairs: Sequence[Preference], sampled: int = 0
) -> tuple[int, int] | None:
    """Tokens of the longest row, and of those with loss at most; None where the folder has no tokenizer.

    sampled: tokens of an answer that training samples in place of the row's own; 0 where it does not.
    """
    if (counter := token_counter(folder)) is None:
        return None
    asked = [(list(chat(prompt, item)), item.target) for item in rows]
    for pair in pairs:
        asked += [([*pair.messages], answer) for answer in (pair.chosen, pair.rejected) if answer is not None]
    asked = sorted(asked, key=lambda one: -sum(len(t.content) for t in one[0]) - len(one[1]))[:MOST_COUNTED]
    before = counter([[turn.model_dump() for turn in turns] for turns, _ in asked])
    if sampled:
        return max(before) + sampled, sampled
    whole = counter([[*(t.model_dump() for t in turns), {"role": "assistant", "content": a}] for turns, a in asked])
    return max(whole), max(all_ - part for all_, part in zip(whole, before, strict=True))


def of_job(job: Job, available: int | None = None) -> MemoryForecast | None:
    """The forecast of a training; see `of_rows`."""
    rows = (*job.rows, *job.replay) if not job.pairs else ()
    return of_rows(job.spec, job.model.path, rows, job.prompt, job.pairs, available, job.decoding.max_tokens)


def after_running_out(fault: TrainingError, job: Job) -> TrainingError:
    """A training's fault; where memory ran out, with the setting that would have fitted in what it needed at least."""
    if all(problem.next != LESS_MEMORY for problem in fault.problems) or (made := of_job(job)) is None:
        return fault
    room = min(made.available or made.total, round(made.total * (1 - ERROR)))
    found = of_job(job, room)
    hint = found.advice if found is not None and found.advice else LESS_MEMORY
    return TrainingError([replace(one, next=hint) if one.next == LESS_MEMORY else one for one in fault.problems])


def refuse(made: MemoryForecast) -> None:
    """Raise TrainingError for what surely does not fit."""
    if made.available is not None and made.total * (1 - ERROR) > made.available:
        raise TrainingError(Problem("train", told(made), next=made.advice))


def told(made: MemoryForecast) -> str:
    """A forecast in a sentence."""
    parts = ("weights", "trainable", "gradients", "optimizer", "activations", "overhead")
    each = ", ".join(f"{name} {gib(getattr(made, name))}" for name in parts if getattr(made, name) >= 2**20)
    free_ = "" if made.available is None else f"; {gib(made.available)} are free"
    return f"needs about {gib(made.total)} of memory ({each}){free_}"


def gib(count: int) -> str:
    """Bytes for reading."""
    return f"{count / 2**30:.1f} GiB"


def free(device: str) -> int | None:
    """Bytes free: of the first GPU, or of memory that this process may have; None where it cannot be told."""
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "--id=0"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        return int(done.stdout) * 2**20 if done.returncode == 0 and done.stdout.strip().isdigit() else None
    known = [
        found for found in (_available(Path("/proc/meminfo")), _limit(Path("/sys/fs/cgroup"))) if found is not None
    ]
    return min(known, default=machine.memory_bytes())


def _available(file: Path) -> int | None:
    if not file.exists():
        return None
    lines = [line for line in file.read_text().splitlines() if line.startswith("MemAvailable:")]
    return int(lines[0].split()[1]) * 1024 if lines else None


def _limit(group: Path) -> int | None:
    """What a container's limit leaves."""
    try:
        most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return int(most) - int(used) if most != "max" else None
    except (OSError, ValueError):
        return None
