"""The deploy gate: every kind of candidate against every kind of reference, on tiny models."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_gate
import yaml
from answering_server import answering, reserved

from harness import deploying, evidence, pipeline
from harness import spec as specs
from harness.cli.app import main
from harness.deploying import Asked, sides
from harness.errors import HarnessError, NotComparableError, SpecError, StoreError, TrainingError, UsageError
from harness.exporting import Terms, Wanted, export
from harness.gates import PolicySpec, level_at
from harness.judgement.looking import Looking
from harness.leaderboard import BOARD_COLUMNS
from harness.leaderboard.answered import answered
from harness.progress import Silent
from harness.records import (
    GatedRecord,
    Prompt,
    ReleaseRecord,
    RunRecord,
    TrainingRecord,
    VerdictRecord,
)
from harness.report.junit import junit
from harness.spec import Experiment
from harness.store import Store
from harness.trainers import folder_of

DEPLOYING = Path(__file__).resolve().parents[1] / "docs" / "deploying.md"
COUNTED = ("The integer", "In a queue, place", "Among whole numbers,")
POLICY = {"gates": [{"suite": "kept", "min_delta": -0.3}]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The models, a suite and a policy, with weights under a home of their own."""
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(folder / "home"))
        patch.setenv("HARNESS_VLLM_PYTHON", "")
        model = small_gate.base(folder / "tiny")
        weights = small_gate.candidates(folder, model)
        suite = small_gate.suite(folder, model)
        policy = folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(POLICY))
        yield SimpleNamespace(folder=folder, model=model, suite=str(suite), policy=policy, tiny=folder / "tiny",
                              store=Store(folder / "reports"), **weights)  # fmt: skip


def gate(made: Any, candidate: object, against: object = "base", store: Store | None = None, **more: Any) -> Any:
    """The verdict over a command line."""
    store = store or made.store
    asked = {"suites": (made.suite,), "policy": made.policy, "engine": "transformers"} | more
    wanted = deploying.plan(Asked(str(candidate), str(against), **asked), store, Silent())
    return deploying.run(wanted, store, Silent())


def gated(store: Store, verdict: VerdictRecord) -> GatedRecord:
    record = store.at(verdict.experiment).read(GatedRecord)
    assert record is not None
    return record


def promoted(store: Store, verdict: VerdictRecord, alias: str = "production") -> None:
    """What `harness promote` writes."""
    move = ReleaseRecord(
        alias=alias, number=len(store.registry.history(alias)) + 1, action="promote", experiment=verdict.experiment,
        candidate=evidence.deployable(store.at(verdict.experiment)), decision=verdict.decision, verdict_digest=None,
        by="someone", created="2026-01-15T12:00:00Z",
    )  # fmt: skip
    with store.registry.turn():
        store.registry.append(move)


@pytest.fixture(scope="module")
def kept(made: Any) -> VerdictRecord:
    """The adapter that keeps everything, against its base model."""
    verdict: VerdictRecord = gate(made, made.same)
    promoted(made.store, verdict)
    return verdict


def test_an_adapter_that_keeps_everything_passes(made: Any, kept: VerdictRecord) -> None:
    assert (kept.decision, kept.exit_code) == ("promote", 0)
    assert kept.parity is not None
    assert {run.run for run in kept.runs} == {"candidate--kept--test", "reference--kept--test"}


@pytest.mark.parametrize("candidate", ["same", "merged", "production", "EXPERIMENT", "EXPERIMENT:candidate"])
@pytest.mark.parametrize("against", ["base", "TINY", "production", "EXPERIMENT", "EXPERIMENT:reference"])
def test_any_candidate_is_held_against_any_reference(
    candidate: str, against: str, made: Any, kept: VerdictRecord
) -> None:
    named = {"same": str(made.same), "merged": str(made.merged), "TINY": str(made.tiny)}
    ours, theirs = (named.get(one, one.replace("EXPERIMENT", kept.experiment)) for one in (candidate, against))
    of = {"model": str(made.tiny)} if (candidate, against) == ("merged", "base") else {}
    verdict = gate(made, ours, theirs, name=f"{candidate}.{against}".replace(":", "-"), **of)
    assert verdict.decision == "promote"
    sides = gated(made.store, verdict)
    assert (sides.candidate.given, sides.reference.given) == (ours, theirs)
    again = deploying.again(made.store.at(verdict.experiment), made.store)
    assert again.id == verdict.experiment


