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
from managed_server import ManagedServer, running
from managed_words import BASE, KEY, STEPS, TOKENS
from small_training import PROMPT, ROWS, Notes, job

from harness import models, trainers
from harness.errors import TrainingError
from harness.records import Item, Message, Preference, SeedTraining
from harness.trainers import Job, TrainSpec, no_scorer, train
from harness.trainers.managed import cancel, unfinished
from harness.trainers.managed.services import KEYS, SERVICES, exposed

MODEL = models.resolve(f"openai:{BASE}")
DEV = (Item(id="d0", messages=(Message(role="user", content="What comes after 9?"),), target="It is 10."),)
PAIRS = (
    Preference(id="p0", messages=(Message(role="user", content="Say 1."),), chosen="1", rejected="2"),
    Preference(id="p1", messages=(Message(role="user", content="Say 3."),), chosen="3", rejected="4"),
)
EPOCHS = {"openai": {"n_epochs": 2}, "together": {"n_epochs": 2}, "fireworks": {"epochs": 2}, "compatible": {}}
CREATES = {
    "openai": "POST /v1/fine_tuning/jobs",
    "compatible": "POST /v1/fine_tuning/jobs",
    "together": "POST /v1/fine-tunes",
    "fireworks": "POST /v1/accounts/me/supervisedFineTuningJobs",
}
LOOKS = {
    "openai": "fine_tuning/jobs/ftjob-0", "compatible": "fine_tuning/jobs/ftjob-0", "together": "fine-tunes/ft-0",
    "fireworks": "supervisedFineTuningJobs/harness-",
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in KEYS.values():
        monkeypatch.setenv(name, KEY)
    return tmp_path / "home"


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serving(service: str, **settings: Any) -> Any:
    return running("openai" if service == "compatible" else service, **settings)


def asked(
    server: ManagedServer, service: str, *, seed: int = 0, train: dict[str, Any] | None = None, **given: Any
) -> Job:
    at = server.url if service == "fireworks" else f"{server.url}/v1"
    managed = {"service": service, "url": at, "poll": 0.001, "hyperparameters": EPOCHS[service]} | given
    if service == "fireworks":
        managed["account"] = "me"
    spec = TrainSpec.model_validate({"method": "managed", "managed": managed} | (train or {}))
    return job(MODEL, spec, seed=seed, dev=DEV, pairs=PAIRS if spec.objective == "dpo" else ())


def made(server: ManagedServer, service: str, notes: Notes | None = None, **given: Any) -> SeedTraining:
    return train(asked(server, service, **given), notes or Notes(), no_scorer)[0]


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
        line = type(SERVICES[service](_line(server, service)))
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


def _line(server: ManagedServer, service: str) -> Any:
    from harness.trainers.managed.base import Line

    return Line(service, server.url, KEY, "K", "me")


def test_a_run_killed_after_the_upload_goes_on_with_what_was_sent(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(service) as server:
        line = type(SERVICES[service](_line(server, service)))
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
            from test_train_managed import made
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


# ----------------------------------------------------------------------------------- faults


def test_a_job_that_fails_is_told_in_the_services_own_words_and_is_not_started_again(service: str) -> None:
    with serving(service, outcome="failed") as server:
        for _ in range(2):
            with pytest.raises(
                TrainingError, match=r"(?s)failed: Line 3 of the file is no chat.*To have another one started"
            ):
                made(server, service)
        assert server.count(CREATES[service]) == 1


def test_a_job_is_cancelled_at_its_service_by_its_id(service: str) -> None:
    with serving(service, outcome="running") as server:
        with pytest.raises(KeyboardInterrupt):
            made(server, service, Notes(stop_at=100 if service == "fireworks" else 75))
        (id,) = server.jobs
        assert [begun.job for _, begun in unfinished()] == [id]
        cancel(id)
        assert server.jobs[id].cancelled
        with pytest.raises(TrainingError, match=f"{id}: was cancelled"):
            made(server, service)
        with pytest.raises(TrainingError, match="no job 'ft-other' was started from here"):
            cancel("ft-other")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_busy_or_stumbles_for_a_moment_is_asked_again(service: str, status: int) -> None:
    with serving(service, faults=[("GET", LOOKS[service], status)] * 3) as server:
        assert made(server, service).managed is not None
        assert not server.faults


def test_a_start_that_is_turned_away_for_the_rate_limit_is_tried_again(service: str) -> None:
    refused = [("POST", CREATES[service].split()[1], 429)]
    if service == "together":  # its package asks for limits and price on the way
        refused = [("POST", "/v1/fine-tunes", 429)]
    with serving(service, faults=refused) as server:
        assert made(server, service).managed is not None
        assert len(server.jobs) == 1


def test_a_job_lost_sight_of_is_left_alone_and_followed_again_later(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.trainers.managed.SILENT", 1)
    monkeypatch.setattr(f"harness.trainers.managed.{_module(service)}.RETRIES", 0)
    with serving(service, faults=[("GET", LOOKS[service], 503)]) as server:
        with pytest.raises(TrainingError, match=r"(?s)planted fault 503.*lost sight of. The job goes on there"):
            made(server, service)
        assert made(server, service).managed is not None
        assert server.count(CREATES[service]) == 1


def _module(service: str) -> str:
    return {"together": "together_jobs", "fireworks": "fireworks_jobs"}.get(service, "openai_jobs")


def test_fireworks_that_takes_no_more_data_is_told_with_what_to_do() -> None:
    with (
        serving("fireworks", faults=[("POST", "datasets", 501)] * 10) as server,
        pytest.raises(TrainingError, match=r"(?s)status 501: planted fault 501.*takes no new managed jobs"),
    ):
        made(server, "fireworks")


def test_rows_and_key_that_would_travel_in_clear_are_told() -> None:
    assert "travel unencrypted to gpu.example" in exposed("http://gpu.example/v1")
    assert not exposed("https://gpu.example/v1")
    assert not exposed("http://127.0.0.1:8000/v1")


# ------------------------------------------------------------------------------------- keys


def test_a_key_that_is_not_set_is_told_before_anything_is_done(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS[service])
    with serving(service) as server:
        wanted = asked(server, service)
        with pytest.raises(TrainingError, match=f"{KEYS[service]} is not set"):
            trainers.require_installed(wanted.spec)
        with pytest.raises(TrainingError, match=f"{KEYS[service]} is not set"):
            train(wanted, Notes(), no_scorer)
        assert server.calls == []


def test_a_key_that_is_refused_is_named_by_its_variable_and_never_shown(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS[service], "sk-wrong-key-7")
    with serving(service) as server, pytest.raises(TrainingError, match=f"the key in {KEYS[service]}") as told:
        made(server, service)
    assert "sk-wrong" not in str(told.value)


def test_a_key_is_hidden_where_a_service_repeats_it() -> None:
    assert _line(ManagedServer(), "openai").hidden(f"who is {KEY}?") == "who is ***?"


def test_the_key_is_in_no_file(service: str, home: Path) -> None:
    with serving(service) as server:
        made(server, service)
    written = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "job.json" for path in written)
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


# ------------------------------------------------------------------------------------ costs


def test_what_a_job_cost_is_by_the_stated_price_else_the_services_own_figure_else_unknown(service: str) -> None:
    own = {"together": 5.0, "fireworks": 3.5}.get(service)
    stated = own if service == "fireworks" else TOKENS / 1e6 * 25
    with serving(service) as server:
        plain = made(server, service).managed
        priced = made(server, service, seed=1, price_per_million_tokens=25).managed
    assert plain is not None
    assert priced is not None
    assert (plain.cost, priced.cost) == (own, stated)


def test_a_job_above_its_budget_is_not_started_over_all_seeds_together(service: str) -> None:
    seeds = {} if service == "fireworks" else {"seeds": [0, 1]}
    with serving(service) as server:
        dear = {"price_per_million_tokens": 1e6, "hyperparameters": EPOCHS[service] or {"n_epochs": 2}}
        notes = Notes()
        once = asked(server, service, **dear)
        with pytest.raises(TrainingError, match=r"(?s)would cost about .* Nothing was started"):
            train(asked(server, service, train=seeds, max_cost=10, **dear), notes, no_scorer)
        assert server.calls == []
        assert "tokens will be trained" in notes.notes[0]
        assert train(once, Notes(), no_scorer)[0].managed is not None


def test_togethers_own_estimate_is_held_against_the_budget_too() -> None:
    with serving("together") as server:
        cheap = {"price_per_million_tokens": 0.01, "max_cost": 3.0}
        with pytest.raises(TrainingError, match=r"would cost about 4\.00 by together's own estimate"):
            made(server, "together", **cheap)
        assert server.count(CREATES["together"]) == 0


# ------------------------------------------------------------------------------------- specs


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"managed": None}, "managed: belongs to method: managed"),
        ({"managed": {"service": "compatible"}}, "url: is missing"),
        ({"managed": {"url": "https://me:hush@x/v1"}}, "holds a user name or password"),
        ({"managed": {"max_cost": 5}}, "needs price_per_million_tokens"),
        ({"managed": {"max_cost": 5, "price_per_million_tokens": 1}}, "needs the number of epochs"),
        ({"managed": {}, "objective": "grpo"}, "openai is not asked for grpo, only for sft and dpo"),
        ({"managed": {}, "objective": "kto"}, "openai is not asked for kto"),
        ({"managed": {"service": "fireworks"}, "objective": "dpo"}, "fireworks is not asked for dpo"),
        ({"managed": {"service": "fireworks"}, "seeds": [0, 1]}, "fireworks takes no seed"),
        ({"managed": {}, "rank": 8}, "rank: has no effect on a job at a service"),
        ({"managed": {}, "learning_rate": 0.1}, "put it into managed.hyperparameters"),
        ({"managed": {}, "select": {"by": "last"}}, "select: has no effect"),
        ({"managed": {"account": "me"}}, "only fireworks has one"),
        ({"managed": {"api_key_env": "sk-123"}}, "api_key_env"),
    ],
)
def test_a_spec_that_no_service_could_follow_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TrainSpec.model_validate({"method": "managed"} | given)


