"""One training by one trainer, in a process of its own: reads what to do from stdin, prints what it took.

    python -m training.one < asked.json

Every trainer gets the same model, rows, LoRA, learning rate, schedule and number of updates; what else decides how fast
it is stays as the trainer has it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.models import LocalModel, quiet
from harness.models.folder import describe
from harness.records import Item
from harness.trainers import Job, TrainSpec, no_scorer

TRAINERS = {
    "harness": "this trainer",
    "trl": "TRL's SFTTrainer, its defaults",
    "trl, no checkpointing": "the same without gradient checkpointing",
    "trl, same order": "TRL's defaults on the rows in this trainer's order",
}


@dataclass(frozen=True)
class Took:
    """What one training took."""

    trainer: str
    seconds: float
    """From the first step to the end of the last."""
    tokens: int
    """Of all rows, without padding."""
    padded: int
    """With padding."""
    learned: int
    """Tokens with loss."""
    peak_bytes: int
    losses: list[float]
    """By step."""
    parameters: int
    """Of the base model, its embeddings apart where they are not the head."""
    trainable: int


def spec_of(asked: dict[str, Any]) -> TrainSpec:
    """The training in the harness's terms."""
    return TrainSpec(
        method=asked["method"],
        rank=16,
        learning_rate=asked["learning_rate"],
        batch_size=asked["batch_size"],
        micro_batch_size=asked["micro_batch_size"],
        max_steps=asked["steps"],
        epochs=1,
        select={"by": "last"},
    )


def by_harness(asked: dict[str, Any], model: LocalModel, items: tuple[Item, ...], folder: Path) -> Any:
    """Its trainer, ready to go."""
    from harness.trainers.lifecycle import build
    from harness.trainers.setup import origin
    from training.ground import NOTHING

    job = Job(spec=spec_of(asked), prompt=NOTHING, model=model, seed=0, rows=items)
    return build(job, no_scorer, origin(job.spec.method), folder)[0]


def by_trl(asked: dict[str, Any], model: LocalModel, items: tuple[Item, ...], folder: Path) -> Any:
    """TRL's, with its defaults wherever they decide the speed; bf16 alone is off on a CPU, which has none."""
    import torch
    from datasets import Dataset
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from harness.trainers.parameters import CONFIGS
    from harness.trainers.setup import load_base, origin
    from training.ground import as_rows

    set_seed(0)
    spec = spec_of(asked)
    base, tokenizer = load_base(spec, model, origin(spec.method))
    cuda = torch.cuda.is_available()
    more: dict[str, Any] = {} if cuda else {"use_cpu": True, "bf16": False}
    if asked["trainer"] == "trl, no checkpointing":
        more["gradient_checkpointing"] = False
    if asked["trainer"] == "trl, same order":
        more["train_sampling_strategy"] = "sequential"
    steps = asked["steps"]
    made = SFTConfig(
        output_dir=str(folder),
        learning_rate=spec.rate,
        lr_scheduler_type=spec.schedule,
        warmup_steps=min(-(-steps // 20), steps - 1),
        max_steps=steps,
        per_device_train_batch_size=asked["micro_batch_size"],
        gradient_accumulation_steps=asked["batch_size"] // asked["micro_batch_size"],
        max_length=asked["max_length"],
        seed=0,
        report_to="none",
        disable_tqdm=True,
        **more,
    )
    make = CONFIGS[spec.method]
    return SFTTrainer(
        model=base,
        args=made,
        train_dataset=Dataset.from_list(as_rows(items)),
        processing_class=tokenizer,
        peft_config=None if make is None else make(spec, base),
    )


def order_of(asked: dict[str, Any], model: LocalModel, items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The rows in the order in which the harness trains them."""
    from transformers import AutoTokenizer

    from harness.trainers.order import plan
    from training.ground import as_rows

    tokenizer = AutoTokenizer.from_pretrained(str(model.path))
    texts = [tokenizer.apply_chat_template([*r["prompt"], *r["completion"]], tokenize=False) for r in as_rows(items)]
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    return tuple(items[at] for at in plan(lengths, asked["batch_size"], asked["steps"], 0))


def main() -> None:
    """Train and print."""
    asked = json.loads(sys.stdin.readline())
    model = describe(asked["model"], Path(asked["model"]), None)
    items = tuple(Item.model_validate(one) for one in asked["rows"])
    if asked["trainer"] == "trl, same order":
        items = order_of(asked, model, items)
    with tempfile.TemporaryDirectory() as folder, quiet():
        make = by_harness if asked["trainer"] == "harness" else by_trl
        print(json.dumps(asdict(timed(asked["trainer"], make(asked, model, items, Path(folder))))))


def timed(name: str, trainer: Any) -> Took:
    """Train, counting what goes through the model."""
    from transformers import PrinterCallback

    from harness.trainers.checkpoints import Checkpoint, so_far

    trainer.remove_callback(PrinterCallback)
    trainer.args.logging_steps = 1
    counted = [0, 0, 0]
    inner = trainer.compute_loss

    def compute_loss(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        counted[0] += int(mask.sum()) if mask is not None else ids.numel()
        counted[1] += ids.numel()
        counted[2] += int((inputs["labels"] != -100).sum())
        return inner(model, inputs, *rest, **more)

    trainer.compute_loss = compute_loss
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    peak = so_far(Checkpoint(), started).peak_memory_bytes
    losses = [point["loss"] for point in trainer.state.log_history if "loss" in point]
    model = trainer.model
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(p.numel() for n, p in model.named_parameters() if "lora_" not in n)
    if not model.config.get_text_config().tie_word_embeddings:
        parameters -= model.get_input_embeddings().weight.numel()
    return Took(name, round(seconds, 3), *counted, peak, losses, parameters, trainable)


if __name__ == "__main__":
    main()