def test_one_that_forgets_is_rejected_and_its_samples_are_named(made: Any, kept: VerdictRecord) -> None:
    verdict = gate(made, made.forgets, "production")
    assert (verdict.decision, verdict.exit_code) == ("reject", 10)
    folder = made.store.at(verdict.experiment)
    known = evidence.gather(folder)
    [failed] = deploying.failing_samples(folder, known)
    lost = {s.id for s in folder.samples("candidate--kept--test") if s.scores["acc"] == 0}
    assert {sample.id for sample in failed.samples} == lost
    first = failed.samples[0]
    assert first.expected
    assert first.expected != first.got
    comment = deploying.markdown(folder)
    assert comment.startswith("### Deploy gate: ❌ rejected\n")
    assert f"lost: kept-a / {first.id} | {first.expected}" in comment
    assert f"lost: kept-a / {first.id}\n    expected {first.expected!r}, got {first.got!r}" in junit(folder, known)


def test_few_items_leave_it_inconclusive(made: Any) -> None:
    verdict = gate(made, made.same, policy=None)  # the default rule: no more than two points
    assert (verdict.decision, verdict.exit_code) == ("inconclusive", 11)
    assert gated(made.store, verdict).by_default == ("kept",)
    assert any("No gate of the policy is on kept" in told for told in verdict.warnings)


def test_what_the_store_holds_is_not_asked_again(made: Any, kept: VerdictRecord) -> None:
    verdict = gate(made, "production", f"{kept.experiment}:reference", name="stored")
    sides = gated(made.store, verdict)
    runs = {f"{name}--kept--test" for name in ("candidate", "reference")}
    assert {run: of.partition(":")[2] for run, of in sides.reused.items()} == {run: run for run in runs}
    assert not (made.store.at(verdict.experiment).path / "logs").exists()


