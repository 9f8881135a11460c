"""`method: classifier`: a label head over the base model, by transformers' Trainer: a cheap rival for closed sets.

It learns the same rows, read through the same prompt, and answers with one of the train rows' gold answers; so it is
served and judged like any candidate of the task. It can do nothing else.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from harness import artifacts
from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.models import quiet
from harness.models.labelling import HEAD, LABELS, Labeller, encode, with_head
from harness.progress import Progress
from harness.records import AdapterRef, DevPoint, SeedTraining, Supervision
from harness.store import write_file
from harness.trainers import balance, checkpoints
from harness.trainers.base import Job, Origin, Scorer
from harness.trainers.following import curve, follower
from harness.trainers.order import plan, rows_an_epoch
from harness.trainers.overfitting import findings
from harness.trainers.publish import PROMPT_FILE
from harness.trainers.reporting import reporting, tell_taken_over
from harness.trainers.setup import arguments, configured, origin, steps_of
from harness.trainers.supervision import lengths_of

DONE: Final = "done.json"
NAMED: Final = 3
"""Rows that are shown."""


def train_classifier(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    """See `harness.trainers.base.Trainer`. The last step is taken; dev is answered once, at the end."""
    on = origin(job.spec.method)
    folder = artifacts.workspace("training", job.key(on)[:16])
    with artifacts.lock(f"training-{folder.name}"), quiet():
        if (folder / DONE).exists():
            told = json.loads((folder / DONE).read_text(encoding="utf-8"))
            done = SeedTraining.model_validate(told[0]), Supervision.model_validate(told[1])
            if artifacts.folder("adapters", done[0].adapter.digest).is_dir():
                progress.note(f"seed {job.seed}: trained before, classifier {done[0].adapter.digest[:8]} is taken over")
                tell_taken_over(done[0], job, on, folder, progress)
                return done
        done = _train(job, scorer, on, folder, progress)
        write_file(folder / DONE, json.dumps([part.model_dump(mode="json") for part in done], indent=1))
        checkpoints.clear(folder)
    return done


def _train(job: Job, scorer: Scorer, on: Origin, folder: Path, progress: Progress) -> tuple[SeedTraining, Supervision]:
    from transformers import set_seed

    started, earlier = time.monotonic(), checkpoints.last(folder)
    labels = sorted(set(balance.classes(job.rows)))
    set_seed(job.seed)
    model, tokenizer = with_head(job.model, labels, on.dtype, on.device)
    model = _trained_part(model, job)
    rows = [encode(tokenizer, chat(job.prompt, item)) for item in job.rows]
    seen = _evidence(job, rows, tokenizer)
    trainer = _trainer(job, model, rows, labels, on, folder)
    with (
        reporting(trainer, job, folder, progress) as reporter,
        progress.bar(f"training, seed {job.seed}", trainer.args.max_steps, earlier.step) as bar,
    ):
        trainer.add_callback(follower(bar, folder, earlier, started, None, tokenizer, reporter))
        trainer.train(resume_from_checkpoint=None if earlier.path is None else str(earlier.path))
        points = _looked(Labeller(trainer.model, tokenizer, labels), job, scorer, trainer.state.global_step)
        for point in points:
            reporter.looked(trainer.state, point)
    adapter = _publish(trainer.model, labels, job, folder)
    now, losses = checkpoints.so_far(earlier, started), curve(trainer.state.log_history)
    found = findings(losses, (), None, ())
    for finding in found:
        progress.note(f"seed {job.seed}: {finding.message}")
    return SeedTraining(
        seed=job.seed,
        adapter=adapter,
        steps=trainer.state.global_step,
        curve=losses,
        findings=found,
        seconds=round(sum(now.sittings), 1),
        peak_memory_bytes=now.peak_memory_bytes,
        resumed=len(earlier.sittings),
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        device=on.device,
        dtype=on.dtype,
        packages=dict(on.packages),
        dev=points,
    ), seen


def _trained_part(model: Any, job: Job) -> Any:
    """The head, and an adapter beneath it unless the body is frozen; trained weights are float32."""
    if job.spec.classifier.body == "frozen":
        head = {id(weights) for weights in model.score.parameters()}
        for weights in model.parameters():
            weights.requires_grad = id(weights) in head
    else:
        from peft import LoraConfig, get_peft_model

        targets = job.spec.target_modules
        own = {
            "r": job.spec.rank,
            "lora_alpha": job.spec.scaling_alpha,
            "lora_dropout": job.spec.dropout,
            "target_modules": targets if isinstance(targets, str) else list(targets),
            "task_type": "SEQ_CLS",
        }
        try:
            model = get_peft_model(model, LoraConfig(**own | job.spec.peft_args))
        except (ValueError, TypeError) as fault:
            raise TrainingError(Problem("train", f"cannot be set up: {fault}")) from fault
    for weights in model.parameters():
        if weights.requires_grad:
            weights.data = weights.data.float()
    return model


def _trainer(job: Job, model: Any, rows: Sequence[list[int]], labels: list[str], on: Origin, folder: Path) -> Any:
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, Trainer, TrainingArguments

    steps = steps_of(job.spec, rows_an_epoch(job))
    shared = arguments(job, len(rows), on, folder)
    known = {field.name for field in fields(TrainingArguments)}
    own = {name: value for name, value in shared.items() if name in known}
    own |= {"gradient_checkpointing": job.spec.gradient_checkpointing}
    order = plan([len(row) for row in rows], job.spec.batch_size, steps, job.seed, job)
    golds = [labels.index(item.target.strip()) for item in job.rows]
    pad, weights = model.config.get_text_config().pad_token_id, None
    if job.spec.balance == "weighted_loss":
        counts = Counter(golds)
        weights = torch.tensor([len(golds) / (len(counts) * counts[at]) for at in range(len(labels))]).to(on.device)

    def collate(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(one["input_ids"]) for one in examples)
        padded = [one["input_ids"] + [pad] * (width - len(one["input_ids"])) for one in examples]
        masks = [[1] * len(one["input_ids"]) + [0] * (width - len(one["input_ids"])) for one in examples]
        gold = torch.tensor([one["labels"] for one in examples])
        return {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(masks), "labels": gold}

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        """Mean over the rows of a whole batch, however it is split."""
        each = torch.nn.functional.cross_entropy(outputs.logits.float(), labels, weights, reduction="none")
        return each.sum() / (len(each) if num_items_in_batch is None else num_items_in_batch)

    trainer = Trainer(
        model=model,
        args=configured(TrainingArguments, job.spec, own),
        train_dataset=Dataset.from_list([{"input_ids": rows[at], "labels": golds[at]} for at in order]),
        data_collator=collate,
        compute_loss_func=loss,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _evidence(job: Job, rows: Sequence[list[int]], tokenizer: Any) -> Supervision:
    """What is read and learned: one label a row. Raises TrainingError for rows that would be cut."""
    most = job.spec.max_length or job.model.context_length
    long = [item.id for item, row in zip(job.rows, rows, strict=True) if len(row) > most]
    if long:
        what = f"{len(long)} rows are longer than max_length {most} and would be cut: {', '.join(long[:5])}"
        raise TrainingError(Problem("train", what, next="Raise train.max_length or shorten them"))
    shown = [f"{tokenizer.decode(row)}[[{item.target}]]" for item, row in zip(job.rows[:NAMED], rows, strict=False)]
    return Supervision(
        rows=len(rows),
        tokens=sum(map(len, rows)),
        supervised_tokens=len(rows),
        rows_without_loss=0,
        rows_truncated=0,
        rows_with_end_of_turn=len(rows),  # a label is a whole answer
        prompt_matches_serving=len(rows),
        longest=max(map(len, rows)),
        lengths=lengths_of([len(row) for row in rows]),
        example=shown[0],
        more_examples=tuple(shown[1:]),
    )


def _looked(labeller: Labeller, job: Job, scorer: Scorer, step: int) -> tuple[DevPoint, ...]:
    if not job.dev:
        return ()
    found = labeller.label([chat(job.prompt, item) for item in job.dev])
    scores = [
        score for score in scorer("dev", [(at, label) for at, (label, _) in enumerate(found)]) if score is not None
    ]
    return (DevPoint(step=step, score=sum(scores) / len(scores) if scores else None, n=len(scores)),)


def _publish(model: Any, labels: list[str], job: Job, folder: Path) -> AdapterRef:
    from safetensors.torch import save_file

    trained = {name: weights for name, weights in model.named_parameters() if weights.requires_grad}
    if not all(bool(weights.isfinite().all()) for weights in trained.values()):
        what = "the classifier holds values that are not numbers"
        raise TrainingError(Problem("train", what, next="Lower train.learning_rate, or check the base model"))
    staging = folder / "adapter"
    shutil.rmtree(staging, ignore_errors=True)
    if job.spec.classifier.body == "frozen":
        staging.mkdir()
        save_file({name: weights.detach().cpu().contiguous() for name, weights in trained.items()}, staging / HEAD)
    else:
        model.save_pretrained(str(staging), safe_serialization=True)
        (staging / "README.md").unlink(missing_ok=True)
        path = staging / "adapter_config.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = job.model.ref.name
        for name, value in config.items():
            if name.endswith(("modules", "to_save")) and isinstance(value, list):
                config[name] = sorted(value)
        path.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    write_file(staging / LABELS, json.dumps({"labels": labels}, indent=1, ensure_ascii=False) + "\n")
    (staging / PROMPT_FILE).write_text(job.prompt.model_dump_json(indent=1), encoding="utf-8")
    digest = artifacts.publish("adapters", staging)
    return AdapterRef(digest=digest, method=job.spec.method, seed=job.seed, kind="classifier")
