"""Whatever a training makes is served as it was trained, by a serving that whoever judges may ask alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted import Scripted, text
from small_training import PROMPT, QUICK, ROWS, Notes, job, tiny
from test_preflight import GAIN, load
from test_train_methods import KINDS, RATES

from harness import forgetting, preflight, trainers
from harness.chat import chat
from harness.engines import ServeSpec, beside, vllm
from harness.engines.base import Adapter, Engine, Request
from harness.engines.beside import Beside
from harness.errors import EngineError, SpecError, StoreError, TrainingError
from harness.models import LocalModel, quiet
from harness.progress import Silent
from harness.records import AdapterRef, Conditions, Decoding, SeedTraining
from harness.serving import Serving
from harness.store import Store
from harness.trainers import METHODS, TrainSpec, no_scorer

GREEDY = Decoding(max_tokens=8)
MODELS = ("full", "loftq")
TEXTS = forgetting.GeneralTexts(
    (forgetting.GeneralText("p", "prose", "It is what it is."),), (forgetting.GeneralText("q", "prompt", "Say 1."),)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def trained(model: LocalModel, home: None) -> dict[str, SeedTraining]:
    """One training by each method, made when it is first asked for."""

    class Made(dict[str, SeedTraining]):
        def __missing__(self, method: str) -> SeedTraining:
            given = QUICK.model_dump(exclude_defaults=True) | {
                "method": method,
                "learning_rate": RATES.get(method, 0.05),
            }
            spec = TrainSpec.model_validate(given | {"max_steps": 6})
            self[method] = METHODS[spec.method](job(model, spec), no_scorer, Silent())[0]
            return self[method]

    return Made()


@contextmanager
def served(
    folder: Path, model: LocalModel, trainings: dict[str, SeedTraining], engine: str = "transformers", **more: Any
) -> Iterator[Serving]:
    store = Store(folder).create("x--1", "name: x\n")
    spec = ServeSpec.model_validate({"engine": engine} | more)
    with Serving(spec, model, max_adapters=0, rank=4, folder=store, progress=Notes()) as serving:
        for name, training in trainings.items():
            serving.add(name, training.adapter)
        yield serving


def questions(adapter: str | None) -> list[Request]:
    return [Request(GREEDY, messages=chat(PROMPT, item), adapter=adapter) for item in ROWS]


def texts(engine: Engine, adapter: str | None) -> list[str | None]:
    answers = dict(engine.answer(questions(adapter)))
    return [answers[at].text for at in range(len(ROWS))]


def by_hand(training: SeedTraining, model: LocalModel) -> list[str]:
    """Greedy answers by plain forward passes of PEFT's or transformers' own model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, whole = trainers.folder_of(training.adapter), training.adapter.kind == "model"
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(model.path)
        tuned = AutoModelForCausalLM.from_pretrained(folder if whole else model.path, dtype=torch.float32)
        if not whole:
            tuned = PeftModel.from_pretrained(tuned, str(folder))
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    found = []
    for item in ROWS:
        turns = [turn.model_dump() for turn in chat(PROMPT, item)]
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids, said = tokenizer(rendered, add_special_tokens=False)["input_ids"], list[int]()
        while len(said) < GREEDY.max_tokens:
            given = torch.tensor([ids + said])
            with torch.no_grad():
                logits = tuned.eval()(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False).logits
            said.append(int(logits[0, -1].argmax()))
            if said[-1] in ends:
                break
        found.append(tokenizer.decode([token for token in said if token not in ends], skip_special_tokens=True))
    return found


@pytest.mark.parametrize("method", sorted(KINDS))
def test_what_a_method_trains_is_served_with_the_likelihoods_and_the_answers_of_its_training(
    method: str, model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path
) -> None:
    with served(tmp_path, model, {"tuned": trained[method]}) as serving:
        (row,) = serving.parity({"tuned": trained[method]}).adapters
        base, tuned = texts(serving.engine, None), texts(serving.engine, "tuned")
        again = [answer.cached for _, answer in serving.engine.answer(questions("tuned"))]
        lost = forgetting.measure(serving.engine, {"tuned": trained[method].adapter}, TEXTS, Silent()).adapters[0]
    assert row.base is not None
    assert row.tuned is not None
    if method != "qlora":  # trained on quantised weights, served on the full ones
        assert max(row.base, row.tuned) < 1e-4
    assert tuned == by_hand(trained[method], model)
    assert base != tuned
    assert all(again)
    assert lost.text.value is not None
    assert abs(lost.text.value) > 1e-4


@pytest.mark.parametrize("pair", [("dora", "full"), ("prompt_tuning", "lora"), ("full", "loftq")])
def test_several_in_one_serving_each_answer_as_themselves(
    pair: tuple[str, str], model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path
) -> None:
    with served(tmp_path, model, {method: trained[method] for method in pair}, cache=False) as serving:
        mixed = [request for row in zip(*map(questions, (*pair, None)), strict=True) for request in row]
        answers = dict(serving.engine.answer(mixed))
        together = [[answers[at + 3 * number].text for number in range(len(ROWS))] for at in range(3)]
        alone = [texts(serving.engine, name) for name in (*pair, None)]
    assert together == alone
    assert together[0] == by_hand(trained[pair[0]], model)


