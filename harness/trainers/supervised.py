"""Supervised fine-tuning with TRL's SFTTrainer and PEFT: the only file that knows them.

Rows go in as prompt and completion, so loss falls on the answer and its end-of-turn
token alone. Before the first step the tensors themselves are read: a row that would
be cut, has nothing to learn from or does not teach the end of turn is an error.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import artifacts
from harness.errors import Problem, TrainingError
from harness.models import LocalModel, quiet
from harness.progress import Bar, Progress
from harness.records import AdapterRef, Item, Message, Prompt, SeedTraining, Supervision, TrainingPoint
from harness.store import write_file
from harness.trainers.base import TrainSpec

DONE = "done.json"
SITTINGS = "sittings.json"


def train_supervised(
    spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int, progress: Progress
) -> tuple[SeedTraining, Supervision]:
    """See `harness.trainers.base.Trainer`."""
    folder = artifacts.workspace("training", spec.key(model, rows, prompt, seed)[:16])
    with artifacts.lock(f"training-{folder.name}"):
        done = _finished(folder)
        if done is not None:
            progress.note(f"seed {seed}: trained before, adapter {done[0].adapter.digest[:8]} is taken over")
            return done
        result = _train(spec, rows, prompt, model, seed, folder, progress)
        write_file(folder / DONE, json.dumps([part.model_dump(mode="json") for part in result], indent=1))
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return result


def _finished(folder: Path) -> tuple[SeedTraining, Supervision] | None:
    """An earlier result, when its adapter still lies where it should."""
    if not (folder / DONE).exists():
        return None
    training, supervision = json.loads((folder / DONE).read_text(encoding="utf-8"))
    result = SeedTraining.model_validate(training), Supervision.model_validate(supervision)
    return result if artifacts.folder("adapters", result[0].adapter.digest).is_dir() else None


def _train(
    spec: TrainSpec,
    rows: Sequence[Item],
    prompt: Prompt,
    model: LocalModel,
    seed: int,
    folder: Path,
    progress: Progress,
) -> tuple[SeedTraining, Supervision]:
    import torch

    started = time.monotonic()
    with _quiet():
        trainer, tokenizer = _build(spec, rows, prompt, model, seed, folder)
        supervision = read_supervision(trainer, tokenizer, rows, spec.max_length or model.context_length)
        checkpoint = _last_checkpoint(folder)
        earlier = _sittings(folder)
        if checkpoint is not None:
            progress.note(f"seed {seed}: going on from {checkpoint.name}")
        steps = _steps(spec, len(rows))
        with progress.bar(f"training, seed {seed}", steps, _step_of(checkpoint)) as bar:
            trainer.add_callback(_follower(bar, folder, earlier, started))
            try:
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            except torch.OutOfMemoryError as fault:
                hint = "Set train.micro_batch_size lower, train.gradient_checkpointing: true, or method: qlora"
                raise TrainingError(Problem("train", f"out of memory: {fault}", next=hint)) from fault
        curve = _curve(trainer.state.log_history)
        adapter = _publish(trainer, model, folder, spec, seed)
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    return SeedTraining(
        seed=seed,
        adapter=adapter,
        steps=trainer.state.global_step,
        curve=curve,
        seconds=round(sum(earlier) + time.monotonic() - started, 1),
        peak_memory_bytes=_peak_memory(),
        resumed=len(earlier),
        trainable_parameters=trainable,
    ), supervision


# ----------------------------------------------------------------------- building


def _build(
    spec: TrainSpec, rows: Sequence[Item], prompt: Prompt, model: LocalModel, seed: int, folder: Path
) -> tuple[Any, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PrinterCallback, set_seed
    from trl import SFTTrainer

    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    quantization = None
    if spec.method == "qlora":
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(str(model.path))
    base = AutoModelForCausalLM.from_pretrained(
        str(model.path), dtype=dtype, quantization_config=quantization, device_map={"": 0} if cuda else None
    )
    lora = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha or 2 * spec.rank,
        lora_dropout=spec.dropout,
        target_modules=spec.target_modules if isinstance(spec.target_modules, str) else list(spec.target_modules),
        task_type="CAUSAL_LM",
    )
    trainer = SFTTrainer(
        model=base,
        args=_config(spec, len(rows), seed, folder, cuda),
        train_dataset=Dataset.from_list([_row(item, prompt) for item in rows]),
        processing_class=tokenizer,
        peft_config=lora,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to --json
    return trainer, tokenizer


def _config(spec: TrainSpec, rows: int, seed: int, folder: Path, cuda: bool) -> Any:
    from trl import SFTConfig

    micro = spec.micro_batch_size or spec.batch_size
    if spec.batch_size % micro:
        what = f"{micro} does not divide batch_size {spec.batch_size}"
        raise TrainingError(Problem("train.micro_batch_size", what))
    steps = _steps(spec, rows)
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=spec.batch_size // micro,
        learning_rate=spec.learning_rate,
        max_steps=steps,
        lr_scheduler_type=spec.schedule,
        warmup_steps=math.ceil(spec.warmup * steps),
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        max_length=None,  # nothing is cut: read_supervision refuses rows that are too long
        completion_only_loss=True,
        packing=False,
        train_sampling_strategy="group_by_length",  # rows of like length share a batch: less padding
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=spec.gradient_checkpointing,
        seed=seed,
        data_seed=seed,
        save_strategy="steps",
        save_steps=spec.save_steps,
        save_total_limit=1,
        logging_steps=max(1, steps // 50),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=cuda,
        report_to="none",
        disable_tqdm=True,
    )


def _steps(spec: TrainSpec, rows: int) -> int:
    per_epoch = math.ceil(rows / spec.batch_size)
    steps = max(1, math.ceil(spec.epochs * per_epoch))
    return min(steps, spec.max_steps) if spec.max_steps else steps


def _row(item: Item, prompt: Prompt) -> dict[str, list[dict[str, str]]]:
    """One row as TRL reads it: chat turns, then the completion to learn."""
    system = [Message(role="system", content=prompt.instruction)] if prompt.instruction else []
    asked = [*system, *(turn for shown in prompt.demonstrations for turn in shown), *item.messages]
    return {
        "prompt": [turn.model_dump() for turn in asked],
        "completion": [{"role": "assistant", "content": item.target}],
    }


# --------------------------------------------------------------- what is learned


def read_supervision(trainer: Any, tokenizer: Any, rows: Sequence[Item], max_length: int) -> Supervision:
    """Read off the collated tensors what the trainer will learn from; refuse what would spoil it.

    Raises TrainingError naming the first rows at fault.
    """
    tokens = supervised = 0
    lengths: list[int] = []
    silent: list[str] = []
    endless: list[str] = []
    example = ""
    for item, features in zip(rows, trainer.train_dataset, strict=True):
        batch = trainer.data_collator([features])
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        learned = [token for token, label in zip(ids, labels, strict=True) if label != -100]
        tokens += len(ids)
        supervised += len(learned)
        lengths.append(len(ids))
        if not learned:
            silent.append(item.id)
        if tokenizer.eos_token_id not in learned:
            endless.append(item.id)
        example = example or _marked(ids, labels, tokenizer)
    long = [row.id for row, length in zip(rows, lengths, strict=True) if length > max_length]
    _refuse(long, f"are longer than max_length {max_length} and would be cut", "Raise train.max_length or shorten them")
    _refuse(silent, "have no token to learn from", "Give each a non-empty answer")
    _refuse(endless, "do not teach the end of turn", "Check the model's chat template and eos token")
    return Supervision(
        rows=len(rows),
        tokens=tokens,
        supervised_tokens=supervised,
        rows_without_loss=len(silent),
        rows_truncated=len(long),
        rows_with_end_of_turn=len(rows) - len(endless),
        longest=max(lengths),
        example=example,
    )


def _refuse(ids: Sequence[str], what: str, hint: str) -> None:
    if ids:
        named = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise TrainingError(Problem("train", f"{len(ids)} rows {what}: {named}", next=hint))


def _marked(ids: Sequence[int], labels: Sequence[int], tokenizer: Any) -> str:
    """The row's text with the learned span between [[ and ]]."""
    first = next((i for i, label in enumerate(labels) if label != -100), len(ids))
    return f"{tokenizer.decode(ids[:first])}[[{tokenizer.decode(ids[first:])}]]"


