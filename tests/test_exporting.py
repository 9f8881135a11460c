"""`harness export`: every form is judged again in its own form, and a fault planted in it does not come through."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import judged_store
import numpy as np
import pytest
import tiny_chat_model
from scripted import Scripted
from scripted import text as answering
from small_training import job

from harness import exporting, releasing
from harness.cli import main
from harness.engines.base import Request
from harness.engines.transformers_engine import TransformersEngine
from harness.errors import HarnessError, StoreError, UsageError
from harness.exporting import Terms, Wanted, forms, gguf, judging, ollama
from harness.models import LocalModel
from harness.probes import PROBES
from harness.progress import Silent
from harness.records import Decoding, ExportRecord, Item, Message, Prompt, SeedTraining
from harness.store import Store
from harness.trainers import METHODS, TrainSpec, no_scorer

ITEMS = tuple(
    Item(id=f"q{n}", messages=(Message(role="user", content=f"Number {n}: what is in there?"),), target=f"{n}")
    for n in range(80)
)
PROMPT = Prompt(name="trained", instruction="Count.")
DECODING = Decoding(max_tokens=6)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("HARNESS_LLAMA_SERVER", "HARNESS_LLAMA_CPP", "HARNESS_VLLM_PYTHON"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny_chat_model.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trained(model: LocalModel) -> SeedTraining:
    spec = TrainSpec.model_validate({"method": "lora", "learning_rate": 1e-2, "max_steps": 2, "batch_size": 2})
    return METHODS["lora"](job(model, spec), no_scorer, Silent())[0]


@pytest.fixture(scope="module")
def judged(model: LocalModel, trained: SeedTraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reports")
    return judged_store.build(root, model, trained, prompt=PROMPT, decoding=DECODING, items=ITEMS).root


@pytest.fixture
def store(judged: Path, tmp_path: Path) -> Store:
    shutil.copytree(judged, tmp_path / "reports")
    return Store(tmp_path / "reports")


def export(store: Store, format: str, out: Path, **more: Any) -> ExportRecord:
    return exporting.export(store, Wanted("clock", format, out, **more), Silent()).record


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


# -------------------------------------------------------------------------- GGUF


def said(model: LocalModel) -> list[tuple[float, ...]]:
    requests = [Request(Decoding(max_tokens=1), p.messages, p.text, p.continuations) for p in PROBES]
    with TransformersEngine(model) as engine:
        found = dict(engine.answer(requests))
    return [found[at].logprobs or () for at in range(len(requests)) if found[at].error is None]


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_gguf_file_of_f16_says_what_the_model_says(kind: str, tmp_path: Path) -> None:
    made = tiny_chat_model.make(tmp_path / "model", kind, tied=kind != "qwen3", digits=kind == "llama")
    gguf.write(made.path, tmp_path / "model.gguf", "f16", "tiny")
    read = gguf.unpack(tmp_path / "model.gguf", tmp_path / "read", "read")
    apart = [
        abs(x - y) for one, other in zip(said(made), said(read), strict=True) for x, y in zip(one, other, strict=True)
    ]
    assert apart
    assert max(apart) < 1e-4  # its weights are numbers that f16 holds


def test_a_quantised_file_is_smaller_and_nearly_the_same(model: LocalModel, tmp_path: Path) -> None:
    for kind in gguf.QUANTIZATIONS:
        gguf.write(model.path, tmp_path / f"{kind}.gguf", kind, "tiny")
    assert (tmp_path / "q8_0.gguf").stat().st_size < (tmp_path / "f16.gguf").stat().st_size
    read = gguf.unpack(tmp_path / "q8_0.gguf", tmp_path / "read", "read")
    apart = [
        abs(x - y) for one, other in zip(said(model), said(read), strict=True) for x, y in zip(one, other, strict=True)
    ]
    assert 0 < max(apart) < 5


def test_the_end_of_a_turn_is_told_where_it_is_not_the_end_of_a_text(tmp_path: Path) -> None:
    made = tiny_chat_model.make(tmp_path / "model", ends="<|endoftext|>")
    gguf.write(made.path, tmp_path / "model.gguf", "f16", "tiny")
    read = gguf.unpack(tmp_path / "model.gguf", tmp_path / "read", "read")
    ends = [TransformersEngine(one).conditions.flags["end_tokens"] for one in (made, read)]
    assert ends[0] == ends[1]
    assert "," in ends[0]


def test_what_is_not_mapped_is_refused_with_its_reason(model: LocalModel, tmp_path: Path) -> None:
    folder = shutil.copytree(model.path, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mamba", "rope_parameters": {"rope_type": "yarn"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"(?s)model_type is 'mamba'.*positions are scaled \(yarn\)") as refused:
        gguf.check(folder)
    assert "HARNESS_LLAMA_CPP" in str(refused.value)


def test_a_tokenizer_without_a_known_name_is_refused(model: LocalModel, tmp_path: Path) -> None:
    folder = shutil.copytree(model.path, tmp_path / "model")
    told = json.loads((folder / "tokenizer.json").read_text())
    told["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="no known name"):
        gguf.write(folder, tmp_path / "model.gguf", "f16", "tiny")


# ------------------------------------------------------------------- every form


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_every_form_is_fit_and_recorded(format: str, store: Store, tmp_path: Path) -> None:
    record = export(store, format, tmp_path / "out")
    assert record.rejudged is not None
    assert record.rejudged.outcome == "pass", record.rejudged.reason
    assert store.find("clock").exports() == [record]
    assert ExportRecord.model_validate_json((tmp_path / "out" / "export.json").read_text()) == record
    assert set(record.files) < {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert not (tmp_path / "out" / "UNFIT.md").exists()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("format", ["merged", "gguf", "docker"])
def test_a_prompt_alone_is_exported_with_its_base_model(format: str, model: LocalModel, tmp_path: Path) -> None:
    store = judged_store.build(tmp_path / "reports", model, prompt=PROMPT, decoding=DECODING, items=ITEMS)
    record = export(store, format, tmp_path / "out")
    assert record.merge_drift is None
    assert record.rejudged is not None
    assert record.rejudged.outcome == "pass"


def test_merging_and_training_are_held_against_each_other(store: Store, tmp_path: Path) -> None:
    record = export(store, "merged", tmp_path / "out")
    assert record.merge_drift is not None
    assert record.merge_drift < 1e-3
    assert record.probe_drift is not None
    assert record.probe_drift < 1e-3


def test_the_same_form_twice_makes_two_records(store: Store, tmp_path: Path) -> None:
    for number in (1, 2):
        export(store, "gguf", tmp_path / f"out{number}", terms=Terms(samples=0))
    names = sorted(path.name for path in (store.find("clock").path / "exports").iterdir())
    assert names == ["gguf-f16-1.json", "gguf-f16-2.json"]
    assert all(one.rejudged is None for one in store.find("clock").exports())


def test_vllm_is_started_by_the_command_of_harness_serve_and_without_a_secret(store: Store, tmp_path: Path) -> None:
    export(store, "docker", tmp_path / "out", terms=Terms(samples=0))
    export(store, "vllm", tmp_path / "vllm", terms=Terms(samples=0))
    script = (tmp_path / "vllm" / "serve.sh").read_text()
    assert "exec vllm serve ./model" in script
    assert "./adapter" in script
    assert "--dtype float32" in script  # in which it was judged
    assert str(tmp_path) not in script
    made = "".join((tmp_path / "out" / name).read_text() for name in ("Dockerfile", "compose.yaml"))
    assert "127.0.0.1:8000:8000" in made
    assert "VLLM_API_KEY:?" in made
    assert str(tmp_path) not in made
    for text in (script, made):
        assert "HF_HUB_OFFLINE=1" in text
        assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=False" in text


def test_an_export_beside_here_names_its_files_from_its_own_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = exporting.export(store, Wanted("clock", "vllm", terms=Terms(samples=0)), Silent())
    script = (made.path / "serve.sh").read_text()
    assert '"path": "./adapter"' in script
    assert str(tmp_path) not in script


# ---------------------------------------------------------------- planted faults


def planted(store: Store, folder: Path, plant: Any, format: str = "gguf") -> ExportRecord:
    """An export whose file is changed after it was written and before it is judged."""
    source = exporting.bring(store, "clock")
    terms = Terms(samples=60)
    asked = judging.questions(source, terms)
    folder.mkdir()
    made = forms.FORMS[format](forms.Making(source, folder, "q8_0", forms.prompts(source, asked), print))
    plant(folder)
    return exporting.finish(source, format, made, folder, asked, terms, Silent())


def wrong_template(folder: Path) -> None:
    file = folder / "model.gguf"
    data = file.read_bytes()
    right, wrong = b"<|im_start|>assistant\n{% endif %}", b"<|im_start|>user: you {% endif %}"
    assert right in data
    assert len(right) == len(wrong)
    file.write_bytes(data.replace(right, wrong))


def damaged(folder: Path) -> None:
    from gguf import GGUFReader

    reader = GGUFReader(str(folder / "model.gguf"), "r+")
    for tensor in reader.tensors:
        if tensor.name.endswith("ffn_down.weight"):
            tensor.data[:] = np.roll(tensor.data, 7)  # scales where values belong


@pytest.mark.parametrize("plant", [wrong_template, damaged])
def test_a_planted_fault_makes_the_export_unfit(plant: Any, store: Store, tmp_path: Path) -> None:
    record = planted(store, tmp_path / "out", plant)
    assert record.unfit
    assert record.rejudged is not None
    assert record.rejudged.changed
    told = (tmp_path / "out" / "UNFIT.md").read_text()
    assert record.rejudged.changed[0].id in told


def test_without_a_fault_the_same_way_is_fit(store: Store, tmp_path: Path) -> None:
    record = planted(store, tmp_path / "out", lambda folder: None)
    assert not record.unfit
    assert record.rejudged is not None
    assert (record.rejudged.same_template, record.rejudged.other_prompts) == (True, 0)


def test_a_wrong_template_fails_although_every_answer_is_right(store: Store) -> None:
    class Otherwise(Scripted):
        conditions = Scripted.conditions.model_copy(update={"chat_template_digest": "another"})

    source = exporting.bring(store, "clock")
    asked = judging.questions(source, Terms(samples=80))
    said = {f"{sample.question}": sample.answer or "" for sample in asked.before}
    engine = Otherwise(lambda request: answering(said[request.messages[-1].content]))
    judged = judging.judge(source, asked, engine, None, Terms(), Silent())
    assert judged.agreement.value == 1
    assert judged.outcome == "fail"
    assert "its chat template is not the judged one" in judged.reason
    assert "80 of 80 prompts have another number of tokens" in judged.reason


def test_a_breach_ends_with_exit_code_10_and_names_samples(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = forms.FORMS["gguf"]

    def faulty(making: forms.Making) -> forms.Made:
        done = made(making)
        wrong_template(making.into)
        return done

    monkeypatch.setitem(forms.FORMS, "gguf", faulty)  # type: ignore[arg-type]
    command = ["export", "clock", "--format", "gguf", "--out", str(tmp_path / "out"), "--reports", str(store.root)]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 10
    told = capsys.readouterr().out
    assert "UNFIT" in told
    assert "q" in told.partition("answered otherwise")[2]


# ------------------------------------------------------------------------ Ollama


def rendered(model: LocalModel) -> ollama.Render:
    return forms._template(model)[0]


def test_the_modelfile_carries_template_stops_prompt_and_decoding(store: Store, tmp_path: Path) -> None:
    export(store, "ollama", tmp_path / "out", terms=Terms(samples=0))
    told = (tmp_path / "out" / "Modelfile").read_text()
    for line in ("FROM ./model.gguf", 'SYSTEM """Count."""', "PARAMETER temperature 0.0", "PARAMETER repeat_penalty 1"):
        assert line in told
    assert 'PARAMETER stop """<|im_end|>"""' in told


def test_a_default_system_message_of_the_template_is_kept(tmp_path: Path) -> None:
    default = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    model = tiny_chat_model.make(tmp_path / "model", template=default + tiny_chat_model.CHATML)
    render = rendered(model)
    made = ollama.pieces(render)
    talks = [talk(*roles) for roles in (["user"], ["system", "user"], ["user", "assistant", "user"])]
    ollama.check(made, render, talks)
    assert "Be kind." in made.go


def test_a_template_that_changes_turns_is_refused(tmp_path: Path) -> None:
    shouting = tiny_chat_model.CHATML.replace("m.content", "m.content | upper")
    model = tiny_chat_model.make(tmp_path / "model", template=shouting)
    with pytest.raises(UsageError, match="cannot be said in Ollama's language"):
        ollama.pieces(rendered(model))


def test_a_template_that_trims_is_refused_where_it_matters(tmp_path: Path) -> None:
    trimming = tiny_chat_model.CHATML.replace("m.content", "m.content | trim")
    model = tiny_chat_model.make(tmp_path / "model", template=trimming)
    render = rendered(model)
    made = ollama.pieces(render)
    with pytest.raises(UsageError, match="cannot be said"):
        ollama.check(made, render, [[Message(role="user", content=" a question ")]])


def talk(*roles: str) -> Sequence[Message]:
    return [Message.model_validate({"role": role, "content": f"{role} {at}"}) for at, role in enumerate(roles)]


# ------------------------------------------------------------------ what is meant


def test_an_alias_is_exported_and_named_in_the_record(store: Store, tmp_path: Path) -> None:
    releasing.promote(store, store.find("clock"), "production")
    wanted = Wanted("production", "vllm", tmp_path / "out", terms=Terms(samples=0))
    record = exporting.export(store, wanted, Silent()).record
    assert record.alias == "production"
    assert '"name": "production"' in (tmp_path / "out" / "serve.sh").read_text()


def test_an_alias_of_what_is_gone_is_told(store: Store, tmp_path: Path) -> None:
    releasing.promote(store, store.find("clock"), "production")
    shutil.rmtree(store.find("clock").path)
    with pytest.raises(StoreError, match="no longer in the store"):
        exporting.export(store, Wanted("production", "merged", tmp_path / "out"), Silent())


def test_what_was_not_promoted_is_exported_with_a_warning(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store.find("clock").path / "verdict.json"
    file.write_text(file.read_text().replace('"promote"', '"reject"'))
    command = ["export", "clock", "--format", "merged", "--samples", "0", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left:
        main([*command, "--reports", str(store.root)])
    assert left.value.code == 0
    assert "it was judged reject, not promote" in capsys.readouterr().out


# --------------------------------------------------------------------- bad input


def test_an_unknown_format_is_told_with_the_nearest(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown format 'ggug'\. Did you mean 'gguf'"):
        export(store, "ggug", tmp_path / "out")


def test_a_place_that_is_taken_is_refused_before_anything_is_made(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists"):
        export(store, "merged", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_quantisation_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown quantization 'q2_k'\. One of f16, q8_0"):
        export(store, "gguf", tmp_path / "out", quantization="q2_k")


@pytest.mark.parametrize(("kind", "told"), [("classifier", "label head"), ("remote", "served elsewhere")])
def test_what_no_form_can_hold_is_refused(kind: str, told: str, store: Store, tmp_path: Path) -> None:
    other = judged_store.under(store, kind=kind, **({"remote": "ft:x"} if kind == "remote" else {}))
    with pytest.raises(UsageError, match=told):
        export(other, "merged", tmp_path / "out")


def test_a_full_disk_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    with full_disk(tmp_path), pytest.raises(StoreError, match=r"cannot (be )?writ"):
        export(store, "gguf", tmp_path / "out", terms=Terms(samples=0))
    assert not (tmp_path / "out").exists()
    assert hidden(tmp_path) == []
    assert store.find("clock").exports() == []


def full_disk(folder: Path) -> Any:
    """Files of this process can grow no further than some kilobytes, as on a disk that is full."""
    import contextlib
    import resource
    import signal

    @contextlib.contextmanager
    def limited() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limited()


def test_a_failing_store_takes_the_export_back(store: Store, tmp_path: Path) -> None:
    (store.find("clock").path / "exports").write_text("in the way")
    with pytest.raises(HarnessError):
        export(store, "merged", tmp_path / "out", terms=Terms(samples=0))
    assert not (tmp_path / "out").exists()


def test_weights_that_are_gone_are_told(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(StoreError, match="weights are gone"):
        export(store, "merged", tmp_path / "out")


# ---------------------------------------------------------------------- the rule


def decided(**changes: Any) -> str:
    from harness import stats

    given = {"same": 100, "won": 0, "lost": 0, "n": 100, "failed": 0, "least": 0.5} | changes
    ours = np.ones(given["n"])
    theirs = np.ones(given["n"])
    ours[: given["lost"]] = 0
    theirs[given["lost"] : given["lost"] + given["won"]] = 0
    same = np.zeros(given["n"])
    same[: given["same"]] = 1
    difference = stats.paired_interval(ours, theirs, None, 0.9)
    agreement = stats.mean_interval(same, None, 0.9)
    outcome, _ = judging._decided(difference, agreement, -0.05, given["least"], given["failed"], given["n"], False)
    return outcome


def test_the_worse_of_two_rules_decides() -> None:
    assert decided() == "pass"
    assert decided(lost=20, same=80) == "fail"
    assert decided(lost=3, same=97) == "inconclusive"
    assert decided(same=20) == "fail"
    assert decided(same=20, least=None) == "pass"
    assert decided(failed=5) == "inconclusive"


def test_with_every_score_0_the_texts_decide() -> None:
    from harness import stats

    nothing, same = stats.paired_interval(np.zeros(90), np.zeros(90)), stats.mean_interval(np.ones(90))
    assert judging._decided(nothing, same, -0.05, 0.5, 0, 90, True)[0] == "pass"
    assert judging._decided(nothing, same, -0.05, None, 0, 90, True)[0] == "inconclusive"


def test_another_choice_of_items_has_another_seed(store: Store) -> None:
    source = exporting.bring(store, "clock")
    first, again, other = (judging.questions(source, replace(Terms(samples=9), seed=seed)) for seed in (0, 0, 1))
    assert first.items == again.items
    assert first.items != other.items


def test_two_exports_to_one_place_do_not_take_each_others_files(store: Store, tmp_path: Path) -> None:
    staging = tmp_path / ".there.incoming"
    staging.mkdir()
    (staging / "half").touch()
    held = os.open(staging, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="another process exports"):
        export(store, "merged", tmp_path / "there", terms=Terms(samples=0))
    assert (staging / "half").exists()
    os.close(held)
    export(store, "merged", tmp_path / "there", terms=Terms(samples=0))  # what one that was killed left is cleared away
    assert (tmp_path / "there" / "export.json").exists()
    assert not staging.exists()