@pytest.mark.parametrize(("service", "typo"), [("openai", "n_epoch"), ("together", "n_epoch"), ("fireworks", "epoch")])
def test_an_argument_that_a_service_does_not_know_is_told_with_the_likely_one(service: str, typo: str) -> None:
    managed = {"service": service, "hyperparameters": {typo: 2}} | ({"account": "me"} if service == "fireworks" else {})
    spec = TrainSpec.model_validate({"method": "managed", "managed": managed})
    with pytest.raises(TrainingError, match=rf"{service} knows no such argument. Did you mean '{typo}s'"):
        trainers.require_installed(spec)


def test_a_package_that_is_missing_is_told_with_its_extra(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with serving(service) as server, pytest.raises(TrainingError, match=r"finetune-harness\[managed\]"):
        trainers.require_installed(asked(server, service).spec)


def test_the_base_models_name_is_needed_where_the_model_is_none_of_a_server(tmp_path: Path) -> None:
    with serving("openai") as server:
        whole = asked(server, "openai")
        here = models.LocalModel(MODEL.ref, tmp_path, 512)
        local = Job(**{name: getattr(whole, name) for name in whole.__slots__} | {"model": here})
        with pytest.raises(TrainingError, match=r"train.managed.model: is missing"):
            train(local, Notes(), no_scorer)


def test_only_the_engine_that_asks_servers_serves_it() -> None:
    spec = TrainSpec.model_validate({"method": "managed", "managed": {}})
    (problem,) = trainers.unservable(spec, "vllm")
    assert "the tuned model is only at its service" in str(problem)
    assert not list(trainers.unservable(spec, "openai"))
    assert trainers.beside_base(spec) == 0


def test_what_moves_a_job_is_in_its_arguments_and_nothing_else() -> None:
    spec = TrainSpec.model_validate({"method": "managed", "managed": {"hyperparameters": {"n_epochs": 2}}})
    assert spec.arguments == {"method": "managed", "managed": {"hyperparameters": {"n_epochs": 2}}}