# ------------------------------------------------------------- during and after


def _follower(bar: Bar, folder: Path, earlier: Sequence[float], started: float) -> Any:
    """A callback that moves the bar, stops on a broken loss and notes the time spent at each checkpoint."""
    from transformers import TrainerCallback

    class Follower(TrainerCallback):  # type: ignore[misc]
        note = ""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            loss = (logs or {}).get("loss")
            if loss is None:
                return
            if not math.isfinite(loss):
                hint = "Lower train.learning_rate, or check the data"
                raise TrainingError(Problem("train", f"the loss is {loss} at step {state.global_step}", next=hint))
            self.note = f"loss {loss:.3f}"

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            bar.advance(1, self.note)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            write_file(folder / SITTINGS, json.dumps([*earlier, time.monotonic() - started]))

    return Follower()


def _sittings(folder: Path) -> list[float]:
    """Seconds of earlier sittings, up to their last checkpoint."""
    path = folder / SITTINGS
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() and _last_checkpoint(folder) else []


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(whole, key=_step_of, default=None)


def _step_of(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])


def _curve(history: Sequence[dict[str, Any]]) -> tuple[TrainingPoint, ...]:
    return tuple(
        TrainingPoint(step=point["step"], loss=point["loss"], learning_rate=point.get("learning_rate"))
        for point in history
        if "loss" in point
    )


def _publish(trainer: Any, model: LocalModel, folder: Path, spec: TrainSpec, seed: int) -> AdapterRef:
    """Save adapter weights and config by content; paths of this machine are taken out of the config."""
    import torch

    if not all(torch.isfinite(p).all() for p in trainer.model.parameters() if p.requires_grad):
        raise TrainingError(
            Problem("train", "the adapter holds values that are not numbers", next="Lower learning_rate")
        )
    staging = folder / "adapter"
    shutil.rmtree(staging, ignore_errors=True)
    trainer.model.save_pretrained(str(staging), safe_serialization=True)
    (staging / "README.md").unlink(missing_ok=True)
    config_path = staging / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = model.ref.name
    for modules in ("target_modules",):
        if isinstance(config.get(modules), list):
            config[modules] = sorted(config[modules])  # PEFT writes a set in random order; content decides the digest
    config_path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    return AdapterRef(digest=artifacts.publish("adapters", staging), method=spec.method, seed=seed)


def _peak_memory() -> int:
    """Peak of device memory on a GPU, else of this process's resident memory, in bytes."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _quiet() -> Iterator[None]:
    """Libraries' chatter kept off the terminal; what matters is checked and said by this file."""
    import datasets

    datasets.disable_progress_bars()
    bitsandbytes = logging.getLogger("bitsandbytes")  # warns of optional kernels as soon as PEFT imports it
    bitsandbytes.setLevel(logging.ERROR)
    with quiet():
        yield
