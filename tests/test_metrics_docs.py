"""docs/metrics.md holds every metric, and its examples are valid."""

import re
from pathlib import Path

import yaml

from harness import metrics
from harness.evaluate import TaskSpec
from harness.metrics import JudgeSpec, sandbox
from harness.metrics.table import markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"


def test_the_table_is_the_registry() -> None:
    drawn = re.search(r"<!-- metrics -->\n(.*?)\n<!-- /metrics -->", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert drawn
    assert drawn[1] == markdown(), "print it with `python -m harness.metrics.table`"


def test_the_spec_examples_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    first, second = map(yaml.safe_load, blocks)
    assert TaskSpec.model_validate(first["task"]).metric == "numeric(tolerance=0.01)"
    assert JudgeSpec.model_validate(second["judge"]).key_env == "HARNESS_JUDGE_KEY"


def test_the_own_metric_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert code
    (tmp_path / "my_metric.py").write_text(code[1], encoding="utf-8")
    name = metrics.bind("./my_metric.py:score", tmp_path)
    assert metrics.score_text(name, "b a", "a b") == 1


def test_the_limits_of_the_sandbox_are_those_in_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"{sandbox.MEMORY // 2**20} MiB of address space, {sandbox.FILE_BYTES // 2**20} MiB a file" in page
    assert f"limited to {sandbox.PROCESSES}" in page
