"""The files for CI: the script that action, job and hook call is run on a tiny store; the YAML says what it means."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from small_training import CHATML, tiny

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "docs" / "ci"
KNOWN = set(re.findall(r"^#   (HARNESS_\w+)", (CI / "gate.sh").read_text(), flags=re.M)) | {
    "HARNESS_REPORTS", "HARNESS_HOME", "HARNESS_VLLM_PYTHON",
}  # fmt: skip
"""Variables that the script says it reads."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that are one, a suite of a few facts, a policy that it passes and one that it cannot."""
    made = tmp_path_factory.mktemp("ci")
    tiny(made / "model", CHATML)
    shutil.copytree(made / "model", made / "deployed")
    (made / "facts").mkdir()
    for kind in ("yaml", "jsonl"):
        shutil.copy(ROOT / "suites" / "regression-mini" / f"facts.{kind}", made / "facts")
    task = made / "facts" / "facts.yaml"
    task.write_text(task.read_text().replace("suites/regression-mini/", ""))
    (made / "facts" / "suite.yaml").write_text(
        "group: facts\ntask: [mini-facts]\nmetadata: {role: regression, version: 1}\n"
    )
    for name, margin in (("lenient", -0.3), ("strict", 0.3)):
        gate = f"{{suite: facts, against: reference, min_delta: {margin}}}"
        (made / f"{name}.yaml").write_text(f"gates:\n  - {gate}\n")
    return made


