"""The documentation says what the code does: commands, layers, links, and a spec that loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml
from typer.main import get_command

from harness.cli.app import app
from harness.gates import GateSpec, PolicySpec, level_at
from harness.prompts import PromptSpec
from harness.records import Rule
from harness.spec import ExperimentSpec

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("suites/**/README.md")]


def test_every_command_is_in_the_readme_and_every_command_there_exists() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"`harness (\w+)", README)) == commands


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), flags=re.M)}
    assert named <= targets
    assert {"demo", "test"} <= named


def test_the_layers_in_the_architecture_page_are_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = re.search(r"<!-- layers -->\n(.*?)\n<!-- /layers -->", page, flags=re.S)
    assert drawn
    assert [line.strip() for line in drawn[1].split("\n")] == [layer.replace("harness.", "") for layer in contract]


def test_the_spec_in_the_readme_is_valid() -> None:
    block = re.search(r"```yaml\n(.*?)```", README, flags=re.S)
    assert block
    assert ExperimentSpec.model_validate(yaml.safe_load(block[1])).train.seeds == (0, 1, 2)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_exit_codes_in_the_readme_are_the_codes() -> None:
    assert "0 promote, 10 reject, 11 inconclusive, 12 prompt suffices, 1 error, 2 bad spec, 13" in " ".join(
        README.split()
    )


def test_the_policy_in_the_documentation_is_valid() -> None:
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "gates.md").read_text(), flags=re.S)
    assert block
    shown = yaml.safe_load(block[1])
    policy = PolicySpec.model_validate(shown["policy"])
    assert policy.model_dump(exclude={"gates"}) == PolicySpec().model_dump(exclude={"gates"})
    assert [GateSpec.model_validate(gate).rule for gate in (*shown["policy"]["gates"], *shown["gates"])]


def test_every_prompt_section_in_the_documentation_is_valid() -> None:
    page = (ROOT / "docs" / "prompting.md").read_text()
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.S)]
    sections = [PromptSpec.model_validate(block["prompt"]) for block in shown if "prompt" in block]
    assert sections


def test_every_gate_in_the_table_of_rules_is_valid() -> None:
    rows = re.findall(r"^\| .* \| `(\{.*?\})`", (ROOT / "docs" / "gates.md").read_text(), flags=re.M)
    assert len(rows) >= 6
    assert {GateSpec.model_validate(yaml.safe_load(row)).rule for row in rows} == set(get_args(Rule))


def test_the_table_of_looks_is_what_looks_may_spend() -> None:
    rows = re.findall(r"^\| (\d) \| ([\d.]+) % \| ([\d.]+) % \|", (ROOT / "docs" / "gates.md").read_text(), flags=re.M)
    for column, spending in ((1, "halving"), (2, "even")):
        policy, spent = PolicySpec(spending=spending), 0.0
        for row in rows:
            level = level_at(policy, spent, int(row[0]))
            spent += level
            assert float(row[column]) == pytest.approx(100 * level, abs=0.006)
    assert len(rows) == 5
