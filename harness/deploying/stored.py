"""Runs that the store holds already: the same weights, prompt and decoding on the same items, in the same conditions.

Not of what a server elsewhere answered, whose weights nobody sees, nor where latency decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.judgement import Wanted, asked_as
from harness.records import Conditions, ReusedRun, RunRecord
from harness.store import ExperimentStore, Store

JOURNAL = "reused"
Found = tuple[ExperimentStore, RunRecord]


def search(store: Store, here: ExperimentStore, wanted: Sequence[Wanted]) -> dict[str, list[Found]]:
    """Run id in the gate to whole runs of the store that hold its answers, of the newest experiment first."""
    found: dict[str, list[Found]] = {one.id: [] for one in wanted}
    names: dict[str, list[Wanted]] = {}
    for one in wanted:
        names.setdefault(f"--{one.suite.name}--{one.suite.split}", []).append(one)
    for other in store.experiments():
        if other.id == here.id:
            continue
        for run_id in other.run_ids():
            asking = next((names[end] for end in names if run_id.endswith(end)), [])
            run = other.run(run_id) if asking else None
            if run is None or run.stopped is not None or run.unscored:
                continue
            for one in asking:
                if _same(one, run):
                    found[one.id].append((other, run))
    return found


def _same(one: Wanted, run: RunRecord) -> bool:
    primary = {task.name: task.metrics[0] for task in one.suite.tasks}
    alike = asked_as(run.candidate, one.plain) == asked_as(one.candidate, one.plain)
    return alike and (run.fingerprint, run.primary) == (one.suite.fingerprint, primary)


def common(found: Iterable[Sequence[Found]]) -> Conditions | None:
    """Conditions under which every one of the runs is there; None where there are none."""
    groups = [[run.conditions for _, run in runs] for runs in found]
    if not groups:
        return None
    return next((one for one in groups[0] if all(one in group for group in groups[1:])), None)


def take(
    folder: ExperimentStore, wanted: Sequence[Wanted], found: dict[str, list[Found]], conditions: Conditions
) -> None:
    """Copy into the gate what was found under these conditions, once, and note whose it was."""
    for one in wanted:
        fits = [pair for pair in found.get(one.id, []) if pair[1].conditions.model_dump() == conditions.model_dump()]
        if not fits or folder.run(one.id) is not None:
            continue
        other, run = fits[0]
        samples = other.samples(run.id)
        with folder.journal(JOURNAL) as journal:
            journal.append([ReusedRun(run=one.id, of=f"{other.id}:{run.id}")])
        own = {"id": one.id, "candidate": one.candidate, "candidate_digest": one.candidate.digest}
        folder.finish_run(run.model_copy(update={**own, "role": one.suite.role}), samples)


def reused(folder: ExperimentStore) -> dict[str, str]:
    """Run of the gate to whose answers it holds."""
    return {line.run: line.of for line in folder.journal_lines(JOURNAL, ReusedRun) if folder.run(line.run) is not None}
