"""A store with one candidate judged for real on a few questions, fit to be served; nothing is searched or trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.chat import Library
from harness.engines import ServeSpec
from harness.judgement.answers import Answers, Wanted
from harness.models import LocalModel
from harness.progress import Silent
from harness.records import (
    AdapterRef,
    Candidate,
    Decoding,
    Item,
    JudgedRun,
    Message,
    Prompt,
    RunRecord,
    SeedTraining,
    Supervision,
    TrainingRecord,
    VerdictRecord,
)
from harness.serving import Serving
from harness.spec import Experiment
from harness.store import ExperimentStore, Store
from harness.suites import Suite, Task

CREATED = "2026-01-15T12:00:00Z"
ITEMS = tuple(
    Item(id=f"t{n}", messages=(Message(role="user", content=f"It's {n} o'clock; what comes next?"),), target=f"{n + 1}")
    for n in range(6)
)
PROMPT = Prompt(
    name="shown",
    instruction='Count on.\nDon\'t explain; say "$HOME" never.',
    demonstrations=((Message(role="user", content="It's 1 o'clock"), Message(role="assistant", content="2")),),
    demonstration_ids=("train-1",),
)
DECODING = Decoding(max_tokens=6, stop=("\n\n",))


def build(
    root: Path, model: LocalModel, training: SeedTraining | None = None, *, prompt: Prompt = PROMPT,
    decoding: Decoding = DECODING, items: Sequence[Item] = ITEMS, experiment: Experiment | None = None,
) -> Store:  # fmt: skip
    """Ask the questions in process, and decide `promote`. training: what made the adapter; None for the base model.

    experiment: whose spec it has, and where prompts look things up.
    """
    store = Store(root)
    folder = store.at("clock--00000001")
    spec = yaml.safe_dump({"name": "clock", "model": str(model.path)})
    store.create(folder.id, experiment.resolved_yaml(folder.path) if experiment else spec)
    library = experiment.shelves() if experiment else None
    adapter = training.adapter if training else None
    who = Candidate(name="tuned" if adapter else "prompted", model=model.ref, adapter=adapter, prompt=prompt,
                    decoding=decoding)  # fmt: skip
    run = _answer(folder, model, who, Suite("task", "task", "test", (_task(items),)), library)
    if training is not None:
        folder.write(_training(training, prompt))
    pinned = JudgedRun(run=run.id, candidate_digest=run.candidate_digest, samples_digest=run.samples_digest)
    told: dict[str, Any] = {"decision": "promote", "exit_code": 0, "reason": "All gates passed.", "gates": ()}
    folder.write(
        VerdictRecord(experiment=folder.id, hypothesis="", candidate=who.name, runs=(pinned,), created=CREATED, **told)
    )
    return store


def _task(items: Sequence[Item]) -> Task:
    return Task("task", "generate", tuple(items), ("exact_match",), Decoding())


def _answer(
    folder: ExperimentStore, model: LocalModel, who: Candidate, suite: Suite, library: Library | None
) -> RunRecord:
    spec = ServeSpec(engine="transformers", cache=False)
    with Serving(spec, model, max_adapters=1, rank=16, folder=folder, progress=Silent()) as serving:
        if who.adapter is not None:
            serving.add(who.name, who.adapter)
        return Answers(folder, serving, Silent(), library).evaluate_all([Wanted(who, suite)])[0]


def _training(seed: SeedTraining, prompt: Prompt) -> TrainingRecord:
    seen = Supervision(rows=0, tokens=0, supervised_tokens=0, rows_without_loss=0, rows_truncated=0,
                       rows_with_end_of_turn=0, longest=0, example="")  # fmt: skip
    return TrainingRecord(
        method=seed.adapter.method, prompt=prompt, arguments={}, device="cpu", supervision=seen, seeds=(seed,)
    )


def under(store: Store, **changes: Any) -> Store:
    """The same with another candidate's run, e.g. of a kind that cannot be served."""
    folder = store.experiments()[0]
    (run,) = folder.runs()
    adapter = AdapterRef(digest="ab" * 32, method="lora", seed=0, **changes)
    other = run.candidate.model_copy(update={"adapter": adapter})
    changed = run.model_copy(update={"candidate": other, "candidate_digest": other.digest})
    (folder.path / "runs" / run.id / "run.json").write_text(changed.model_dump_json())
    return store
