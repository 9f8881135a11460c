"""Fine-tuning jobs at services: every service's own package against a local server that speaks its calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from managed_jobs import CREATES, DEV, asked, line_to, made, serving
from managed_words import BASE, KEY, STEPS
from small_training import PROMPT, ROWS, Notes

from harness.records import Item, Message
from harness.trainers import Job, no_scorer, train
from harness.trainers.managed.services import KEYS, SERVICES


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in KEYS.values():
        monkeypatch.setenv(name, KEY)
    return tmp_path / "home"


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_service_trains_and_what_it_made_is_a_candidate_by_its_name_there(service: str, home: Path) -> None:
    notes = Notes()
    with serving(service) as server:
        trained = made(server, service, notes)
        (done,) = server.jobs.values()
        rows = server.rows("train.jsonl")
    assert trained.adapter.kind == "remote"
    assert trained.adapter.remote == server.tuned(done)
    assert [row["messages"][-1]["content"] for row in rows] == [item.target for item in ROWS]
    assert rows[0]["messages"][0] == {"role": "system", "content": PROMPT.instruction}
    assert trained.managed is not None
    assert trained.managed.base == BASE
    assert trained.managed.job == done.id
    assert trained.seconds == 600
    assert trained.trainable_parameters is None
    assert notes.steps == 100
    assert any(done.id in note for note in notes.notes)


def test_what_a_service_tells_of_its_loss_is_the_curve() -> None:
    with serving("openai") as server:
        trained = made(server, "openai")
    assert [(point.step, point.loss) for point in trained.curve] == [(n, 2.0 / n) for n in range(1, STEPS + 1)]
    assert [point.value for point in trained.curves["valid_loss"]] == [2.5 / n for n in range(1, STEPS + 1)]
    with serving("together") as server:
        assert [point.step for point in made(server, "together").curve] == [1, 2, 3, 4]


def test_dev_is_sent_to_validate_with_and_the_base_model_and_seed_are_named() -> None:
    with serving("openai") as server:
        made(server, "openai", seed=7, suffix="gate")
        (done,) = server.jobs.values()
        assert server.rows("validation.jsonl")[0]["messages"][-1]["content"] == DEV[0].target
    assert (done.body["model"], done.body["seed"], done.body["suffix"]) == (BASE, 7, "gate")
    assert done.body["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    assert done.body["validation_file"] != done.body["training_file"]


def test_together_is_sent_dev_only_where_evaluations_are_asked_for_since_it_bills_them() -> None:
    with serving("together") as server:
        made(server, "together", seed=3)
        made(server, "together", seed=3, hyperparameters={"n_epochs": 1, "n_evals": 2})
        without, asked_for = server.jobs.values()
    assert not without.body.get("validation_file")
    assert asked_for.body["validation_file"]
    assert asked_for.body["random_seed"] == 3
    assert asked_for.body["training_method"] == {"method": "sft", "train_on_inputs": False}


def test_earlier_answers_of_a_conversation_are_not_learned() -> None:
    turns = (
        Message(role="user", content="Say 1."),
        Message(role="assistant", content="1"),
        Message(role="user", content="And now?"),
    )
    with serving("openai") as server:
        whole = asked(server, "openai")
        more = Job(
            **{name: getattr(whole, name) for name in whole.__slots__}
            | {"rows": (Item(id="m", messages=turns, target="2"),)}
        )
        train(more, Notes(), no_scorer)
        (row,) = server.rows("train.jsonl")
    assert [turn.get("weight") for turn in row["messages"]] == [None, None, 0, None, None]


@pytest.mark.parametrize("service", ["openai", "together", "compatible"])
def test_preferences_are_sent_as_pairs(service: str) -> None:
    with serving(service) as server:
        made(server, service, train={"objective": "dpo", "preference": {"beta": 0.2}})
        row = server.rows("train.jsonl")[0]
        (done,) = server.jobs.values()
    assert row["preferred_output"] == [{"role": "assistant", "content": "1"}]
    assert row["non_preferred_output"] == [{"role": "assistant", "content": "2"}]
    assert row["input"]["messages"][-1] == {"role": "user", "content": "Say 1."}
    if service == "together":
        assert done.body["training_method"]["dpo_beta"] == 0.2
    else:
        assert done.body["method"]["dpo"]["hyperparameters"]["beta"] == 0.2


# -------------------------------------------------------------------------- once and for all


def test_the_same_rows_and_arguments_are_paid_for_once_and_other_ones_again(service: str) -> None:
    with serving(service) as server:
        first, again = made(server, service), made(server, service)
        assert again.adapter == first.adapter
        assert server.count(CREATES[service]) == 1
        assert made(server, service, seed=1).adapter != first.adapter
        assert server.count(CREATES[service]) == 2


def test_dev_rows_that_are_not_sent_make_no_other_job() -> None:
    with serving("together") as server:
        whole = asked(server, "together")
        made(server, "together")
        train(Job(**{name: getattr(whole, name) for name in whole.__slots__} | {"dev": ()}), Notes(), no_scorer)
        assert len(server.jobs) == 1


def test_a_key_in_another_variable_than_at_the_start_follows_the_same_job(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("openai") as server:
        with pytest.raises(KeyboardInterrupt):
            made(server, "openai", Notes(stop_at=50))
        monkeypatch.setenv("OTHER_KEY", KEY)
        monkeypatch.delenv("OPENAI_API_KEY")
        assert made(server, "openai", api_key_env="OTHER_KEY").managed is not None
        assert len(server.jobs) == 1


def test_a_finished_job_is_taken_over_without_key_or_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("openai") as server:
        first = made(server, "openai")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert made(server, "openai").adapter == first.adapter


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on_and_how_to_end_it(service: str) -> None:
    notes = Notes(stop_at=100)
    with serving(service) as server:
        with pytest.raises(KeyboardInterrupt):
            made(server, service, notes)
        (id,) = server.jobs
        assert f"`harness cancel {id}` ends it" in notes.notes[-1]
        assert "the same command follows it again" in notes.notes[-1]
        again = Notes()
        assert made(server, service, again).managed is not None
        assert "was started before: it is followed, not repeated" in again.notes[0]
        assert server.count(CREATES[service]) == 1


def test_a_start_whose_answer_was_lost_is_found_again_and_not_repeated(service: str) -> None:
    with serving(service, lose=CREATES[service]) as server:
        trained = made(server, service)
        assert server.count(CREATES[service]) == 1
    assert trained.managed is not None


def test_a_run_killed_between_start_and_answer_finds_the_job_that_it_started(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(service, lose=CREATES[service]) as server:
        line = type(SERVICES[service](line_to(server, service)))
        with monkeypatch.context() as patch:
            patch.setattr(line, "find", _killed)
            with pytest.raises(Killed):
                made(server, service)
        made(server, service)
        assert server.count(CREATES[service]) == 1


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def _killed(*_: Any) -> None:
    raise Killed


def test_a_run_killed_after_the_upload_goes_on_with_what_was_sent(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(service) as server:
        line = type(SERVICES[service](line_to(server, service)))
        with monkeypatch.context() as patch:
            patch.setattr(line, "start", _killed)
            with pytest.raises(Killed):
                made(server, service)
        sent = dict(server.files)
        made(server, service)
        assert server.files == sent
        assert server.count(CREATES[service]) == 1


def test_a_process_that_is_killed_while_it_follows_goes_on_with_the_same_job(tmp_path: Path) -> None:
    with serving("openai", outcome="running") as server:
        code = f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from managed_jobs import made
            from managed_server import ManagedServer
            made(ManagedServer(url={server.url!r}), "openai")
        """
        harness = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
        try:
            _until(lambda: server.jobs and server.jobs["ftjob-0"].looks > 2)
        finally:
            os.kill(harness.pid, signal.SIGKILL)
            harness.wait()
        server.outcome = "succeeded"
        assert made(server, "openai").managed is not None
        assert server.count(CREATES["openai"]) == 1


def _until(looked: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not looked():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
