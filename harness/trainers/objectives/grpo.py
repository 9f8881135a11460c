"""Group relative policy optimisation (Shao et al. 2024) with TRL's GRPOTrainer: rewards by the task's own metric.

Each prompt is answered several times as serving would answer it, at the spec's temperature; the harness scores the
answers as evaluation does. An answer that has no score moves nothing, and is never taken for a bad one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness import metrics
from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.models import turns
from harness.records import Item, Supervision
from harness.trainers.base import Job, Scorer
from harness.trainers.objectives import Loaded
from harness.trainers.order import plan, rows_an_epoch
from harness.trainers.setup import one_device, steps_of
from harness.trainers.supervision import (
    EXAMPLES,
    apart,
    check_template,
    lengths_of,
    refuse_elsewhere,
    refuse_long,
    template_digest,
)

Reward = Callable[..., list[float | None]]
ROW = "row"
"""Column with the number of an answer's row."""
UNSCORED = 0.5
"""Share of a step's answers that may have no score."""
ALIKE = 10
"""Steps in a row without two answers of a prompt that differ in reward, after which training stops: nothing moves."""


def build(job: Job, loaded: Loaded, scorer: Scorer) -> tuple[Any, Supervision]:
    """See `Builder`. `batch_size` counts prompts; each has `reward.generations` answers in the same step."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    reward, micro = job.spec.reward, job.spec.micro_batch_size or job.spec.batch_size
    ends = turns.end_tokens(loaded.tokenizer, loaded.base.config.get_text_config())
    loaded.base.generation_config.eos_token_id = sorted(ends)  # an answer ends where serving ends it
    more = {
        "per_device_train_batch_size": micro * reward.generations,
        "num_generations": reward.generations,
        "max_completion_length": job.decoding.max_tokens,
        "temperature": reward.temperature,
        "top_p": job.decoding.top_p,
        "beta": reward.beta,
        "disable_dropout": True,  # answers are those that serving would give
        "shuffle_dataset": False,  # harness.trainers.order says in which order
        "remove_unused_columns": False,
    }
    arguments = GRPOConfig(**loaded.arguments | more | job.spec.args)
    rows = [{"prompt": _asked(job, item), ROW: at} for at, item in enumerate(job.rows)]
    trainer = GRPOTrainer(
        model=loaded.base,
        args=one_device(arguments, arguments.per_device_train_batch_size),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter,
        reward_funcs=_rewards(job, scorer),
    )
    supervision = _evidence(trainer, job, loaded, ends)
    lengths = [len(ids) for ids in _prompts(trainer, [row["prompt"] for row in rows])]
    steps = steps_of(job.spec, rows_an_epoch(job))
    trainer.train_dataset = trainer.train_dataset.select(plan(lengths, job.spec.batch_size, steps, job.seed, job))
    return trainer, supervision


def _rewards(job: Job, scorer: Scorer) -> list[Reward]:
    """The task's first metric, and the form of the answer where the spec asks for it; their sum is the reward."""
    told = _ToldApart(job)

    def task(completions: Sequence[Any], row: Sequence[int], **_: Any) -> list[float | None]:
        texts = [_answer(one, job.decoding.stop) for one in completions]
        scores = scorer("train", list(zip(row, texts, strict=True)))
        lost = sum(score is None for score in scores)
        if lost > UNSCORED * len(scores):
            what = f"{lost} of {len(scores)} sampled answers have no score by the task's metric"
            hint = "Look whether the metric's judge or sandbox answers; docs/metrics.md says what leaves it without one"
            raise TrainingError(Problem("train", what, f"At most {UNSCORED:.0%}", hint))
        told.see(row, scores)
        return scores

    def form(completions: Sequence[Any], row: Sequence[int], **_: Any) -> list[float | None]:
        assert job.spec.reward.format_metric is not None  # noqa: S101  else it is not used
        texts = [_answer(one, job.decoding.stop) for one in completions]
        name = job.spec.reward.format_metric
        scores = [metrics.score_text(name, text, job.rows[at].target) for at, text in zip(row, texts, strict=True)]
        told.see(row, scores)
        return scores

    return [task] if job.spec.reward.format_metric is None else [task, form]