def test_runs_under_other_conditions_are_not_taken_over(made: Any, kept: VerdictRecord, tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    shutil.copytree(made.store.at(kept.experiment).path, store.at(kept.experiment).path)
    file = store.at(kept.experiment).path / "runs" / "reference--kept--test" / "run.json"
    told = json.loads(file.read_text())
    told["conditions"]["engine_version"] = "0.0.1"
    file.write_text(json.dumps(told))
    verdict = gate(made, made.forgets, store=store)
    assert gated(store, verdict).reused == {}
    assert verdict.decision == "reject"


def test_the_same_command_again_ends_from_the_records(made: Any, kept: VerdictRecord) -> None:
    shutil.move(made.tiny / "model.safetensors", made.folder / "aside")
    try:
        again = deploying.again(made.store.at(kept.experiment), made.store)
        assert deploying.run(again, made.store, Silent()) == kept
    finally:
        shutil.move(made.folder / "aside", made.tiny / "model.safetensors")


def test_a_gate_that_was_killed_after_its_verdict_writes_its_report_then(made: Any, kept: VerdictRecord) -> None:
    folder = made.store.at(kept.experiment)
    whole = (folder.path / "junit.xml").read_text()
    (folder.path / "junit.xml").unlink()
    assert deploying.run(deploying.again(folder, made.store), made.store, Silent()) == kept
    assert (folder.path / "junit.xml").read_text() == whole


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
def test_a_file_that_cannot_be_written_is_told_before_a_look_is_spent(
    option: str, made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["gate", str(made.same), "--against", "base", "--suites", made.suite, "--reports", str(tmp_path / "r")]
    for file in (tmp_path, made.policy / "x"):
        with pytest.raises(SystemExit) as ended:
            main([*command, option, str(file)])
        assert ended.value.code == 2
        assert f"{option} {file}: cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_candidates_for_one_place_share_a_ledger_that_never_runs_out(made: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    first, second = gate(made, made.same, store=store), gate(made, made.forgets, store=store)
    looks = [verdict.finalists[0].look for verdict in (first, second)]
    assert [look.number for look in looks] == [1, 2]
    assert looks[0].level == pytest.approx(0.05 / 2)
    assert looks[1].level == pytest.approx(0.05 / 6)
    against_another = gate(made, made.forgets, made.merged, store=store)
    assert against_another.finalists[0].look.number == 1
    assert gate(made, made.same, store=store, name="renamed").finalists[0].look.number == 1


def test_all_candidates_together_spend_no_more_than_alpha() -> None:
    policy, spent = PolicySpec(spending="open_ended"), 0.0
    levels = []
    for number in range(1, 1001):
        levels.append(level_at(policy, spent, number))
        spent += levels[-1]
    assert min(levels) > 0
    assert spent < policy.alpha
    table = re.findall(r"^\| (\d+) \| ([\d.]+) % \|", DEPLOYING.read_text(), flags=re.M)
    assert len(table) == 6
    for number, percent in table:
        assert float(percent) == pytest.approx(100 * levels[int(number) - 1], rel=0.02)


def test_on_plain_texts_another_prompt_is_no_other_reference(made: Any, kept: VerdictRecord, tmp_path: Path) -> None:
    asked = Asked(str(made.same), "base", (made.suite,), made.policy, engine="transformers")
    wanted, folder = deploying.plan(asked, made.store, Silent()), made.store.at(kept.experiment)
    looking = Looking(wanted.case, folder, Store(tmp_path).looks, Silent())
    ours, theirs = wanted.candidate.candidate, wanted.reference.candidate
    first = looking.enter_against(ours, theirs)
    prompted = theirs.model_copy(update={"prompt": Prompt(name="other", instruction="Count.")})
    assert looking.enter_against(ours, prompted).look == first.look


def test_a_server_has_one_ledger_however_its_url_is_spelled(
    made: Any, server: str, written: str, tmp_path: Path
) -> None:
    store = Store(tmp_path / "reports")
    asked = {"suites": (written,), "policy": None, "against_model": "small", "as_deployed": True}
    for number, (candidate, spelled) in enumerate([(made.tiny, server), (made.forgets, f"{server}/")], start=1):
        verdict = gate(made, candidate, spelled, **asked, store=store)
        assert verdict.finalists[0].look.number == number
    assert sides.spelled_alike("https://HOST:443/v1/") == sides.spelled_alike("https://host/v1")
    assert sides.spelled_alike("https://host:8000/v1") != sides.spelled_alike("https://host/v1")


@pytest.mark.parametrize("part", ["serve: 3", "budget: [1]", "suites: 3", "judge: 3", "suites: [{a: 1}]"])
def test_a_stored_spec_that_is_none_any_more_is_told(part: str, made: Any, kept: VerdictRecord, tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    shutil.copytree(made.store.at(kept.experiment).path, store.at(kept.experiment).path)
    (store.at(kept.experiment).path / "spec.yaml").write_text(f"name: x\n{part}\n")
    suites = () if part.startswith("suites") else (made.suite,)
    with pytest.raises(StoreError, match=rf"spec.yaml: {part.partition(':')[0]}.*Restore"):
        gate(made, made.merged, kept.experiment, store=store, suites=suites, policy=None, engine=None)


def test_a_disk_without_room_is_told_as_that(made: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(made.forgets, tmp_path / "never taken")
    (folder / "prompt.json").write_text('{"name": "own", "instruction": "Another."}')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        with pytest.raises(StoreError, match="Free some disk") as fault:
            gate(made, folder, store=Store(tmp_path / "reports"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--model" not in str(fault.value)
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(("changes", "told"), [
    ({"candidate": "nothing-here"}, "names nothing that is here"),
    ({"against": "production-x"}, "names nothing that is here"),
    ({"against": "staging"}, "nothing was promoted to it yet"),
    ({"candidate": "http://127.0.0.1:1/v1"}, "which model of this server"),
    ({"suites": ("no-such-suite",)}, "unknown suite"),
    ({"suites": ("task",)}, "no test split"),
    ({"suites": (), "policy": None}, "no suite is named"),
    ({"policy": {"gates": [{"suite": "other", "min_delta": -0.1}]}}, "is not asked"),
    ({"policy": {"gates": [{"suite": "kept", "min_delta": -0.1, "against": "best_prompt"}]}}, "not asked in a deploy"),
    ({"policy": {"claim": "recipe", "gates": [{"suite": "kept", "min_delta": -0.1}]}}, "these very weights"),
    ({"policy": {"gates": [{"must_not_break": "rows.jsonl"}]}}, "belongs to an experiment"),
    ({"name": "a--b"}, "--name"),
    ({"candidate": "MERGED"}, "is its own base model"),
    ({"candidate": ""}, "candidate: got an empty name"),
    ({"against": " "}, "--against: got an empty name"),
    ({"candidate": "http://someone:secret@127.0.0.1/v1", "model": "m"}, "^candidate: url: holds a user name"),
])  # fmt: skip
def test_what_cannot_be_gated_is_one_clear_error_and_leaves_nothing(
    changes: dict[str, Any], told: str, made: Any, tmp_path: Path
) -> None:
    given = {"candidate": made.same, "against": "base"} | changes
    given["candidate"] = made.merged if given["candidate"] == "MERGED" else given["candidate"]
    if isinstance(given.get("policy"), dict):
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(given["policy"]))
        given["policy"] = tmp_path / "policy.yaml"
    with pytest.raises(UsageError, match=told) as fault:
        gate(made, given.pop("candidate"), given.pop("against"), store=Store(tmp_path / "reports"), **given)
    assert fault.value.exit_code == 2
    assert not (tmp_path / "reports").exists()


def test_an_adapter_of_another_base_model_is_refused_with_both_told(made: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = AutoModelForCausalLM.from_pretrained(made.tiny).config.to_dict() | {"hidden_size": 64}
    LlamaForCausalLM(LlamaConfig(**config)).save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(made.tiny).save_pretrained(tmp_path / "wide")
    with pytest.raises(TrainingError) as fault:
        gate(made, made.same, store=Store(tmp_path / "reports"), model=str(tmp_path / "wide"))
    told = str(fault.value)
    assert "and the experiment's model is another one" in told
    assert str(tmp_path / "wide") in told
    assert not (tmp_path / "reports").exists()


def test_a_pointer_to_what_is_gone_is_an_error(made: Any, kept: VerdictRecord, tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    shutil.copytree(made.store.at(kept.experiment).path, store.at(kept.experiment).path)
    promoted(store, kept)
    weights = made.folder / "home" / "adapters"
    shutil.move(weights, made.folder / "away")
    try:
        with pytest.raises(StoreError, match=r"alias production: .*weights are gone"):
            gate(made, made.merged, "production", store=store)
    finally:
        shutil.move(made.folder / "away", weights)
    shutil.rmtree(store.at(kept.experiment).path)
    with pytest.raises(HarnessError, match=f"points to {kept.experiment}, which is no longer in the store"):
        gate(made, made.merged, "production", store=store)


# ------------------------------------------------------------------------- a server


@pytest.fixture(scope="module")
def server(made: Any) -> Iterator[str]:
    """One that answers every question with its last word."""
    with reserved() as port, answering(port, made.folder / "log"):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="module")
def written(made: Any) -> str:
    """A suite of written answers: the question's last word."""
    at = made.folder / "said"
    at.mkdir()
    (at / "suite.yaml").write_text("group: said\ntask: [said-a]\nmetadata: {role: regression, version: 1}\n")
    chosen = "output_type: multiple_choice\ndoc_to_text: question\ndoc_to_target: answer\ndoc_to_choice: choices"
    text = "output_type: generate_until\ndoc_to_text: question\ndoc_to_target: answer\n"
    text += "generation_kwargs: {until: [], max_gen_toks: 8, do_sample: false}"
    task = small_gate.TASK.format(name="said-a").replace(chosen, text).replace("metric: acc", "metric: exact_match")
    (at / "said-a.yaml").write_text(task + "metadata: {chat: true}\n")
    rows = [{"id": f"s{n}", "question": f"Say word{n}", "answer": f"word{n}"} for n in range(40)]
    (at / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(at)


def test_a_model_at_a_url_is_compared_with_one_served_here_only_as_deployed(
    made: Any, server: str, written: str
) -> None:
    asked = {"suites": (written,), "policy": None, "model": "small"}
    with pytest.raises(NotComparableError, match="--as-deployed") as fault:
        gate(made, server, str(made.tiny), **asked)
    assert fault.value.exit_code == 13
    verdict = gate(made, server, str(made.tiny), **asked, as_deployed=True)
    assert verdict.decision == "promote"
    assert any("Compared as deployed: the two sides differ in engine" in told for told in verdict.warnings)
    rejected = gate(made, made.same, server, **asked | {"model": None, "against_model": "small"}, as_deployed=True)
    assert rejected.decision == "reject"


def test_a_server_that_does_not_answer_is_an_error_and_leaves_nothing(made: Any, written: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"127\.0\.0\.1:1"):
        gate(made, "http://127.0.0.1:1/v1", str(made.tiny), store=Store(tmp_path / "reports"), suites=(written,),
             policy=None, model="small", as_deployed=True)  # fmt: skip
    assert not (tmp_path / "reports").exists()


# ------------------------------------------------------------------------- views


def test_every_view_shows_a_gate_as_it_shows_experiments(made: Any, kept: VerdictRecord) -> None:
    folder = made.store.at(kept.experiment)
    known = evidence.gather(folder)
    assert known.missing == ()
    assert [one.name for one in evidence.contestants(known)] == ["reference", "candidate"]
    row = answered(known)
    assert set(row) == set(BOARD_COLUMNS)
    assert row["decision"] == "promote"
    assert row["judged"] == "candidate"
    assert "in place of base" in row["headline"]
    assert {"report.md", "report.html", "junit.xml"} <= {path.name for path in folder.path.iterdir()}
    report = (folder.path / "report.md").read_text()
    assert "best prompt" not in report
    assert f"harness gate --again {kept.experiment}" in report


def test_an_unfinished_gate_says_how_to_go_on(made: Any, kept: VerdictRecord) -> None:
    store = Store(made.folder / "copied")
    shutil.copytree(made.store.at(kept.experiment).path, store.at(kept.experiment).path)
    (store.at(kept.experiment).path / "verdict.json").unlink()
    known = evidence.gather(store.at(kept.experiment))
    assert known.missing == ("verdict",)
    assert evidence.again(known) == f"harness gate --again {kept.experiment}"
    verdict = deploying.run(deploying.again(store.at(kept.experiment), store), store, Silent())
    assert verdict.decision == kept.decision


def test_the_candidate_is_served_under_the_prompt_that_lies_with_its_weights(made: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(made.same, tmp_path / "prompted")
    (folder / "prompt.json").write_text('{"name": "own", "instruction": "Count."}')
    store = Store(tmp_path / "reports")
    verdict = gate(made, folder, store=store)
    run = store.at(verdict.experiment).read(TrainingRecord)
    assert run is not None
    assert run.prompt.instruction == "Count."
    answers = store.at(verdict.experiment).run("candidate--kept--test")
    assert isinstance(answers, RunRecord)
    assert answers.candidate.prompt.instruction == "Count."


def test_a_policy_may_say_spending_itself(made: Any, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY | {"spending": "even", "looks": 1}))
    store = Store(tmp_path / "reports")
    assert gate(made, made.same, store=store, policy=policy).finalists[0].look.level == pytest.approx(0.05)
    spent = gate(made, made.merged, store=store, policy=policy, model=str(made.tiny))
    assert spent.decision == "inconclusive"
    assert spent.finalists[0].look.level == 0


def test_an_experiment_is_no_gate_to_run_again(made: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "reports")
    store.create("x--00000000", "name: x\n")
    with pytest.raises(UsageError, match="is no deploy gate"):
        deploying.again(store.at("x--00000000"), store)


def test_a_policy_with_an_unknown_key_is_told(made: Any, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("alhpa: 0.1\n")
    with pytest.raises(SpecError, match="alpha"):
        gate(made, made.same, policy=policy)


@pytest.mark.slow
def test_a_gate_that_is_killed_goes_on_where_it_was(made: Any, server: str, written: str, tmp_path: Path) -> None:
    suite, rows, log = tmp_path / "said", 600, made.folder / "log"
    shutil.copytree(written, suite)
    told = [{"id": f"k{n}", "question": f"Repeat term{n}", "answer": f"term{n}"} for n in range(rows)]
    (suite / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    command = [sys.executable, "-m", "harness", "gate", server, "--model", "small", "--against", server]
    command += ["--against-model", "small", "--suites", str(suite), "--reports", str(tmp_path / "reports"), "--json"]

    def asked() -> list[str]:
        return [line for line in log.read_text().splitlines() if line.startswith("Repeat")]

    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(asked()) < rows // 3:
        assert first.poll() is None
        time.sleep(0.05)
    first.kill()
    first.wait()
    before = len(asked())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    verdict = json.loads(done.stdout)
    assert done.returncode == verdict["exit_code"] == 0, done.stderr
    assert before < rows
    assert len(asked()) <= rows + 2 * 16  # those in flight when it died are asked again; the reference is the same


# ------------------------------------------------------------------------- the task's own test split


@pytest.fixture(scope="module")
def tried(made: Any) -> Experiment:
    """A real experiment on the tiny model: an adapter that was trained elsewhere, a dozen test rows."""
    folder = made.folder / "experiment"
    folder.mkdir()
    names = {"train": 12, "dev": 6, "test": 12}
    for at, (name, count) in enumerate(names.items()):
        rows = [
            {"prompt": f"{COUNTED[at]} {n} is followed by which number?", "completion": f"{n + 1}"}
            for n in range(100 * at, 100 * at + count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = {
        "name": "counting",
        "model": str(made.tiny),
        "data": {name: f"{name}.jsonl" for name in names},
        "task": {"metric": "exact_match", "max_tokens": 8},
        "prompt": {"search": "none", "contestants": [], "with_tuned": False},
        "train": {"method": "existing", "adapter": str(made.same), "rank": 4},
        "serve": {"engine": "transformers"},
        "suites": [made.suite],
        "forgetting": False,
        "gates": [{"suite": "task", "against": "base", "min_delta": -0.5}],
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(spec))
    experiment = specs.load(folder / "experiment.yaml")
    pipeline.run(experiment, made.store, Silent())
    return experiment


def test_the_tasks_test_split_is_asked_and_its_looks_are_those_of_experiments(made: Any, tried: Experiment) -> None:
    verdict = gate(made, tried.id, f"{tried.id}:base", suites=(), policy=None, engine=None)
    assert {run.run for run in verdict.runs} == {
        f"{side}--{suite}--test" for side in ("candidate", "reference") for suite in ("task", "kept")
    }
    looks = made.store.looks.at(tried.data.test.questions)
    assert [(look.number, look.experiment) for look in looks] == [(1, tried.id), (2, verdict.experiment)]
    assert len(gated(made.store, verdict).reused) == 4
    assert verdict.parity is not None
    assert verdict.decision == "inconclusive"  # nobody is right on a single row, so nothing was shown


def test_an_adapter_is_asked_the_task_as_its_reference_is(made: Any, tried: Experiment) -> None:
    verdict = gate(made, made.forgets, tried.id, suites=("task",), policy=None, engine=None)
    folder = made.store.at(verdict.experiment)
    ours, theirs = (folder.run(f"{side}--task--test").candidate for side in ("candidate", "reference"))
    assert ours.prompt == theirs.prompt
    assert ours.decoding == theirs.decoding


def test_test_rows_that_were_changed_since_are_not_asked(made: Any, tried: Experiment) -> None:
    file = made.folder / "experiment" / "test.jsonl"
    before = file.read_text()
    file.write_text(before.replace("followed by", "succeeded by"))
    try:
        with pytest.raises(NotComparableError, match="was changed since"):
            gate(made, made.forgets, tried.id, suites=("task",), policy=None, name="changed")
    finally:
        file.write_text(before)


def test_an_adapter_that_was_trained_here_over_other_weights_is_known_by_its_content(
    made: Any, tried: Experiment, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    shutil.copytree(made.tiny, tmp_path / "twin")
    twin = AutoModelForCausalLM.from_pretrained(tmp_path / "twin")
    twin.model.norm.weight.data += 0.01  # of the very same shapes
    twin.save_pretrained(tmp_path / "twin")
    adapter = evidence.deployable(made.store.at(tried.id)).adapter
    assert adapter is not None
    with pytest.raises(TrainingError, match=f"was trained in {tried.id} over .*, and its base model here is") as fault:
        gate(made, folder_of(adapter), suites=("task",), against=tried.id, policy=None, model=str(tmp_path / "twin"))
    assert str(tmp_path / "twin") in str(fault.value)


def test_weights_that_do_not_fit_are_refused_with_both_base_models_told(made: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = json.loads((made.tiny / "config.json").read_text()) | {"hidden_size": 64}
    LlamaForCausalLM(LlamaConfig(**config)).save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(made.tiny).save_pretrained(tmp_path / "wide")
    shutil.copytree(made.same, tmp_path / "theirs")
    told = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    (tmp_path / "theirs" / "adapter_config.json").write_text(
        json.dumps(told | {"base_model_name_or_path": "someone/small"})
    )
    with pytest.raises(TrainingError, match="does not fit the base model") as fault:
        gate(made, tmp_path / "theirs", model=str(tmp_path / "wide"))
    assert "names 'someone/small'" in str(fault.value)
    assert str(tmp_path / "wide") in str(fault.value)


def test_what_is_all_in_the_store_is_gated_without_the_base_model(made: Any, tried: Experiment) -> None:
    shutil.move(made.tiny / "model.safetensors", made.folder / "aside")
    try:
        verdict = gate(made, tried.id, f"{tried.id}:base", suites=(made.suite,), name="without", engine=None)
    finally:
        shutil.move(made.folder / "aside", made.tiny / "model.safetensors")
    assert verdict.decision == "promote"


def test_one_held_against_itself_is_told(made: Any, kept: VerdictRecord) -> None:
    verdict = gate(made, "production", "production", name="itself")
    assert any("one and the same" in told for told in verdict.warnings)


@pytest.mark.parametrize("of", ["suites", "task"])
def test_what_passed_a_gate_is_exported_and_judged_again_by_what_the_gate_asked(
    of: str, made: Any, kept: VerdictRecord, tried: Experiment, tmp_path: Path
) -> None:
    passed = (
        kept if of == "suites" else gate(made, tried.id, f"{tried.id}:base", suites=("task",), policy=None, engine=None)
    )
    wanted = Wanted(passed.experiment, "merged", tmp_path / "out", terms=Terms(samples=10))
    again = export(made.store, wanted, Silent()).record.rejudged
    assert again is not None
    assert again.n == 10
    assert not again.changed
