"""What memory a training will take, told from config.json and the weights' headers alone; and what would fit.

Parameters, gradients and optimizer state are counted. Activations are what autograd keeps of each layer, counted off
the arithmetic of a decoder layer as transformers and PEFT write it, times what the allocator holds beside, which was
measured: see docs/training_speed.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness import machine
from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.models import token_counter
from harness.models.folder import read_config
from harness.records import Item, MemoryForecast, Preference, Prompt
from harness.trainers.base import LESS_MEMORY, Job
from harness.trainers.spec import ELSEWHERE, TrainSpec

ERROR: Final = 0.15
"""How far a forecast may be off: only what does not fit by more than that is refused."""
LIBRARIES: Final = {"cpu": 640 * 2**20, "cuda": 600 * 2**20}
"""Interpreter, torch, transformers and TRL in memory; on a GPU its libraries' workspaces."""
HELD: Final = {("cpu", "adapter"): 1.85, ("cpu", "whole"): 1.2, ("cuda", "adapter"): 1.1, ("cuda", "whole"): 1.1}
"""Memory held for each byte that autograd keeps: freed pieces between kept ones go back to nobody."""
RECOMPUTED: Final = {"adapter": 0.95, "whole": 0.5}
"""The same on a CPU under checkpointing, for each byte that would be kept without it."""
TILE: Final = (1024, 32768)
"""Tokens and words of the vocabulary whose logits TRL's head has at once."""
MOST_COUNTED: Final = 200
"""Rows whose tokens are counted, those of most characters."""
LORAS: Final = ("lora", "rslora", "dora", "pissa", "loftq", "qlora", "classifier")


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as its folder tells it."""

    parameters: int
    linears: tuple[tuple[str, int, int], ...]
    """Name, rows and columns of every linear layer but the last."""
    file_bytes: int
    layers: int
    hidden: int
    inner: int
    heads: int
    """Width of all attention heads together."""
    keys: int
    """Width of all key heads together."""
    vocabulary: int
    gated: bool


def shape_of(folder: Path) -> Shape | None:
    """Read a model's folder; None where its config does not name what is needed."""
    config = read_config(folder / "config.json")
    text = config.get("text_config")
    config = text if isinstance(text, dict) else config
    tensors = _tensors(folder)
    layers, hidden = (_first(config, *names) for names in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd")))
    if not layers or not hidden or not tensors:
        return None
    heads = _first(config, "num_attention_heads", "n_head") or 1
    width = _first(config, "head_dim") or hidden // heads
    matrices = [(name, s[0], s[1]) for name, s in tensors.items() if len(s) == 2 and name.endswith(".weight")]
    return Shape(
        parameters=sum(_count(shape) for shape in tensors.values()),
        linears=tuple((n, r, c) for n, r, c in matrices if not any(p in n for p in ("embed", "wte", "wpe", "lm_head"))),
        file_bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        layers=layers,
        hidden=hidden,
        inner=_first(config, "intermediate_size", "n_inner") or 4 * hidden,
        heads=heads * width,
        keys=(_first(config, "num_key_value_heads") or heads) * width,
        vocabulary=_first(config, "vocab_size") or 0,
        gated=any("gate" in name for name, _, _ in matrices),
    )


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
    trained = shape.parameters if whole else _adapter(spec, shape)
    size = number if whole else 4
    rows = spec.micro_batch_size or spec.batch_size
    rows *= 2 if spec.objective in ("dpo", "orpo", "kto") else 1
    state = 2 if "8bit" in str(spec.args.get("optim", "")) else 2 * size
    return MemoryForecast(
        weights=_weights(spec, shape, number, device),
        trainable=0 if whole else trained * size,
        gradients=trained * size,
        optimizer=trained * state,
        activations=_activations(spec, shape, rows * longest, rows * learned, number, device),
        overhead=LIBRARIES[device],
        available=available,
    )


def _weights(spec: TrainSpec, shape: Shape, number: int, device: str) -> int:
    if spec.method != "qlora":
        return shape.parameters * number
    linear = sum(rows * columns for _, rows, columns in shape.linears)
    held = (shape.parameters - linear) * number + linear * spec.bits // 8
    return held + (shape.file_bytes if device == "cpu" else 0)  # there the file that it was read from stays mapped


def _adapter(spec: TrainSpec, shape: Shape) -> int:
    """Parameters of the adapter."""
    if spec.method in LORAS:
        named = [one for one in shape.linears if _targeted(spec, one[0])]
        more = sum(rows for _, rows, _ in named) if spec.method == "dora" else 0
        return sum(spec.rank * (rows + columns) for _, rows, columns in named) + more
    return {
        "ia3": shape.layers * (2 * shape.keys + shape.inner),
        "prompt_tuning": spec.virtual_tokens * shape.hidden,
        "prefix_tuning": shape.layers * spec.virtual_tokens * 2 * shape.keys,
    }.get(spec.method, shape.layers * (spec.virtual_tokens * shape.hidden + 1))


def _targeted(spec: TrainSpec, name: str) -> bool:
    if spec.target_modules == "all-linear":
        return True
    names = (spec.target_modules,) if isinstance(spec.target_modules, str) else spec.target_modules
    return any(name.removesuffix(".weight").endswith(one) for one in names)


def _activations(spec: TrainSpec, shape: Shape, tokens: int, learned: int, number: int, device: str) -> int:
    """What is kept for the backward pass at the longest batch, and the logits of the tokens with loss."""
    kind = "whole" if spec.method == "full" else "adapter"
    kept = 4 * shape.hidden + 2 * shape.heads + 2 * shape.heads + (4 if shape.gated else 2) * shape.inner
    kept += 2 * shape.hidden if kind == "whole" else spec.rank * len(shape.linears) // shape.layers
    whole = tokens * kept * shape.layers * number
    if not spec.gradient_checkpointing:
        held = whole * HELD[device, kind]
    elif device == "cpu":
        held = whole * RECOMPUTED[kind]
    else:
        held = tokens * (shape.hidden * shape.layers + kept) * number * HELD[device, kind]
    logits = min(learned, TILE[0]) * min(shape.vocabulary, TILE[1]) * 4 * 4
    return round(held) + logits


def advice(spec: TrainSpec, shape: Shape, longest: int, learned: int, device: str, available: int | None) -> str:
    """What would fit where this does not: smaller parts of a batch, checkpointing, a quantised base. Empty where it
    fits or cannot be told."""
    if available is None or _counted(spec, shape, longest, learned, device, available).total <= available:
        return ""
    ways: list[dict[str, Any]] = [{"gradient_checkpointing": True}] if spec.method != "prefix_tuning" else []
    halves = [n for n in range(1, spec.micro_batch_size or spec.batch_size) if spec.batch_size % n == 0][::-1]
    ways = [{"micro_batch_size": n} for n in halves] + ways
    ways += [{"micro_batch_size": 1, "gradient_checkpointing": True}] * bool(halves and ways)
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
) -> MemoryForecast | None:
    """The forecast for these rows, or pairs, on this machine; None where the folder does not tell what is needed.

    available: bytes free; by default what this machine has now.
    """
    if spec.method in ELSEWHERE or not (rows or pairs):
        return None
    shape, found = shape_of(folder), lengths(folder, rows, prompt, pairs)
    if shape is None or found is None:
        return None
    device = "cuda" if machine.gpus() else "cpu"
    return forecast(spec, shape, *found, device, free(device) if available is None else available)


