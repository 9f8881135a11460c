"""Candidates that others trained: an adapter in a folder, or what a command makes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from small_training import NO_NEWLINE, PROMPT, ROWS, Notes, job, tiny

from harness import artifacts
from harness.errors import ModelError, TrainingError
from harness.models import LocalModel, quiet
from harness.records import Item, Message
from harness.trainers import TrainSpec, no_scorer, train
from harness.trainers.command import train_by_command
from harness.trainers.existing import take_existing

SCRIPT = Path(__file__).parent / "training_script.py"
DEV = (Item(id="d0", messages=(Message(role="user", content="What comes after 9?"),), target="It is 10."),)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def adapter(model: LocalModel, folder: Path, moved: float = 0.1, **config: Any) -> Path:
    """An adapter as PEFT saves it, its B matrices moved."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with quiet():
        base = AutoModelForCausalLM.from_pretrained(model.path)
        own = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | config
        made = get_peft_model(base, LoraConfig(**own))
        for name, weights in made.named_parameters():
            if "lora_B" in name:
                weights.data += moved * torch.randn(weights.shape)
        made.save_pretrained(str(folder))
    return folder


def existing(model: LocalModel, folder: Path, **changes: Any) -> Any:
    spec = TrainSpec.model_validate({"method": "existing", "adapter": folder.name})
    return take_existing(job(model, spec, near=folder.parent, **changes), no_scorer, Notes())


def test_an_adapter_trained_elsewhere_is_published_by_content_under_its_prompt_without_paths(
    model: LocalModel, tmp_path: Path
) -> None:
    folder = adapter(model, tmp_path / "theirs")
    taken, seen = existing(model, folder)
    published = artifacts.folder("adapters", taken.adapter.digest)
    assert {file.name for file in published.iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "prompt.json",
    }  # fmt: skip
    assert PROMPT.instruction in (published / "prompt.json").read_text()
    assert str(tmp_path) not in (published / "adapter_config.json").read_text()
    assert taken.adapter.kind == "lora"
    assert (taken.steps, seen.rows, taken.packages) == (0, 0, None)
    assert taken.probes is not None
    assert taken.probes.base != taken.probes.tuned
    assert existing(model, folder)[0].adapter == taken.adapter


def test_what_vllm_does_not_serve_beside_the_base_model_is_told_by_its_kind(model: LocalModel, tmp_path: Path) -> None:
    assert existing(model, adapter(model, tmp_path / "dora", use_dora=True))[0].adapter.kind == "peft"


def _poison(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: torch.full_like(weights[name], float("nan"))}, folder / "adapter_model.safetensors")


def _rename_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    renamed = {name.replace("layers.1", "layers.7"): value for name, value in weights.items()}
    save_file(renamed, folder / "adapter_model.safetensors")


def _configure(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_poison, "holds values that are not numbers"),
        (_rename_layer, "of its weights belong to no layer of the base model, and 4 are missing"),
        (lambda folder: _configure(folder, r=8), "does not fit the base model"),
        (lambda folder: _configure(folder, r=64), r"its rank is 64, .* rank 16. Set train.rank: 64"),
        (
            lambda folder: _configure(folder, init_lora_weights="pissa"),
            r"its initialisation \(pissa\) changes",
        ),
        (lambda folder: (folder / "adapter_config.json").unlink(), "holds neither adapter_config.json nor config.json"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
        (lambda folder: (folder / "chat_template.jinja").write_text(NO_NEWLINE), "another chat template"),
    ],
    ids=["nan", "other layers", "other shapes", "rank", "pissa", "no config", "no weights", "template"],
)
def test_an_adapter_that_cannot_be_served_as_it_was_trained_is_refused_and_not_published(
    model: LocalModel, spoil: Any, told: str, tmp_path: Path
) -> None:
    folder = adapter(model, tmp_path / "theirs")
    spoil(folder)
    with pytest.raises(TrainingError, match=told):
        existing(model, folder)
    assert not (tmp_path / "home" / "adapters").exists()


def test_an_adapter_that_does_nothing_is_refused(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="changes nothing: every probe"):
        existing(model, adapter(model, tmp_path / "inert", moved=0.0))


def test_pickled_weights_are_refused(model: LocalModel, tmp_path: Path) -> None:
    folder = adapter(model, tmp_path / "theirs")
    (folder / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match="holds pickled files"):
        existing(model, folder)


