"""The bench of prompt search: its sums, its own searchers, and that a cell judges on test rows that no search saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prompt_search import told
from prompting.cells import Cell, Setting, run
from prompting.methods import BY_NAME, METHODS
from prompting.summing import difference, estimate, leader_at
from prompting.tasks import DATA, TASKS, missing, rows
from prompting.writing import BEGIN, END, generated, half_share, written
from scripted import Scripted, text

from harness.engines.base import Answer, Request
from harness.prompts import SEARCHES
from harness.records import TracePoint

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(0)


def point(calls: int, leader: str) -> TracePoint:
    return TracePoint(calls=calls, tokens=None, leader=leader, mean=0.5)


def test_the_leader_at_half_is_who_led_by_then() -> None:
    trace = [point(10, "raw"), point(40, "labels"), point(60, "labels+8")]
    leaders = [found.leader if (found := leader_at(trace, calls)) else None for calls in (9, 10, 59, 60, 100)]
    assert leaders == [None, "raw", "labels", "labels+8", "labels+8"]


def test_the_share_at_half_counts_no_leader_as_nothing_and_no_score_as_unknown() -> None:
    assert half_share({"dev": 0.8, "half": {"dev": 0.6}}) == pytest.approx(0.75)
    assert half_share({"dev": 0.8, "half": None}) == 0.0
    assert half_share({"dev": 0.0, "half": {"dev": 0.0}}) is None


def test_the_mean_over_tasks_weighs_tasks_alike_and_leaves_unscored_out() -> None:
    found = estimate([np.array([[1.0, np.nan, 1.0, 0.0] * 10]), np.zeros((3, 50))])
    assert found.value == pytest.approx((2 / 3 + 0) / 2)


def test_the_interval_of_many_items_is_that_of_a_mean() -> None:
    scores = (RNG.random((1, 1000)) < 0.3).astype(np.float64)
    found = estimate([scores])
    half = 1.96 * np.sqrt(scores.mean() * (1 - scores.mean()) / 1000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_seeds_that_differ_widen_the_interval() -> None:
    alike = np.repeat((RNG.random((1, 500)) < 0.5).astype(np.float64), 3, axis=0)
    apart = np.stack([np.zeros(500), alike[0], np.ones(500)])
    narrow, wide = estimate([alike]), estimate([apart])
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_a_difference_is_paired_by_item() -> None:
    base = (RNG.random((1, 300)) < 0.5).astype(np.float64)
    better = base.copy()
    better[0, np.flatnonzero(base[0] == 0)[:15]] = 1
    found = difference([better], [base])
    assert found.value == pytest.approx(0.05)
    assert found.low > 0
    assert estimate([better]).low < estimate([base]).high, "unpaired, the two could not be told apart"


def cell(task: str, method: str, seed: int, right: int) -> dict[str, Any]:
    scores = {name: [1.0] * right + [0.0] * (10 - right) for name in (TASKS[task].metric, *TASKS[task].metrics)}
    found: dict[str, Any] = {
        "task": task,
        "method": method,
        "seed": seed,
        "calls": 30,
        "tokens": 900,
        "dev": right / 10,
    }
    found |= {"seconds": 2.0, "cpu_seconds": 1.5, "winner": "labels+8", "demonstrations": 8}
    found |= {"half": {"dev": right / 20}}
    return found | {"test": {"scores": scores, "tokens_in": 500, "tokens_out": 20}}


def test_the_page_tells_what_the_cells_say_and_leaves_the_rest_as_it_is() -> None:
    cells = [cell(task, method, seed, 6 if method == "race" else 5)
             for task in ("sms_spam", "snips_slots") for method in ("raw", "race") for seed in (0, 1)]  # fmt: skip
    page = written(f"Words.\n\n{BEGIN}\nold\n{END}\n\nMore.\n", cells, "Conditions.")
    assert page.startswith("Words.\n")
    assert page.endswith("More.\n")
    assert "old" not in page
    assert written(page, cells, "Conditions.") == page
    (lead,) = [line for line in page.splitlines() if line.startswith("| `raw` | +10.0")]
    assert "+10.0" in lead
    (race,) = [line for line in page.splitlines() if line.startswith("| `race` | 60.0") and "| 50 % | 50 |" in line][:1]
    assert race.endswith("| 30 | 900 | 2 | 2 |")


def test_a_method_that_missed_a_task_has_no_mean_over_tasks() -> None:
    cells = [cell("sms_spam", "raw", 0, 5), cell("snips_slots", "raw", 0, 5), cell("sms_spam", "dspy", 0, 9)]
    overall = generated(cells, "").split("## sms_spam")[0]
    assert "| `raw` |" in overall
    assert "| `dspy` |" not in overall


def test_a_page_without_its_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no part"):
        written("Words.", [], "")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Thirty rows a split of a task whose answers a model can only know from demonstrations."""
    folder = tmp_path / "tasks" / "sms_spam"
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        made = []
        for number in range(30):
            turns = [("system", "Answer."), ("user", f"{split} {number}"), ("assistant", ("ham", "spam")[number % 2])]
            made.append(json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}))
        (folder / f"{split}.jsonl").write_text("\n".join(made) + "\n")
    return Setting(90, 12, 20, "none", str(folder.parent), str(tmp_path / "work"))