def run(place: Path, script: str = "gate.sh", **settings: str) -> subprocess.CompletedProcess[str]:
    """The very file, with what CI would set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "GITHUB_"))}
    told = {"HARNESS": str(Path(sys.executable).parent / "harness"), "HARNESS_HOME": str(place / "home")}
    given = {"HARNESS_CANDIDATE": "./model", "HARNESS_AGAINST": "./deployed", "HARNESS_SUITES": "./facts"}
    command = ["bash", str(CI / script), "--engine", "transformers"]
    return subprocess.run(command, cwd=place, env=own | told | given | settings, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip


@pytest.mark.parametrize(("policy", "code", "decision"), [("lenient", 0, "pass"), ("strict", 10, "reject")])
def test_the_script_ends_as_the_gate_does_and_leaves_its_files(
    place: Path, tmp_path: Path, policy: str, code: int, decision: str
) -> None:
    told = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    done = run(place, HARNESS_POLICY=f"{policy}.yaml", HARNESS_OUT=str(tmp_path / "out"), **told)
    assert done.returncode == code, done.stderr
    verdict = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert verdict["exit_code"] == code
    suite = ElementTree.parse(tmp_path / "out" / "gate.xml").getroot()  # noqa: S314  of our own
    assert bool(list(suite.iter("failure"))) == (code == 10)
    comment = (tmp_path / "out" / "gate.md").read_text()
    assert comment.startswith("### Deploy gate")
    assert comment in done.stdout
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == comment
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == f"decision={decision}\nexit-code={code}\n"


def test_an_undecided_gate_fails_the_job_unless_told_otherwise(place: Path) -> None:
    assert run(place, HARNESS_OUT="undecided").returncode == 11
    assert run(place, HARNESS_OUT="undecided", HARNESS_INCONCLUSIVE="pass").returncode == 0
    assert run(place, HARNESS_OUT="undecided", HARNESS_INCONCLUSIVE="maybe").returncode == 2


def test_where_there_is_no_verdict_the_comment_says_so(place: Path) -> None:
    done = run(place, HARNESS_AGAINST="production", HARNESS_OUT="none")
    assert done.returncode == 2
    assert "nothing was promoted to it yet" in done.stderr
    assert "no verdict" in (place / "none" / "gate.md").read_text()
    assert not (place / "none" / "gate.xml").exists()
    assert run(place, HARNESS_CANDIDATE="").returncode == 2


def test_nothing_that_is_said_is_a_command_to_githubs_runner(place: Path) -> None:
    lines = run(place, HARNESS_OUT="github", HARNESS_AGAINST="production", GITHUB_ACTIONS="true").stdout.splitlines()
    quiet = lines[0].removeprefix("::stop-commands::")
    assert re.fullmatch(r"[0-9a-f]{32}", quiet)
    assert lines[-1] == f"::{quiet}::"
    assert len(lines) > 2
    assert "stop-commands" not in run(place, HARNESS_OUT="elsewhere", HARNESS_AGAINST="production").stdout


def test_the_hook_gates_the_adapters_that_a_push_changes(place: Path, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        named = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *words]
        return subprocess.run(named, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q", "-b", "main")
    shutil.copytree(place / "facts", tmp_path / "facts")
    shutil.copytree(place / "model", tmp_path / "deployed")
    shutil.copy(place / "strict.yaml", tmp_path)
    git("add", ".")
    git("commit", "-qm", "one")
    before = git("rev-parse", "HEAD")
    shutil.copytree(place / "model", tmp_path / "adapters" / "new one")
    git("add", ".")
    git("commit", "-qm", "two")
    after = git("rev-parse", "HEAD")
    wrapper = tmp_path / "gate"
    wrapper.write_text(f'exec bash "{CI / "gate.sh"}" --engine transformers\n')
    settings = {
        "HARNESS": str(Path(sys.executable).parent / "harness"), "HARNESS_HOME": str(place / "home"),
        "HARNESS_AGAINST": "./deployed", "HARNESS_SUITES": "./facts", "HARNESS_POLICY": "strict.yaml",
        "HARNESS_GATE_SH": str(wrapper), "HARNESS_OUT": "out",
    }  # fmt: skip

    def push(line: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(CI / "pre-push"), "origin", "url"]
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, **settings}, input=line, capture_output=True,
                              text=True, timeout=300, check=False)  # fmt: skip

    done = push(f"refs/heads/main {after} refs/heads/main {before}\n")
    assert "gating adapters/new one" in done.stdout
    assert done.returncode == 10, done.stderr
    assert (tmp_path / "out" / "new one" / "gate.xml").exists()
    for line in (f"refs/heads/main {before} refs/heads/main {before}\n", f"(delete) {'0' * 40} refs/x {before}\n"):
        assert (push(line).returncode, "gating" in push(line).stdout) == (0, False)


# ------------------------------------------------------------------------ the YAML


def read(name: str) -> Any:
    return yaml.safe_load((CI / name).read_text())


def test_the_action_hands_every_input_on_and_runs_none_of_them() -> None:
    action = read("action.yml")
    steps = action["runs"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    assert all("${{" not in script for script in scripts)
    text = (CI / "action.yml").read_text()
    assert {name for name in action["inputs"] if f"inputs.{name} " not in text} == set()
    gate = next(step for step in steps if step.get("id") == "gate")
    assert {name for name in gate["env"] if name.startswith("HARNESS_")} <= KNOWN
    assert "gate.sh" in gate["run"]
    assert set(action["outputs"]) == {"decision", "exit-code"}
    later = steps[steps.index(gate) + 1 :]
    assert all("always()" in step["if"] for step in later)


def test_the_workflow_gives_only_what_the_action_takes() -> None:
    steps = read("github.yml")["jobs"]["gate"]["steps"]
    used = next(step for step in steps if "finetune-harness" in step.get("uses", ""))
    assert used["uses"].split("@")[0].endswith("/finetune-harness/docs/ci")
    assert set(used["with"]) <= set(read("action.yml")["inputs"])


def test_the_gitlab_job_shows_the_files_that_the_script_writes() -> None:
    job = read("gitlab.yml")["gate"]
    assert set(job["variables"]) <= KNOWN
    assert job["artifacts"]["reports"]["junit"] == "gate/gate.xml"
    assert job["allow_failure"]["exit_codes"] == [11]
    assert any("gate.sh" in line for line in job["script"])


def test_the_scripts_can_be_run() -> None:
    assert all(os.access(CI / name, os.X_OK) for name in ("gate.sh", "pre-push"))


def test_the_documentation_lists_the_inputs_with_their_defaults() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text()
    table = page.split("| input of the action |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(.*?)`|none|) ?\|", table, flags=re.M))
    assert rows == {name: given.get("default", "") for name, given in read("action.yml")["inputs"].items()}