def test_an_adapter_of_another_base_model_that_lies_here_is_refused_by_its_content(
    model: LocalModel, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    other = tiny(tmp_path / "other")
    with quiet():
        changed = AutoModelForCausalLM.from_pretrained(other.path)
        with torch.no_grad():
            changed.model.norm.weight += 0.5
        changed.save_pretrained(other.path)
    with pytest.raises(TrainingError, match=r"it was trained on .*other.* the experiment's model is another one"):
        existing(model, adapter(other, tmp_path / "theirs"))


# ------------------------------------------------------------------------------- a command


def command(model: LocalModel, *flags: str, **changes: Any) -> Any:
    line = shlex.join([sys.executable, str(SCRIPT)]) + " {data} {output} {model} {seed} " + " ".join(flags)
    spec = TrainSpec.model_validate({"method": "command", "command": line})
    return job(model, spec, dev=DEV, **changes)


def test_a_command_is_handed_train_and_dev_and_what_it_makes_is_published(model: LocalModel, tmp_path: Path) -> None:
    notes = Notes()
    with quiet():
        trained, _ = train(command(model, near=tmp_path), notes)
    (data,) = (tmp_path / "home").glob("work/command/*/data")
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == [item.target for item in ROWS]
    assert rows[0]["messages"][0] == {"role": "system", "content": PROMPT.instruction}
    assert len((data / "dev.jsonl").read_text().splitlines()) == 1
    told = json.loads((data / "fingerprint.json").read_text())
    assert (told["train"]["rows"], told["model"]["digest"]) == (8, model.ref.digest)
    assert sorted(file.name for file in data.iterdir()) == [
        "dataset_info.json", "dev.jsonl", "fingerprint.json", "train.jsonl",
    ]  # fmt: skip
    assert trained.adapter.kind == "lora"
    assert trained.seconds > 0
    assert notes.steps == 100


def test_a_command_that_ended_well_is_not_run_again(model: LocalModel, tmp_path: Path) -> None:
    asked = command(model, near=tmp_path)
    first, _ = train_by_command(asked, no_scorer, Notes())
    (log,) = (tmp_path / "home").glob("work/command/*/log.txt")
    size, notes = log.stat().st_size, Notes()
    second, _ = train_by_command(asked, no_scorer, notes)
    assert second.adapter == first.adapter
    assert log.stat().st_size == size
    assert "taken over" in notes.notes[0]


def test_a_whole_model_of_a_command_gets_the_base_models_tokenizer(model: LocalModel, tmp_path: Path) -> None:
    trained, _ = train_by_command(command(model, "--full", near=tmp_path), no_scorer, Notes())
    assert trained.adapter.kind == "model"
    published = artifacts.folder("models", trained.adapter.digest)
    assert (published / "chat_template.jinja").read_text() == (model.path / "chat_template.jinja").read_text()


def test_a_command_that_fails_is_told_with_its_last_words(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"(?s)ended with exit code 1.*the disk is full.*All of its output is in"):
        train_by_command(command(model, "--fail", near=tmp_path), no_scorer, Notes())


def test_a_program_that_is_not_here_and_a_placeholder_that_is_unknown_are_told(
    model: LocalModel, tmp_path: Path
) -> None:
    spec = TrainSpec.model_validate({"method": "command", "command": "no-such-trainer {data}"})
    with pytest.raises(TrainingError, match="'no-such-trainer' is no program here"):
        train_by_command(job(model, spec, near=tmp_path), no_scorer, Notes())
    with pytest.raises(ValueError, match=r"unknown placeholder {outptu}. Did you mean 'output'"):
        TrainSpec.model_validate({"method": "command", "command": "x {outptu}"})


def test_a_command_ends_with_the_harness_that_was_killed(model: LocalModel, tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from harness.models.folder import describe
        from harness.trainers import train
        from test_train_elsewhere import command
        from small_training import Notes
        model = describe("tiny", Path({str(model.path)!r}), None)
        train(command(model, "--hang", near=Path({str(tmp_path)!r})), Notes())
    """
    harness = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    try:
        log = _until(lambda: next((tmp_path / "home").glob("work/command/*/log.txt"), None))
        _until(lambda: "waiting" in log.read_text())
        assert _running(tmp_path)
    finally:
        os.kill(harness.pid, signal.SIGKILL)
        harness.wait()
    _until(lambda: not _running(tmp_path))


def _running(tmp_path: Path) -> list[str]:
    """Command lines of living processes that train into this test's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if SCRIPT.name in line and str(tmp_path) in line:
            found.append(line)
    return found


def _until(looked: Any, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := looked():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")
