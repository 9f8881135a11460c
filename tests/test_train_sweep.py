"""Sweeps: fields that they may change, trials that stop, go on and are shared, and the best of them on dev."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from small_training import PROMPT, QUICK, ROWS, SPLIT, Notes, job, tiny

from harness.cli import tables
from harness.data import Row, Split
from harness.errors import HarnessError, Problem, TrainingError
from harness.evaluate import TaskSpec
from harness.evidence import gather
from harness.learning import Ground, help_sweep, learn
from harness.learning.sweeping import Sweep, Training, grid
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import AdapterRef, DevPoint, SeedTraining, Supervision, SweepRecord
from harness.report import write_reports
from harness.store import ExperimentStore
from harness.trainers import Job, Scorer, TrainSpec, searching
from harness.trainers.base import LESS_MEMORY, looked
from harness.trainers.parts import SweepSpec

pytest.importorskip("optuna")

DEV = Split("dev", "dev.jsonl", tuple(Row(replaced, line) for line, replaced in enumerate(ROWS[:4], 1)))
SEEN = Supervision(
    rows=8, tokens=80, supervised_tokens=40, rows_without_loss=0, rows_truncated=0, rows_with_end_of_turn=8, longest=10,
    example="",
)  # fmt: skip


def of(**fields: object) -> TrainSpec:
    """A spec that sweeps over these fields."""
    return TrainSpec.model_validate({"sweep": fields})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"learning_rat": [1e-4]}, "Did you mean 'learning_rate'"),
        ({"seeds": [[0], [1]]}, "leaves as it is"),
        ({"select.items": [5, 10]}, "leaves as it is"),
        ({"replay.ratio": [0.1]}, "no such field"),
        ({"rank": [8, 0]}, "greater than or equal to 1"),
        ({"learning_rate": {"log": [1e-3, 1e-5]}}, "low < high"),
        ({"rank": {"between": [1, 2]}}, "no list of values"),
    ],
)
def test_a_field_or_value_that_cannot_be_swept_is_told(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match="sweep") as fault:
        of(**fields)
    assert told in str(fault.value)


def test_fields_of_a_trial_change_what_follows_from_them() -> None:
    changed = searching.changed(of(rank=[8, 64]), {"rank": 64, "preference.beta": 0.3})
    assert (changed.scaling_alpha, changed.preference.beta, changed.sweep) == (128, 0.3, None)


def test_the_engine_is_told_the_largest_rank_of_a_sweep() -> None:
    assert of(rank=[8, 64]).served_rank == 64
    assert of(rank={"int": [4, 24]}, method=["lora", "pissa"]).served_rank == 48


def test_a_list_of_everything_is_tried_once_each_where_it_fits_the_trials() -> None:
    sweep = SweepSpec(fields={"rank": [4, 8], "schedule": ["cosine", "linear"]}, trials=4)
    assert sorted((one["rank"], one["schedule"]) for one in grid(sweep) or ()) == [
        (4, "cosine"), (4, "linear"), (8, "cosine"), (8, "linear")
    ]  # fmt: skip
    assert grid(sweep.model_copy(update={"trials": 3})) is None


class Scripted:
    """Trains nothing: tells looks at dev whose scores hang on the learning rate, and may be broken off."""

    def __init__(self, score: Callable[[Job], float], stop_after: int | None = None) -> None:
        self.score = score
        self.asked: list[Job] = []
        self._stop_after = stop_after

    def __call__(self, job: Job, progress: Progress, scorer: Scorer) -> tuple[SeedTraining, Supervision]:
        self.asked.append(job)
        points = [DevPoint(step=step, score=self.score(job) * step / 12, n=4) for step in (0, 6, 12)]
        for point in points:
            if self._stop_after is not None and len(self.asked) > self._stop_after and point.step == 6:
                raise KeyboardInterrupt
            looked(scorer, point)
        made = SeedTraining(
            seed=job.seed, adapter=AdapterRef(digest="0" * 64, method="lora", seed=0), steps=12, curve=(), seconds=36.0,
            peak_memory_bytes=None, resumed=0, trainable_parameters=1, dev=tuple(points), chosen_step=12,
        )  # fmt: skip
        return made, SEEN


def better_slowly(job: Job) -> float:
    return 1 - 100 * job.spec.rate


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def ground(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return Ground(
        model=model, task=TaskSpec(metric="exact_match"), train=SPLIT, dev=DEV, instruction=PROMPT.instruction,
        near=tmp_path, folder=ExperimentStore(tmp_path / "sweep--00000000"), progress=Notes(),
    )  # fmt: skip


def swept(ground: Ground, spec: TrainSpec, train: Training) -> Sweep:
    def scorer(split: str, answers: Sequence[tuple[int, object]]) -> list[float | None]:
        return [None for _ in answers]

    return Sweep(spec, ground, lambda changed: (job(ground.model, changed), scorer), train)


RATES = {"learning_rate": {"log": [1e-5, 5e-3]}, "trials": 6}
LISTED = {"learning_rate": [1e-3, 1e-4, 5e-3], "trials": 6, "prune": False}


def spec_of(sweep: dict[str, object]) -> TrainSpec:
    return TrainSpec.model_validate(QUICK.model_dump(exclude={"sweep"}) | {"sweep": sweep})


def test_the_best_on_dev_is_taken(ground: Ground) -> None:
    sweep = swept(ground, spec_of(LISTED), trained := Scripted(better_slowly))
    sweep.work()
    record = sweep.record()
    assert record.best == {"learning_rate": 1e-4}
    assert [job.experiment for job in trained.asked] == ["-trial0", "-trial1", "-trial2"]
    assert [trial.state for trial in record.trials] == ["complete"] * 3
    assert record.seconds == 3 * 36.0
    assert all(trial.steps == 12 and len(trial.curve) == 3 for trial in record.trials)


def test_a_sweep_broken_off_in_a_trial_comes_to_the_same_trials(ground: Ground, tmp_path: Path) -> None:
    whole = swept(ground, spec_of(RATES), Scripted(better_slowly))
    whole.work()
    again = replace(ground, folder=ExperimentStore(tmp_path / "again--00000000"))
    with pytest.raises(KeyboardInterrupt):
        swept(again, spec_of(RATES), Scripted(better_slowly, stop_after=2)).work()
    resumed = swept(again, spec_of(RATES), goes_on := Scripted(better_slowly))
    resumed.work()
    assert len(goes_on.asked) == 4, "the third trial is gone on with, the two before are not trained again"
    plain = [trial.model_copy(update={"seconds": 0.0}) for trial in whole.record().trials]
    assert [trial.model_copy(update={"seconds": 0.0}) for trial in resumed.record().trials] == plain


def test_a_trial_below_the_median_of_others_is_stopped_at_a_look(ground: Ground) -> None:
    scores, script = (0.9, 0.8, 0.9, 0.8, 0.1, 0.95), Scripted(better_slowly)
    script.score = lambda job: scores[len(script.asked) - 1]
    sweep = swept(ground, spec_of(RATES), script)
    sweep.work()
    stopped = sweep.record().trials[4]
    assert (stopped.state, stopped.steps) == ("pruned", 6)
    assert "below the median" in stopped.reason
    assert sweep.record().trials[5].state == "complete"


def test_a_trial_that_fails_is_told_and_the_others_count(ground: Ground) -> None:
    def score(job: Job) -> float:
        if job.spec.rate > 1e-3:
            raise TrainingError([])
        return better_slowly(job)

    sweep = swept(ground, spec_of(LISTED), Scripted(score))
    sweep.work()
    failed = [trial for trial in sweep.record().trials if trial.state == "failed"]
    assert [(trial.fields["learning_rate"], trial.score) for trial in failed] == [(5e-3, None)]


def test_a_sweep_of_failures_alone_says_why_each_failed_and_how_to_try_again(ground: Ground) -> None:
    def full(job: Job, progress: Progress, scorer: Scorer) -> tuple[SeedTraining, Supervision]:
        raise TrainingError(Problem("train", "out of memory: 9 GiB", next=LESS_MEMORY))

    sweep = swept(ground, spec_of({"batch_size": [4, 8], "trials": 2}), full)
    sweep.work()
    with pytest.raises(TrainingError, match=r"trial 0: train: out of memory: 9 GiB.*; trial 1: .*delete .*sweep\.log"):
        sweep.record()
    ground.folder.journal_path("sweep").unlink()
    again = swept(ground, spec_of(LISTED), Scripted(better_slowly))
    again.work()
    assert len(again.record().trials) == 3


def test_a_tracker_that_cannot_be_told_fails_no_trial(ground: Ground) -> None:
    def unreachable(job: Job, progress: Progress, scorer: Scorer) -> tuple[SeedTraining, Supervision]:
        raise HarnessError(Problem("train.report_to: mlflow", "cannot be told"))

    with pytest.raises(HarnessError, match="mlflow: cannot be told"):
        swept(ground, spec_of(LISTED), unreachable).work()
    again = swept(ground, spec_of(LISTED), Scripted(better_slowly))
    again.work()
    assert [trial.state for trial in again.record().trials] == ["complete"] * 3


def test_two_workers_share_the_trials(ground: Ground) -> None:
    spec = spec_of(LISTED)
    helper = swept(ground, spec, helping := Scripted(better_slowly))

    def slow(job: Job) -> float:
        if not helping.asked:
            helper.work_once()
        return better_slowly(job)

    main = swept(ground, spec, leading := Scripted(slow))
    main.work()
    assert len(leading.asked) + len(helping.asked) == 3
    assert len(helping.asked) == 1


def test_no_trial_begins_after_the_time_is_spent(ground: Ground) -> None:
    sweep = swept(ground, spec_of({**LISTED, "hours": 0.015}), Scripted(better_slowly))
    sweep.work()
    assert len(sweep.record().trials) == 2


def test_a_sweep_and_then_every_seed_is_trained_for_real(ground: Ground) -> None:
    spec = spec_of({"learning_rate": [1e-6, 5e-2], "trials": 2, "prune": False}).model_copy(update={"seeds": (0, 1)})
    with pytest.raises(TrainingError, match="no sweep"):
        help_sweep(spec, ground)
    record = learn(spec, ground, gpu_hour_price=None)
    found = ground.folder.read(SweepRecord)
    assert found is not None
    assert len(found.trials) == 2
    assert record.arguments["learning_rate"] == found.best["learning_rate"]
    assert [one.seed for one in record.seeds] == [0, 1]
    (ground.folder.path / "spec.yaml").write_text("name: sweep\n")
    write_reports(ground.folder)
    assert "(taken)" in (ground.folder.path / "report.md").read_text()
    assert "(taken)" in (ground.folder.path / "report.html").read_text()
    titles = [str(table.title) for table in tables.sections(ground.folder, gather(ground.folder))]
    assert any("sweep" in title for title in titles)
    assert record.forecast is not None
    assert any("taken over" in note for note in ground.progress.notes), "the best trial's seed is not trained twice"
