"""A teacher's answers to the train rows, those that the task's metric finds right: sequence-level distillation.

Answers are sampled, scored and filtered (rejection sampling; "RFT" of Yuan et al. 2023, arXiv:2308.01825), and the
kept texts take the gold answer's place (sequence-level knowledge distillation; Kim and Rush 2016, arXiv:1606.07947).
The base model itself under its best prompt can be the teacher: then a long prompt is learned into the weights
("context distillation"; Askell et al. 2021, arXiv:2112.00861).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness import evaluate
from harness.data import Row, Split
from harness.engines import refusal
from harness.engines.base import Engine
from harness.errors import Problem, TrainingError
from harness.evaluate.asking import Question
from harness.learning.asking import answerer, ask, cut_short, tokens
from harness.learning.ground import Ground
from harness.records import Decoding, Item, Prompt, PromptRecord, SampleRecord, TaughtRecord, TaughtRow, digest
from harness.trainers.parts import TeacherSpec

JOURNAL = "teacher"


def teach(spec: TeacherSpec, ground: Ground, free: Callable[[], None]) -> TaughtRecord:
    """Ask the teacher for `samples` answers to each train row, once: an earlier record is returned as it is.

    Only train rows are sent. A row that is a worked example of the prompt is asked without that example, which would
    hold its gold answer. Raises EngineError when the teacher goes away (what it answered is kept), TrainingError when
    nothing is left to learn from.
    """
    record = ground.folder.read(TaughtRecord)
    if record is not None:
        return record
    items = ground.train.to_learn_from()
    if any(item.choices is not None for item in items):
        raise TrainingError(Problem("train.teacher", "the task compares given answers, and none is written"))
    ground.progress.stage("teacher")
    with answerer(ground, spec.url, spec.model, spec.api_key_env, "train.teacher", free) as teacher:
        prompt, decoding = _asked_under(spec, ground, teacher.engine)
        conditions = {
            "prompt": prompt.name,
            "prompt_digest": digest(prompt.model_dump(mode="json", exclude={"name"})),
            "decoding": decoding.model_dump(mode="json"),
            "samples": spec.samples,
            "temperature": spec.temperature,
            "engine": teacher.engine.conditions.model_dump(mode="json"),
            "metric": ground.task.metric,
        }
        key = digest([teacher.name, {name: told for name, told in conditions.items() if name != "samples"}])
        questions = _questions(spec, ground, items, prompt, decoding, key)
        samples = ask(teacher, questions, ground, JOURNAL, "teacher", ground.library)
        name = teacher.name
    rows = tuple(
        _kept(spec, item, samples[at * spec.samples : (at + 1) * spec.samples], ground.task.metric)
        for at, item in enumerate(items)
    )
    read, written = tokens(samples)
    record = TaughtRecord(
        kind="teacher",
        model=name,
        conditions=conditions,
        rows=rows,
        calls=len(samples),
        failed=sum(sample.error is not None for sample in samples),
        tokens_in=read,
        tokens_out=written,
        made=sum(len(row.kept) for row in rows),
    )
    if not record.made:
        what = f"none of {len(samples)} answers of {name} scores {spec.keep:g} by {ground.task.metric}"
        hint = "Take a stronger teacher, or lower train.teacher.keep"
        if cut := cut_short(samples):
            what += f"; {cut} reached max_tokens, and one that is cut is not learned from"
            hint += ", or raise train.teacher.max_tokens"
        raise TrainingError(Problem("train.teacher", what, next=hint))
    ground.folder.write(record)
    return record


def learned(spec: TeacherSpec, taught: TaughtRecord, train: Split) -> tuple[Split, str]:
    """The train split with the teacher's answers in place of the gold ones, and a sentence that says what it is."""
    by_id = {row.id: row for row in taught.rows}
    rows: list[Row] = []
    gold = left_out = 0
    for row in train.rows:
        own = by_id[row.item.id]
        texts = [own.answers[index].strip() for index in own.kept]
        if not texts and spec.with_gold:
            gold += 1
            rows.append(row)
        left_out += not texts and not spec.with_gold
        rows += [replace(row, item=_with(row.item, text, at)) for at, text in enumerate(texts)]
    told = (
        f"{taught.made} answers of the teacher {taught.model} to {len(taught.rows)} train rows are learned, of "
        f"{taught.calls} sampled ones; {gold} rows without a kept answer are learned with their gold answer, and "
        f"{left_out} are left out."
    )
    return replace(train, rows=tuple(rows)), told


def _with(item: Item, text: str, at: int) -> Item:
    return item.model_copy(update={"target": text, "id": item.id if at == 0 else f"{item.id}~{at + 1}"})


def _asked_under(spec: TeacherSpec, ground: Ground, engine: Engine) -> tuple[Prompt, Decoding]:
    """The best prompt that was found, or the task's own instruction; its constraint where the teacher can keep it."""
    found = ground.folder.read(PromptRecord) if spec.prompt == "best" else None
    prompt = found.winner if found is not None else Prompt(name="raw", instruction=ground.instruction)
    decoding = (found.winner_decoding if found is not None else None) or ground.task.decoding
    if decoding.constraint is not None and refusal(engine.conditions, decoding.constraint):
        decoding = decoding.model_copy(update={"constraint": None})
    update = {"temperature": 0.0} | ({"max_tokens": spec.max_tokens} if spec.max_tokens else {})
    return prompt, decoding.model_copy(update=update)


def _questions(
    spec: TeacherSpec, ground: Ground, items: Sequence[Item], prompt: Prompt, decoding: Decoding, key: str
) -> list[Question]:
    """`samples` questions a row, next to each other; the first is greedy."""
    (task,) = evaluate.task_suite(ground.train, ground.task).tasks
    task = replace(task, name=key, metrics=(ground.task.metric,), corpus_metrics=(), repeats=1)
    warm = decoding.model_copy(update={"temperature": spec.temperature})
    return [
        Question(task, item, item.digest, without(prompt, item), warm if repeat else decoding, repeat=repeat)
        for item in items
        for repeat in range(spec.samples)
    ]


def without(prompt: Prompt, item: Item) -> Prompt:
    """The prompt without the worked example that is this very row."""
    if item.id not in prompt.demonstration_ids:
        return prompt
    shown = zip(prompt.demonstration_ids, prompt.demonstrations, strict=True)
    others = [(id, turns) for id, turns in shown if id != item.id]
    return prompt.model_copy(
        update={
            "demonstration_ids": tuple(id for id, _ in others),
            "demonstrations": tuple(turns for _, turns in others),
        }
    )


def _kept(spec: TeacherSpec, item: Item, samples: Sequence[SampleRecord], metric: str) -> TaughtRow:
    """Different whole answers with a score of at least `keep`: the best scores first, and of equals the earlier."""
    answered = [sample for sample in samples if sample.answer is not None and sample.error is None]
    texts = tuple(str(sample.answer) for sample in answered)
    scores = tuple(sample.scores.get(metric) for sample in answered)
    right = [
        (-score, at)
        for at, (text, score, sample) in enumerate(zip(texts, scores, answered, strict=True))
        if score is not None and score >= spec.keep and text.strip() and sample.finish != "length"
    ]
    kept: list[int] = []
    for _, at in sorted(right):
        if texts[at].strip() not in [texts[index].strip() for index in kept]:
            kept.append(at)
    reason = "" if kept else f"none of {len(samples)} answers is whole and scores {spec.keep:g}"
    if not answered:
        reason = f"no call was answered: {samples[-1].error}"
    return TaughtRow(id=item.id, answers=texts, scores=scores, kept=tuple(kept[: spec.most]), reason=reason)
