"""What a reader should know before acting on a verdict, told in one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.evaluate import TASK_SUITE, run_id
from harness.records import (
    Candidate,
    DataRecord,
    Decision,
    ParityRecord,
    Prompt,
    RunRecord,
    SampleRecord,
    TrainingRecord,
)
from harness.store import ExperimentStore

COLLAPSED = 0.95
"""Share of one answer, whatever is asked, from which a reader is told."""
FEWEST = 10
"""Answers below which sameness says nothing."""
MUCH_CUT = 0.05
"""Share of answers that reached the token limit above which a score may say more about the limit."""


def caveats(runs: Sequence[RunRecord], folder: ExperimentStore, seeds: Sequence[int]) -> tuple[str, ...]:
    """All of them, for the test runs that a verdict rests on."""
    found = []
    engines = {run.conditions.engine for run in runs} - {"vllm"}
    found += [_of_engine(engine) for engine in sorted(engines)]
    record = folder.read(DataRecord)
    if record is not None and record.findings:
        found.append(f"The data audit has {len(record.findings)} findings; see data.json.")
    on_task = [run for run in runs if run.suite == TASK_SUITE] or list(runs)  # a deploy gate may have no task
    judged = len({run.candidate.adapter.digest for run in on_task if run.candidate.adapter is not None})
    if 0 < judged < len(seeds):
        best = "is the best" if judged == 1 else f"are the {judged} best"
        found.append(f"Judged {best} on dev of {len(seeds)} seeds; the others never met test.")
    found += _raw_beats_the_bar(on_task)
    found += _other_prompts(on_task, folder.read(TrainingRecord))
    found += _unlike_training(folder.read(ParityRecord), {run.candidate.adapter.digest for run in on_task
                                                          if run.candidate.adapter is not None})  # fmt: skip
    found += _said_by_training(folder.read(TrainingRecord), {run.candidate.adapter.digest for run in on_task
                                                             if run.candidate.adapter is not None})  # fmt: skip
    answers = [run for run in on_task if run.suite == TASK_SUITE]
    found += [told for run in answers for told in _cut(run, folder)]
    found += [told for run in answers if (told := _nearly_one_answer(run, folder))]
    return tuple(found)


def one_answer(samples: Sequence[SampleRecord], share: float = 1.0) -> str:
    """A sentence where a candidate gives one answer to this share of the questions or more; else empty.

    Only where there is more than one gold answer: then its score is how frequent that answer is, and nothing more.
    """
    given = [sample.answer.strip() for sample in samples if sample.answer is not None and sample.error is None]
    golds = Counter(sample.target.strip() for sample in samples)
    if len(given) < FEWEST or len(golds) < 2:
        return ""
    ((answer, count),) = Counter(given).most_common(1)
    often = golds[answer] / golds.total()
    if count < share * len(given) or often >= share:
        return ""
    how = "every question" if count == len(given) else f"{count} of {len(given)} questions"
    return f"gives one answer to {how}, {answer[:40]!r}, which is the gold answer of {often:.1%}"


def unless_collapsed(
    decided: tuple[Decision, str], candidates: Sequence[Candidate], folder: ExperimentStore
) -> tuple[Decision, str]:
    """No promotion for one answer to everything, e.g. the most frequent one, whatever it gained by that."""
    if decided[0] != "promote":
        return decided
    for one in candidates:
        if told := one_answer(folder.samples(run_id(one.name, TASK_SUITE, "test"))):
            return "reject", f"All gates passed, but {one.name} {told}. That is no skill to promote."
    return decided


def _nearly_one_answer(run: RunRecord, folder: ExperimentStore) -> str:
    if run.candidate.adapter is None:
        return ""
    told = one_answer(folder.samples(run.id), COLLAPSED)
    return told and f"{run.candidate.name}: {told}: its score says how frequent that answer is."


def _of_engine(engine: str) -> str:
    """What is not known of who will serve, or of who has answered."""
    if engine == "openai":
        who = "an endpoint, which is known by its URL and its model's name"
        return f"Judged over {who}: another model behind them would not be noticed."
    return f"Judged with the {engine} engine; if vLLM will serve it, judge it there too."


def _raw_beats_the_bar(on_task: Sequence[RunRecord]) -> list[str]:
    score = {run.candidate.name: run.metrics[0].estimate.value for run in on_task}
    base, best = score.get("base"), score.get("best_prompt")
    if base is None or best is None or base <= best:
        return []
    return [f"On test the raw prompt did better ({base:.3f}) than the winner of the race ({best:.3f})."]


def _other_prompts(on_task: Sequence[RunRecord], training: TrainingRecord | None) -> list[str]:
    """Adapters that were asked under another prompt than they were trained under."""
    if training is None:
        return []
    trained_here = {seed.adapter.digest for seed in training.seeds}
    asked: dict[str, list[str]] = {}
    for run in on_task:
        prompt = run.candidate.prompt
        adapter, names = run.candidate.adapter, asked.setdefault(prompt.name, [])
        if adapter is None or adapter.digest not in trained_here or run.candidate.name in names:
            continue
        if _content(prompt) != _content(training.prompt):
            names.append(run.candidate.name)
    trained = training.prompt.name
    return [
        f"{', '.join(names)}: judged under the prompt {prompt!r}, while the adapter was trained under {trained!r}; "
        f"what was judged is the adapter with {prompt!r}, so serve it with that prompt."
        for prompt, names in asked.items()
        if names
    ]


def _unlike_training(record: ParityRecord | None, judged: set[str]) -> list[str]:
    """Judged adapters that could not be held against the process that trained them."""
    rows = [] if record is None else [row for row in record.adapters if row.adapter in judged and row.tolerance is None]
    return [f"{row.candidate}: not shown to be served as it was trained: {row.reason}." for row in rows]


def _said_by_training(training: TrainingRecord | None, judged: set[str]) -> list[str]:
    """What the curves of judged adapters say against them."""
    trained = () if training is None else training.seeds
    return [
        f"tuned-seed{one.seed}: {finding.message}."
        for one in trained
        for finding in one.findings
        if one.adapter.digest in judged
    ]


def _content(prompt: Prompt) -> str:
    """What is put around a question, whatever it is called."""
    return prompt.model_dump_json(exclude={"name", "demonstration_ids"})


def _cut(run: RunRecord, folder: ExperimentStore) -> list[str]:
    cut = sum(sample.finish == "length" for sample in folder.samples(run.id))
    if cut <= MUCH_CUT * run.n:
        return []
    return [f"{run.candidate.name}: {cut} of {run.n} answers reached max_tokens and were cut."]
