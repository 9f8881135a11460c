"""Code that comes with a base model: off by default, and where the spec trusts it, part of what is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_training import QUICK, Notes, job, tiny

from harness import models
from harness.engines import Request, ServeSpec, open_engine
from harness.engines.vllm.flags import Settings, server_command
from harness.errors import ModelError
from harness.models import LocalModel
from harness.models.folder import describe
from harness.records import Decoding, Message
from harness.spec import load
from harness.trainers import METHODS, merged

CODE = '''
"""A llama under a name of its own."""

from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "harness_own"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
    says = "first"
'''
AUTO = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small llama that transformers knows only by the code beside it."""
    folder = tiny(tmp_path / "own").path
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "harness_own", "architectures": ["OwnForCausalLM"], "auto_map": AUTO}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(CODE)
    return folder


def with_auto_map(folder: Path, told: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": told}))


def answers(model: LocalModel, folder: Path) -> str:
    asked = Request(messages=(Message(role="user", content="What comes after 1?"),), decoding=Decoding(max_tokens=8))
    with open_engine(ServeSpec(engine="transformers"), model, max_adapters=0, log=folder / "log") as engine:
        ((_, answer),) = engine.answer([asked])
    assert answer.text is not None
    return answer.text


def test_a_model_that_needs_its_code_is_refused_with_the_key_that_would_let_it_run(own: Path) -> None:
    for look in (models.exists, models.resolve):
        with pytest.raises(ModelError) as told:
            look(str(own))
        for part in ("'harness_own'", "off by default", "Read its *.py files", "trust_remote_code: true"):
            assert part in str(told.value)


def test_code_that_transformers_does_not_need_is_left_alone_and_is_no_part_of_the_model(tmp_path: Path) -> None:
    model = tiny(tmp_path / "plain")
    (model.path / "modeling_own.py").write_text("raise SystemExit('it ran')")
    with_auto_map(model.path, AUTO)
    found = models.resolve(str(model.path))
    assert not found.ref.remote_code
    answers(found, tmp_path)


def test_trusted_code_is_part_of_the_models_identity(own: Path, tmp_path: Path) -> None:
    trusted = models.resolve(str(own), trusted=True)
    assert trusted.ref.remote_code
    assert models.identity(str(own), None, trusted=True) == trusted.ref.digest
    (own / "parts").mkdir()
    (own / "parts" / "more.py").write_text("1")
    assert models.resolve(str(own), trusted=True).ref.digest != trusted.ref.digest
    (own / "parts" / "more.py").unlink()
    assert models.resolve(str(own), trusted=True).ref.digest == trusted.ref.digest
    (own / "modeling_own.py").write_text(CODE.replace("first", "second"))
    with pytest.raises(ModelError, match="is not the one that was judged"):
        models.resolve_judged(str(own), trusted.ref, near=tmp_path)


def test_trusting_a_model_without_code_changes_nothing(tmp_path: Path) -> None:
    model = tiny(tmp_path / "plain")
    (model.path / "helper.py").write_text("1")
    assert models.resolve(str(model.path), trusted=True).ref == model.ref
    assert "remote_code" not in model.ref.model_dump_json()


@pytest.mark.parametrize(
    ("auto_map", "message"),
    [
        ({"AutoConfig": "somebody/else--modeling_own.OwnConfig"}, "takes its code from another repository"),
        ({"AutoConfig": "gone.OwnConfig"}, "names code that is not there: gone.OwnConfig"),
        ({"AutoTokenizer": [None, "gone.Fast"]}, "names code that is not there: gone.Fast"),
    ],
)
def test_only_code_beside_the_weights_is_ever_run(own: Path, auto_map: object, message: str) -> None:
    with_auto_map(own, auto_map)
    with pytest.raises(ModelError, match=message):
        models.resolve(str(own), trusted=True)


def test_servers_are_told_of_it_only_where_it_is_trusted(own: Path, tmp_path: Path) -> None:
    trusted, plain = models.resolve(str(own), trusted=True), tiny(tmp_path / "plain")
    assert "--trust-remote-code" in server_command("python", trusted, Settings(), 1234)
    assert "trust-remote-code" not in " ".join(server_command("python", plain, Settings(), 1234))


def test_a_spec_that_trusts_it_is_another_experiment_and_one_that_does_not_says_so(own: Path, tmp_path: Path) -> None:
    ids = set()
    lines = {f"Say {n}.": str(n) for n in range(40)}
    (tmp_path / "rows.jsonl").write_text(
        "".join(f'{{"prompt": "{q}", "completion": "{a}"}}\n' for q, a in lines.items())
    )
    for model, trusted in (
        (str(own), True),
        (str(tiny(tmp_path / "plain").path), True),
        (str(tmp_path / "plain"), False),
    ):
        spec = {
            "name": "own",
            "model": model,
            "data": {"path": "rows.jsonl", "split": [0.5, 0.2, 0.3]},
            "task": {"metric": "exact_match"},
            "gates": [{"suite": "task", "against": "best_prompt", "min_delta": 0}],
        } | ({"trust_remote_code": True} if trusted else {})  # fmt: skip
        (tmp_path / "experiment.yaml").write_text(json.dumps(spec))
        ids.add(load(tmp_path / "experiment.yaml").id)
    assert len(ids) == 3


def test_it_trains_is_merged_and_answers_by_its_code(own: Path, tmp_path: Path) -> None:
    model = models.resolve(str(own), trusted=True)
    asked = job(model, QUICK)
    training, _ = METHODS["lora"](asked, lambda split, answers: [None for _ in answers], Notes())
    assert training.curve[-1].loss < training.curve[0].loss
    whole = merged(training.adapter, model)
    again = describe("merged", whole.folder, None, trusted=True)
    assert again.ref.remote_code
    assert (whole.folder / "modeling_own.py").read_text() == CODE
    assert answers(again, tmp_path)
    with pytest.raises(ModelError, match="trust_remote_code"):
        describe("merged", whole.folder, None)
