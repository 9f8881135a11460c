"""What a reader should know before acting on a verdict, told in one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from harness.evaluate import TASK_SUITE
from harness.records import DataRecord, RunRecord
from harness.store import ExperimentStore

MUCH_CUT = 0.05
"""Share of answers that reached the token limit above which a score may say more about the limit."""


def caveats(runs: Sequence[RunRecord], folder: ExperimentStore, seeds: Sequence[int]) -> tuple[str, ...]:
    """All of them, for the test runs that a verdict rests on."""
    found = []
    engines = sorted({run.conditions.engine for run in runs} - {"vllm"})
    if engines:
        found.append(f"Judged with the {engines[0]} engine; if vLLM will serve it, judge it there too.")
    record = folder.read(DataRecord)
    if record is not None and record.findings:
        found.append(f"The data audit has {len(record.findings)} findings; see data.json.")
    on_task = [run for run in runs if run.suite == TASK_SUITE]
    judged = sum(run.candidate.adapter is not None for run in on_task)
    if 0 < judged < len(seeds):
        best = "is the best" if judged == 1 else f"are the {judged} best"
        found.append(f"Judged {best} on dev of {len(seeds)} seeds; the others never met test.")
    found += _raw_beats_the_bar(on_task)
    found += [told for run in on_task for told in _cut(run, folder)]
    return tuple(found)


def _raw_beats_the_bar(on_task: Sequence[RunRecord]) -> list[str]:
    score = {run.candidate.name: run.metrics[0].estimate.value for run in on_task}
    base, best = score.get("base"), score.get("best_prompt")
    if base is None or best is None or base <= best:
        return []
    return [f"On test the raw prompt did better ({base:.3f}) than the winner of the race ({best:.3f})."]


def _cut(run: RunRecord, folder: ExperimentStore) -> list[str]:
    cut = sum(sample.finish == "length" for sample in folder.samples(run.id))
    if cut <= MUCH_CUT * run.n:
        return []
    return [f"{run.candidate.name}: {cut} of {run.n} answers reached max_tokens and were cut."]