def lengths(folder: Path, rows: Sequence[Item], prompt: Prompt, pairs: Sequence[Preference]) -> tuple[int, int] | None:
    """Tokens of the longest row, and of those with loss at most; None where the folder has no tokenizer."""
    if (counter := token_counter(folder)) is None:
        return None
    asked = [(list(chat(prompt, item)), item.target) for item in rows]
    for pair in pairs:
        asked += [([*pair.messages], answer) for answer in (pair.chosen, pair.rejected) if answer is not None]
    asked = sorted(asked, key=lambda one: -sum(len(t.content) for t in one[0]) - len(one[1]))[:MOST_COUNTED]
    before = counter([[turn.model_dump() for turn in turns] for turns, _ in asked])
    whole = counter([[*(t.model_dump() for t in turns), {"role": "assistant", "content": a}] for turns, a in asked])
    return max(whole), max(all_ - part for all_, part in zip(whole, before, strict=True))


def of_job(job: Job, available: int | None = None) -> MemoryForecast | None:
    """The forecast of a training; see `of_rows`."""
    rows = (*job.rows, *job.replay) if not job.pairs else ()
    return of_rows(job.spec, job.model.path, rows, job.prompt, job.pairs, available)


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


def _tensors(folder: Path) -> dict[str, list[int]]:
    """Name to shape of every stored tensor."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        found |= {name: one["shape"] for name, one in header.items() if name != "__metadata__"}
    return found


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _first(config: Any, *names: str) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)
