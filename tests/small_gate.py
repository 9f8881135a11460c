"""Small things to gate: a random llama, a suite that it answers rightly, adapters that keep or lose that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from small_training import tiny
from test_train_elsewhere import adapter

from harness.engines import ServeSpec, open_engine
from harness.engines.base import Request
from harness.models import LocalModel, quiet
from harness.records import Decoding

WORDS = ("red", "tan", "sky", "oak", "fog", "ice")
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: items.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_target: answer
doc_to_choice: choices
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


def suite(folder: Path, model: LocalModel, count: int = 40, name: str = "kept", fresh: int = 0) -> Path:
    """A suite of choices whose gold answers are what the base model chooses. fresh: another one, by its questions."""
    questions = [f"The colour of thing {fresh}{n} is" for n in range(count)]
    choices = [f" {word}" for word in WORDS]
    with open_engine(ServeSpec(engine="transformers"), model, max_adapters=0, log=folder.parent / "log") as engine:
        asked = [Request(Decoding(max_tokens=1), text=question, choices=tuple(choices)) for question in questions]
        answers = dict(engine.answer(asked))
    at = folder / name
    at.mkdir(parents=True)
    (at / "suite.yaml").write_text(f"group: {name}\ntask: [{name}-a]\nmetadata: {{role: regression, version: 1}}\n")
    (at / f"{name}-a.yaml").write_text(TASK.format(name=f"{name}-a"))
    rows = []
    for n, question in enumerate(questions):
        scores = answers[n].logprobs
        assert scores is not None
        row = {"id": f"q{n}", "question": question, "choices": list(WORDS), "answer": scores.index(max(scores))}
        rows.append(json.dumps(row))
    (at / "items.jsonl").write_text("\n".join(rows) + "\n")
    return at


def candidates(folder: Path, model: LocalModel) -> dict[str, Path]:
    """An adapter that changes next to nothing, one that forgets, and the first one put into its base model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    everywhere = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    same = adapter(model, folder / "same", moved=1e-4)
    forgets = adapter(model, folder / "forgets", moved=2.0, target_modules=everywhere)
    with quiet():
        whole: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model.path), str(same))
        whole.merge_and_unload().save_pretrained(str(folder / "merged"))
        AutoTokenizer.from_pretrained(model.path).save_pretrained(str(folder / "merged"))
    return {"same": same, "forgets": forgets, "merged": folder / "merged"}


def base(folder: Path) -> LocalModel:
    """The base model."""
    return tiny(folder)