def test_one_engine_at_a_time_where_memory_does_not_hold_two(
    model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path / "both", model, {"tuned": trained["full"], "lora": trained["lora"]}) as serving:
        names = (None, "tuned", "lora", None)
        expected = [texts(serving.engine, name) for name in names]
    monkeypatch.setattr("harness.machine.available_bytes", lambda: 0)
    chosen = {"tuned": trained["full"], "lora": trained["lora"]}
    with served(tmp_path / "one", model, chosen, cache=False) as serving:
        engine = serving.engine
        assert isinstance(engine, Beside)
        assert not engine.concurrent
        for name, wanted in zip(names, expected, strict=True):
            assert texts(engine, name) == wanted
            assert (engine._main is None, len(engine._own)) == ((True, 1) if name == "tuned" else (False, 0))


def test_an_engine_under_other_conditions_is_not_compared(tmp_path: Path, model: LocalModel) -> None:
    other = Scripted(lambda _: text("x"))
    other.conditions = Scripted.conditions.model_copy(update={"dtype": "bfloat16"})
    with Beside(Scripted(lambda _: text("x")), model, lambda _: other) as engine:
        engine.load_adapter(Adapter("tuned", str(model.path)))
        with pytest.raises(EngineError, match=r"tuned: conditions.dtype: 'bfloat16', and 'none' for"):
            list(engine.answer([Request(GREEDY, text="x", adapter="tuned")]))


def test_a_whole_model_that_was_changed_after_training_is_not_served(
    model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    ref = METHODS["full"](
        job(model, TrainSpec(method="full", learning_rate=0.01, max_steps=1, batch_size=4)), no_scorer, Silent()
    )[0].adapter
    (trainers.folder_of(ref) / "config.json").write_text("{}")
    with (
        pytest.raises(StoreError, match="the model of tuned was changed after training"),
        served(tmp_path, model, {}) as serving,
    ):
        serving.add("tuned", ref)


# ------------------------------------------------------------- engines that cannot serve a kind


def vllm_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "find", lambda: vllm.Found("python", "cpu", "it is installed"))


def test_with_vllm_an_adapter_that_it_cannot_load_is_served_merged(
    model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm_stands_in(monkeypatch)
    with served(tmp_path, model, {"tuned": trained["dora"]}, "vllm") as serving:
        folder = Path(serving._adapters["tuned"].path)
    assert folder == trainers.merged(trained["dora"].adapter, model).folder
    assert beside.is_model(folder)
    with (
        pytest.raises(TrainingError, match="cannot be merged: it learned tokens"),
        served(tmp_path / "learned", model, {"tuned": trained["prompt_tuning"]}, "vllm"),
    ):
        pass


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "adaption_prompt"])
def test_what_no_form_can_serve_is_told_before_training_with_the_engine_that_can(method: str) -> None:
    spec = TrainSpec.model_validate({"method": method})
    (problem,) = trainers.unservable(spec, "vllm")
    assert f"vLLM cannot serve {method}" in str(problem)
    assert "engine: transformers" in str(problem)
    assert not list(trainers.unservable(spec, "transformers"))


def test_a_method_that_a_sweep_may_choose_is_told_too() -> None:
    sweep = {"trials": 2, "fields": {"method": ["lora", "prompt_tuning"]}}
    spec = TrainSpec.model_validate({"select": {"by": "task"}, "sweep": sweep})
    assert len(list(trainers.unservable(spec, "vllm"))) == 1


def test_room_is_made_for_adapters_that_lie_beside_the_base_alone() -> None:
    rooms = {method: trainers.beside_base(TrainSpec.model_validate({"method": method})) for method in KINDS}
    assert {method for method, room in rooms.items() if room} == {"lora", "rslora", "qlora", "pissa"}


def test_check_tells_what_cannot_be_served_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm_stands_in(monkeypatch)
    learned = {"train": {"method": "prefix_tuning"}, "serve": {"engine": "vllm"}}
    with pytest.raises(SpecError, match="vLLM cannot serve prefix_tuning"):
        preflight.check(load(tmp_path, GAIN, **learned), Store(tmp_path / "r"))


def test_a_label_head_and_suites_that_it_cannot_answer_are_refused_never_scored(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a classifier names labels of the task, and answers no other suite"):
        load(tmp_path, GAIN, train={"method": "classifier"}, suites=["regression-mini"])


# ----------------------------------------------------------------------- remote models


class Remote(Scripted):
    """A server elsewhere, that gives no likelihoods."""

    conditions = Conditions(
        engine="openai", engine_version="unknown", dtype="remote", device="remote", chat_template_digest=None
    )

    def __init__(self) -> None:
        super().__init__(lambda request: text(f"by {request.adapter}"))
        self.loaded: list[Adapter] = []

    def load_adapter(self, adapter: Adapter) -> None:
        self.loaded.append(adapter)


def test_a_model_that_only_a_server_has_is_asked_by_its_name_there(
    model: LocalModel, trained: dict[str, SeedTraining], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Remote()
    monkeypatch.setattr("harness.serving.open_engine", lambda *args, **more: engine)
    ref = AdapterRef(digest="d", method="managed", seed=0, kind="remote", remote="ft:base:1")
    training = trained["lora"].model_copy(update={"adapter": ref, "probes": None})
    with served(tmp_path, model, {"tuned": training}, "openai", url="http://127.0.0.1:9/v1") as serving:
        assert texts(serving.engine, "tuned") == ["by tuned"] * len(ROWS)
        (row,) = serving.parity({"tuned": training}).adapters
    assert engine.loaded == [Adapter("tuned", "", "ft:base:1")]
    assert row.tuned is None
    assert "served elsewhere" in row.reason