class _ToldApart:
    """Stops a training whose rewards never differ within a prompt: all advantages are zero then, nothing is learned."""

    def __init__(self, job: Job) -> None:
        functions = 1 if job.spec.reward.format_metric is None else 2
        self._most = min(ALIKE, steps_of(job.spec, rows_an_epoch(job))) * functions
        self._alike = 0
        self._seen: set[float] = set()

    def see(self, row: Sequence[int], scores: Sequence[float | None]) -> None:
        """The scores of one reward function for the answers of one step. Raises TrainingError."""
        by_row: dict[int, set[float]] = {}
        for at, score in zip(row, scores, strict=True):
            if score is not None:
                by_row.setdefault(at, set()).add(score)
        self._seen.update(*by_row.values())
        self._alike = 0 if any(len(each) > 1 for each in by_row.values()) else self._alike + 1
        if self._alike >= self._most:
            known = ", ".join(f"{score:g}" for score in sorted(self._seen)[:3])
            what = f"no two answers to the same prompt had different rewards ({known}) in {self._alike} looks in a row"
            hint = (
                "GRPO learns from such differences alone: begin from an adapter that is right now and then "
                "(train.start), sample more or hotter (reward.generations, reward.temperature), or reward the form "
                "too (reward.format_metric)"
            )
            raise TrainingError(Problem("train", what, "At least two different ones", hint))


def _answer(completion: Any, stop: Sequence[str]) -> str:
    """What serving would give back of a sampled answer."""
    text = str(completion[0]["content"])
    return text[: min((at for mark in stop if (at := text.find(mark)) >= 0), default=len(text))]


def _asked(job: Job, item: Item) -> list[dict[str, str]]:
    return [turn.model_dump() for turn in chat(job.prompt, item)]


def _prompts(trainer: Any, prompts: Sequence[Any]) -> list[list[int]]:
    """Tokens of the prompts as TRL sends them to the model."""
    ids, *_ = trainer._tokenize_prompts(list(prompts))
    return [list(one) for one in ids]


def _evidence(trainer: Any, job: Job, loaded: Loaded, ends: frozenset[int]) -> Supervision:
    """What can be known before the answers are sampled: that they follow the served prompt, fit, and end as served.

    No token carries loss yet: what is learned is what the model itself will have written.
    """
    template = check_template(loaded.tokenizer, job.model.path)
    if not ends <= set(trainer.eos_token_ids):
        what = "would sample answers that do not end where serving ends them"
        raise TrainingError(Problem("train", what, next="Leave eos_token_id out of train.args"))
    sent = _prompts(trainer, [_asked(job, item) for item in job.rows])
    elsewhere = {}
    for item, ids in zip(job.rows, sent, strict=True):
        served = turns.render(loaded.tokenizer, chat(job.prompt, item))
        if ids != loaded.tokenizer(served, add_special_tokens=False)["input_ids"]:
            elsewhere[item.id] = apart(loaded.tokenizer.decode(ids), served)
    refuse_elsewhere(elsewhere)
    most = job.spec.max_length or job.model.context_length
    room = job.decoding.max_tokens
    refuse_long([item.id for item, ids in zip(job.rows, sent, strict=True) if len(ids) + room > most], most)
    texts = [f"{loaded.tokenizer.decode(ids)}[[]]" for ids in sent[:EXAMPLES]]
    return Supervision(
        rows=len(job.rows),
        tokens=sum(map(len, sent)),
        supervised_tokens=0,
        rows_without_loss=0,
        rows_truncated=0,
        rows_with_end_of_turn=len(job.rows),
        prompt_matches_serving=len(job.rows) - len(elsewhere),
        longest=max(map(len, sent)) + room,
        lengths=lengths_of([len(ids) + room for ids in sent]),
        example=texts[0],
        more_examples=tuple(texts[1:]),
        chat_template=template_digest(template),
    )
