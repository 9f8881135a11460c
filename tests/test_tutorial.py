"""The tutorial is a test: its commands run in their order, end as it says, and print what it says they print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
MARK = re.compile(r"<!-- exit (?P<codes>\d+(?: or \d+)*)(?P<says>(?:; says \"[^\"\n]+\")*)(?P<needs>; needs vllm)? -->")
BLOCK = re.compile(MARK.pattern + r"\n+```bash\n(?P<command>.*?)```", flags=re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One block of commands, how it ends, and words that stand in its output."""

    command: str
    codes: tuple[int, ...]
    says: tuple[str, ...]
    needs_vllm: bool


def steps() -> list[Step]:
    return [
        Step(
            found["command"],
            tuple(int(code) for code in found["codes"].split(" or ")),
            tuple(re.findall(r'says "([^"]+)"', found["says"])),
            bool(found["needs"]),
        )
        for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))
    ]


def test_every_block_of_commands_says_how_it_ends() -> None:
    assert len(steps()) == PAGE.read_text(encoding="utf-8").count("```bash") > 0


@pytest.mark.model
def test_the_commands_of_the_tutorial_do_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "suites").symlink_to(ROOT / "suites")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, run in (("harness", "-m harness "), ("python", "")):
        (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {run}"$@"\n')
        (bin_ / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HARNESS_REPORTS": str(tmp_path / "reports"),
        "COLUMNS": "160",
    }
    for step in steps():
        if step.needs_vllm and not os.environ.get("HARNESS_VLLM_PYTHON"):
            continue
        done = subprocess.run(
            ["bash", "-c", step.command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500,
            check=False,
        )  # fmt: skip
        told = f"{step.command}\n{done.stdout}\n{done.stderr}"
        assert done.returncode in step.codes, told
        flat = " ".join(done.stdout.split() + done.stderr.split())
        assert [text for text in step.says if text not in flat] == [], told
