"""An outage of the judge, or of an engine behind a cache, makes no prompt fall: the search ends, and goes on later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_prompts import Broken, better_when_told, folder, run, split

from harness import metrics
from harness.engines.cached import Answers, CachedEngine
from harness.errors import EngineError
from harness.evaluate import TaskSpec, aids
from harness.metrics import tools

JUDGED = TaskSpec(metric="judge")
SPEC = {"budget": 160, "shots": [0, 4], "dev": split("dev", 20), "task": JUDGED}


@contextmanager
def judging(silent: range = range(0)) -> Iterator[None]:
    """A judge that remembers, as the one behind an endpoint does, and is silent for these of its calls."""
    lock, calls = threading.Lock(), [0]

    def ask(_: str, material: str) -> str:
        with lock:
            calls[0] += 1
            if calls[0] in silent:
                raise metrics.Unscored("judge: status 503", fault=True)
        reference = material.partition("<reference>\n")[2].partition("\n")[0]
        return "Grade: 5" if f"<answer>\n{reference}\n" in material else "Grade: 1"

    with metrics.using(tools.Tools(judge=tools.Judge("scripted", aids._remembering(ask), afresh=ask))):
        yield


@pytest.mark.parametrize("first", [22, 28, 34])
def test_a_judge_that_falls_silent_ends_the_search_and_the_next_sitting_ends_as_if_it_had_not(
    first: int, tmp_path: Path
) -> None:
    with judging():
        whole = run(tmp_path / "a", better_when_told, **SPEC)
    store = folder(tmp_path / "b")
    with judging(range(first, first + 40)), pytest.raises(EngineError, match=r"judge: status 503.*run again"):
        run(tmp_path, better_when_told, store=store, **SPEC)
    with judging():
        assert run(tmp_path, better_when_told, store=store, **SPEC) == whole


@pytest.mark.parametrize("first", [30, 60, 130])
def test_an_outage_behind_a_cache_of_answers_is_one_too(first: int, tmp_path: Path) -> None:
    engine = Broken(better_when_told, first)
    with (
        CachedEngine(engine, "m" * 64, Answers(tmp_path / "answers.sqlite")) as cached,
        pytest.raises(EngineError, match=r"status 503: overloaded.*that were answered before.*run again"),
    ):
        run(tmp_path, cached, budget=160, shots=[0, 4], dev=split("dev", 20))
