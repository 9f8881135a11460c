"""Fine-tuning jobs at services: what goes wrong, keys, costs, and specs that no service could follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from managed_jobs import CREATES, EPOCHS, LOOKS, MODEL, asked, line_to, made, serving
from managed_server import ManagedServer
from managed_words import KEY, TOKENS
from small_training import Notes

from harness import models, trainers
from harness.errors import TrainingError
from harness.trainers import Job, TrainSpec, no_scorer, train
from harness.trainers.managed import cancel, unfinished
from harness.trainers.managed.services import KEYS, SERVICES, exposed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in KEYS.values():
        monkeypatch.setenv(name, KEY)
    return tmp_path / "home"


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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
    assert line_to(ManagedServer(), "openai").hidden(f"who is {KEY}?") == "who is ***?"


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