def model(request: Request) -> Answer:
    """Right on even numbers; on all where something is demonstrated."""
    number = int(request.messages[-1].content.split()[1]) if request.messages[-1].content[-1].isdigit() else 0
    shown = any(turn.role == "assistant" for turn in request.messages)
    return text("spam" if shown and number % 2 else "ham")


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_a_cell_keeps_to_its_calls_and_is_done_once(method: str, setting: Setting) -> None:
    seen: list[str] = []

    def watched(request: Request) -> Answer:
        seen.append(request.messages[-1].content)
        return model(request)

    engine = Scripted(watched)
    found = run(Cell("sms_spam", method, 0), setting, engine)
    assert found["calls"] <= (setting.calls if BY_NAME[method].searches else setting.dev)
    assert found["dev_n"] == setting.dev
    judged = next(at for at, asked in enumerate(seen) if asked.startswith("test"))
    assert all(asked.startswith("test") for asked in seen[judged:]), "nothing is searched after the test rows were seen"
    assert len(found["test"]["scores"]["exact_match"]) == setting.test
    calls = engine.calls
    assert run(Cell("sms_spam", method, 0), setting, engine) == found
    assert engine.calls == calls


def test_a_prompt_that_two_methods_found_meets_the_test_rows_once(setting: Setting) -> None:
    engine = Scripted(lambda _: text("ham"))  # nothing is better than the raw prompt
    first = run(Cell("sms_spam", "raw", 0), setting, engine)
    calls = engine.calls
    second = run(Cell("sms_spam", "gepa", 0), setting, engine)
    assert second["test"] == first["test"]
    assert engine.calls - calls == second["calls"]


def test_seeds_share_the_test_rows_and_draw_their_own_dev_rows(setting: Setting) -> None:
    first, second = (rows("sms_spam", Path(setting.folder), setting.dev, setting.test, seed) for seed in (0, 1))
    assert first.test == second.test
    assert {row.item.id for row in first.dev.rows} != {row.item.id for row in second.dev.rows}


def test_every_method_has_a_searcher() -> None:
    assert {method.search for method in METHODS} <= set(SEARCHES)


@pytest.mark.skipif(bool(missing(list(TASKS), DATA)), reason=f"no tasks in {DATA}")
def test_the_tasks_rows_are_read_and_an_answer_fits_its_room() -> None:
    for name, spec in TASKS.items():
        found = rows(name, DATA, 50, 150, 0)
        assert (len(found.dev.rows), len(found.test)) == (50, 150)
        assert found.instruction
        assert max(len(item.target) for item in found.test) < 4 * spec.max_tokens


def test_the_document_is_the_benchs_own() -> None:
    """What stands between the markers is what the stored counts come to."""
    page, file = (ROOT / "docs" / "prompt_search.md").read_text(), ROOT / "bench" / "prompt_search.json"
    assert BEGIN in page
    assert END in page
    if file.exists():
        stored = json.loads(file.read_text())
        assert written(page, stored["cells"], stored["setting"]) == page


def test_the_conditions_are_told() -> None:
    line = told(Setting(300, 50, 150, "package:m", "", ""), [0, 1])
    assert all(part in line for part in ("package:m", "300", "50", "150", "0, 1"))
