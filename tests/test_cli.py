"""The command line as a user meets it: exit codes, one clear error, JSON alone on stdout, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sample_store import build

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = "suites/tickets/experiment.yaml"


def harness(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def test_check_says_what_each_gate_can_decide_and_touches_no_model(tmp_path: Path) -> None:
    done = harness("check", EXPERIMENT, "--json", HARNESS_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [gate["suite"] for gate in told["gates"]] == ["task", "regression-mini"]
    assert 0 <= told["gates"][1]["pass_if_equal"] <= 1
    assert not (tmp_path / "home").exists()


def test_check_imports_no_gpu_stack() -> None:
    code = (
        "import sys; from harness.cli import main\n"
        f"try: main(['check', {EXPERIMENT!r}, '--json'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'trl', 'lm_eval', 'streamlit'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(("command", "heavy"), [("--help", {"pandas", "scipy"}), ("ls", {"pandas", "scipy.stats"})])
def test_what_computes_nothing_waits_for_no_library_of_numbers(tmp_path: Path, command: str, heavy: set[str]) -> None:
    code = (
        "import sys; from harness.cli import main\n"
        f"try: main([{command!r}])\n"
        "except SystemExit: pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    environment = {**os.environ, "HARNESS_REPORTS": str(build(tmp_path).root if command == "ls" else tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"  # above it, `ls` tells which folders it left out


def test_a_bad_spec_ends_with_2_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\nmodle: y\n")
    done = harness("run", tmp_path / "bad.yaml", "--reports", tmp_path / "reports")
    assert done.returncode == 2
    assert "unknown key 'modle'. Did you mean 'model'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "reports").exists()


def test_an_error_under_json_is_one_json_document(tmp_path: Path) -> None:
    done = harness("run", tmp_path / "none.yaml", "--json")
    assert done.returncode == 2
    assert "no such file" in json.loads(done.stdout)["error"]["problems"][0]


@pytest.mark.parametrize("arguments", [("nonsense",), ("run",), ("show", "--nonsense")])
def test_a_wrong_command_ends_with_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    done = harness(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_init_writes_an_experiment_that_checks_and_overwrites_nothing(tmp_path: Path) -> None:
    assert harness("init", tmp_path / "mine").returncode == 0
    done = harness("check", tmp_path / "mine" / "experiment.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experiment"].startswith("mine--")
    again = harness("init", tmp_path / "mine")
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_doctor_tells_which_engine_auto_takes_and_why() -> None:
    told = json.loads(harness("doctor", "--json", HARNESS_VLLM_PYTHON="").stdout)
    assert told["auto_engine"] == "transformers"
    assert told["engines"]["vllm"] == {"can_run": False, "reason": told["engines"]["vllm"]["reason"]}
    assert "not installed" in told["engines"]["vllm"]["reason"]


def test_ls_show_compare_and_report_read_the_store(tmp_path: Path) -> None:
    store = build(tmp_path / "reports")
    reports = ("--reports", str(store.root))
    listed = json.loads(harness("ls", "--json", *reports).stdout)
    assert {row["decision"] for row in listed["experiments"]} >= {
        "promote",
        "reject",
        "inconclusive",
        "prompt_suffices",
    }
    assert listed["damaged"]
    wanted = next(row["experiment"] for row in listed["experiments"] if row["decision"] == "promote")
    shown = json.loads(harness("show", wanted, "--json", *reports).stdout)
    assert shown["verdict"]["decision"] == "promote"
    runs = [f"{wanted}:{shown['verdict']['candidate']}", f"{wanted}:best_prompt"]
    compared = json.loads(harness("compare", *runs, "--json", *reports).stdout)
    gate = next(g for g in shown["verdict"]["gates"] if g["suite"] == "task")
    for key in ("value", "n"):
        assert compared["comparison"]["difference"][key] == gate["comparison"]["difference"][key]
    assert len(compared["flips"]) == compared["comparison"]["won"] + compared["comparison"]["lost"]
    cut = json.loads(harness("compare", *runs, "--slice", "language=de", "--json", *reports).stdout)
    assert cut["comparison"]["slice"] == "language=de"
    assert 0 < cut["comparison"]["difference"]["n"] < gate["comparison"]["difference"]["n"]
    assert len(cut["flips"]) == cut["comparison"]["won"] + cut["comparison"]["lost"]
    unknown = harness("compare", *runs, "--slice", "language=xx", *reports)
    assert unknown.returncode == 2
    assert "Known: " in unknown.stderr
    assert harness("report", wanted, *reports).returncode == 0
    for command in (("ls",), ("show", wanted), ("compare", *runs)):
        assert harness(*command, *reports).returncode == 0


def test_comparing_unlike_runs_ends_with_13(tmp_path: Path) -> None:
    store = build(tmp_path / "reports")
    ids = {e.name: e for e in store.experiments() if e.run("base--task--test")}
    first, *others = ids.values()
    run = first.run("base--task--test")
    other = next(e for e in others if e.run("base--task--test").fingerprint != run.fingerprint)  # type: ignore[union-attr]
    done = harness("compare", f"{first.id}:base", f"{other.id}:base", "--reports", store.root)
    assert done.returncode == 13
    assert "fingerprint" in done.stderr


def test_wrong_usage_under_json_is_one_json_document_too() -> None:
    done = harness("run", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["exit_code"] == 2


@pytest.mark.parametrize("name", ["2024", "true", "[x]", "ünï", "_x", "a" * 80, "with space"])
def test_init_takes_any_folder_name(tmp_path: Path, name: str) -> None:
    assert harness("init", tmp_path / name).returncode == 0
    done = harness("check", tmp_path / name / "experiment.yaml", "--json")
    assert done.returncode == 0, done.stderr


def test_a_store_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = harness("run", EXPERIMENT, "--reports", tmp_path / "file", "--json", HARNESS_VLLM_PYTHON="")
    assert done.returncode == 1
    assert "cannot write" in json.loads(done.stdout)["error"]["problems"][0]
    assert "Traceback" not in done.stderr


def test_escape_sequences_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text('name: x\n"\\e[2Jkey": y\n')
    done = harness("check", tmp_path / "bad.yaml")
    assert done.returncode == 2
    assert "\x1b[2J" not in done.stderr


def test_show_tells_claim_look_and_every_gate_in_words(tmp_path: Path) -> None:
    store = build(tmp_path / "reports")
    shown = harness("show", "claims", "--reports", store.root)
    assert shown.returncode == 0, shown.stderr
    told = " ".join(shown.stdout.split())
    for words in (
        "REJECT this adapter (tuned-seed0) beats the best prompt on the task: +14.2 points [+4.2, +24.1]",
        "look 1 of 5 at this test split",
        "gain of at least 5 points over best_prompt",
        "task [worst of language] vs best_prompt",
        "✘ fail language=de -36.7 points",
        "Message 6: please help me with my card card <script>window.pwned=1</script>",
        "tuned-seed1 inconclusive 2 of 5 1.25 %",
        "family: Holm over 5 gates at 2.5 %",
    ):
        assert words in told


def test_records_of_version_1_are_shown() -> None:
    shown = harness("show", "version-one", "--reports", ROOT / "tests" / "stored")
    assert shown.returncode == 0, shown.stderr
    assert "beats the best prompt on the task: +41.7 points [+12.5, +70.8] (95 % interval, n = 12" in shown.stdout


def unclaimed_port() -> int:
    """A free port below those that a system hands out, so that nobody else is given it before the server starts."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def test_what_ends_harness_ui_ends_its_server(tmp_path: Path) -> None:
    pytest.importorskip("streamlit", reason="needs the extra [ui]")
    port = unclaimed_port()
    command = [sys.executable, "-m", "harness", "ui", "--reports", str(tmp_path), "--port", str(port)]
    env = {**os.environ, "HARNESS_HOME": str(tmp_path / "home"), "STREAMLIT_SERVER_HEADLESS": "true"}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any(f":{port}" in line for line in server.stdout)
            server.terminate()
            server.communicate(timeout=120)
        finally:
            server.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
