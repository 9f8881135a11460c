"""Looks at dev: answered as engines answer, the best checkpoint comes out, and a kill loses and repeats nothing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_training import PROMPT, QUICK, ROWS, Notes, job, tiny

from harness import artifacts
from harness.chat import chat
from harness.engines.base import Adapter, Request
from harness.engines.transformers_engine import TransformersEngine
from harness.learning.gathering import _as_asked
from harness.learning.rows import spread
from harness.models import LocalModel, quiet
from harness.progress import Silent
from harness.records import Decoding, Item, Message, Prompt, SeedTraining
from harness.trainers import METHODS, Answered, TrainSpec, lifecycle
from harness.trainers.generating import Answering
from harness.trainers.parameters import CONFIGS, adapted
from harness.trainers.parts import SelectSpec
from harness.trainers.selection import FEWEST, every

DEV = tuple(
    Item(id=f"d{n}", messages=(Message(role="user", content=f"What comes after {n}{'?' * (n - 10)}"),), target=f"{n}")
    for n in range(11, 15)
)
SHORT = Decoding(max_tokens=12, stop=("1", "q"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing trained elsewhere is taken over."""
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Likeness:
    """Scores an answer by how much it looks like the gold answer; counts what it is asked."""

    def __init__(self, dev: Sequence[Item] = DEV) -> None:
        self.calls: list[list[tuple[int, Answered]]] = []
        self._dev = dev

    def __call__(self, split: str, answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        assert split == "dev"
        self.calls.append(list(answers))
        return [difflib.SequenceMatcher(None, str(text), self._dev[at].target).ratio() for at, text in answers]


class InTurn(Likeness):
    """Gives every answer of one look the same score, from a list."""

    def __init__(self, *scores: float | None) -> None:
        super().__init__()
        self._scores = scores

    def __call__(self, split: str, answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        super().__call__(split, answers)
        return [self._scores[min(len(self.calls), len(self._scores)) - 1]] * len(answers)


def here(
    model: LocalModel, scorer: Any, select: SelectSpec | None = None, progress: Any = None, **changes: Any
) -> SeedTraining:
    """Train in this process, with looks at dev after steps 4, 8 and 12."""
    spec = QUICK.model_copy(update={"select": select or SelectSpec(every=4)})
    asked = job(model, spec, **{"dev": DEV, "decoding": SHORT} | changes)
    return METHODS[spec.method](asked, scorer, progress or Silent())[0]


# ------------------------------------------------------- answered as engines answer


def asked(prompt: Prompt, item: Item, decoding: Decoding, adapter: str | None) -> Request:
    return Request(decoding, messages=chat(prompt, item), choices=item.choices or (), adapter=adapter)


def test_answers_and_likelihoods_are_those_of_the_engine_that_judges(model: LocalModel) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = str(artifacts.folder("adapters", here(model, InTurn(0.0)).adapter.digest))
    items = [*ROWS, *DEV, one_item("long", "word " * 30)]
    pairs = [item.model_copy(update={"choices": ("Yes.", " no, never", item.target)}) for item in items]
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(model.path)
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model.path), path)
        tuned.train()
        mine = Answering(tuned, tokenizer, SHORT, model.context_length)
        texts = mine.texts([prompt for item in items if (prompt := mine.prompt(PROMPT, item)) is not None])
        rows = [row for item in pairs for row in mine.choices(PROMPT, item) or ()]
        likely = mine.likelihoods(rows)
    assert tuned.training
    with TransformersEngine(model, [Adapter("tuned", path)]) as engine:
        wanted = dict(engine.answer([asked(PROMPT, item, SHORT, "tuned") for item in items]))
        scored = dict(engine.answer([asked(PROMPT, item, SHORT, "tuned") for item in pairs]))
    assert texts == [wanted[at].text for at in range(len(items))]
    assert {wanted[at].finish for at in range(len(items))} == {"stop", "length"}
    told = [value for at in range(len(pairs)) for value in scored[at].logprobs or ()]
    assert likely == pytest.approx(told, abs=1e-3)


def one_item(name: str, text: str) -> Item:
    return Item(id=name, messages=(Message(role="user", content=text),), target="y")


@pytest.mark.parametrize("method", [method for method in CONFIGS if method != "qlora"])
def test_company_in_a_batch_changes_no_answer_whatever_the_method(
    method: Any, model: LocalModel, tmp_path: Path
) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = TrainSpec(method=method, rank=4, virtual_tokens=5)
    with quiet():
        base, config = adapted(AutoModelForCausalLM.from_pretrained(model.path), spec, tmp_path)
        tuned = base if config is None else get_peft_model(base, config)
        mine = Answering(tuned, AutoTokenizer.from_pretrained(model.path), SHORT, model.context_length)
        prompts = [prompt for item in (*ROWS[:2], *DEV) if (prompt := mine.prompt(PROMPT, item)) is not None]
        golds = [row for item in (*ROWS[:2], *DEV) if (row := mine.gold(PROMPT, item)) is not None]
        together = mine.texts(prompts), mine.likelihoods(golds)
        alone = [mine.texts([prompt])[0] for prompt in prompts], [mine.likelihoods([row])[0] for row in golds]
    assert together[0] == alone[0]
    assert together[1] == pytest.approx(alone[1], abs=1e-3)


def test_choices_are_scored_by_their_likelihoods(model: LocalModel) -> None:
    dev = tuple(item.model_copy(update={"choices": (item.target, "something else")}) for item in DEV)
    seen: list[Answered] = []

    def scorer(split: str, answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        seen.extend(answer for _, answer in answers)
        return [float(answer[0] > answer[1]) for _, answer in answers if not isinstance(answer, str)]

    trained = here(model, scorer, dev=dev)
    assert len(seen) == 4 * len(dev)
    assert all(isinstance(answer, tuple) and len(answer) == 2 and max(answer) < 0 for answer in seen)
    assert [point.n for point in trained.dev] == [len(dev)] * 4


# ------------------------------------------------------------ the best checkpoint


def test_the_checkpoint_that_does_best_on_dev_comes_out_with_the_weights_it_had(
    model: LocalModel, own_home: Path
) -> None:
    from safetensors.torch import load_file

    scores = (0.2, 0.5, 0.75, 0.75, 0.1)
    with pytest.raises(KeyboardInterrupt):
        here(model, InTurn(*scores), progress=Notes(stop_at=11))
    (folder,) = own_home.glob("work/training/*")
    then = load_file(folder / "checkpoint-8" / "adapter_model.safetensors")
    trained = here(model, InTurn(0.75, 0.1))  # the looks at steps 0, 4 and 8 are not repeated
    assert [(point.step, point.score) for point in trained.dev] == [(0, 0.2), (4, 0.5), (8, 0.75), (12, 0.75)]
    assert (trained.chosen_step, trained.steps, trained.stopped_early) == (8, 12, False)
    out = load_file(artifacts.folder("adapters", trained.adapter.digest) / "adapter_model.safetensors")
    assert out.keys() == then.keys()
    assert all(bool((out[name] == then[name]).all()) for name in out)
    assert trained.dev[-1].loss is not None
    assert trained.dev[0].loss is not None
    assert trained.dev_seconds is not None
    assert not list(folder.glob("best-*"))


def test_looks_change_nothing_of_what_is_learned(model: LocalModel) -> None:
    last = here(model, InTurn(0.1, 0.2, 0.3, 0.9))
    unseen = here(model, None, SelectSpec(by="last"), dev=())
    assert last.chosen_step == 12
    assert (unseen.chosen_step, unseen.dev) == (None, ())
    assert last.adapter == unseen.adapter


@pytest.mark.parametrize("stop_at", [2, 8, 10, 12])
def test_a_training_killed_at_any_point_comes_to_the_same(
    stop_at: int, model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = here(model, Likeness())
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "killed"))
    first, again = Likeness(), Likeness()
    with pytest.raises(KeyboardInterrupt):
        here(model, first, progress=Notes(stop_at=stop_at))
    resumed = here(model, again)
    told = ("adapter", "dev", "chosen_step", "stopped_early", "findings", "curve", "curves")
    assert {name: getattr(resumed, name) for name in told} == {name: getattr(whole, name) for name in told}
    repeated = {2: 1, 8: 1, 10: 0, 12: 1}[stop_at]  # killed between the look and its checkpoint, or before the first
    assert len(first.calls) + len(again.calls) == 4 + 1 + repeated


def test_training_ends_when_dev_does_not_get_better_and_stays_ended_after_a_kill(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = SelectSpec(every=2, patience=2)
    with monkeypatch.context() as broken:
        broken.setattr(lifecycle, "read_probes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            here(model, InTurn(0.0, 0.4, 0.9, 0.9, 0.5), select)
    ended, notes = InTurn(0.0), Notes()
    trained = here(model, ended, select, notes)
    assert (trained.chosen_step, trained.steps, trained.stopped_early) == (4, 8, True)
    assert [point.step for point in trained.dev] == [0, 2, 4, 6, 8]
    assert len(ended.calls) == 1  # answers held against other questions, no look
    assert any("step 4 of 8 does best on dev (0.900), stopped early" in note for note in notes.notes)


def test_answers_without_a_score_are_missing_and_never_zero(model: LocalModel) -> None:
    def scorer(split: str, answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        return [None, None, *[1.0] * (len(answers) - 2)]

    long = one_item("long", "x" * 600)
    trained = here(model, scorer, dev=(*DEV, long))
    assert {(point.score, point.n) for point in trained.dev} == {(None, 2)}
    assert trained.chosen_step is None


def test_looks_are_a_tenth_of_the_steps_apart_and_fewer_where_they_would_cost_much() -> None:
    assert every(SelectSpec(), 600, 8, 100) == 60
    assert every(SelectSpec(), 300, 8, 100) == 50  # 2,400 rows are trained on, so 600 answers
    assert every(SelectSpec(), 30, 8, 100) == 30  # 240 rows are trained on, so 100 items are answered once
    assert every(SelectSpec(), 20, 8, 4) == FEWEST
    assert every(SelectSpec(every=7), 300, 8, 100) == 7


def test_the_bar_tells_loss_pace_and_dev(model: LocalModel) -> None:
    class Watched(Notes):
        said: tuple[str, ...] = ()

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.said = (*self.said, note)

    watched = Watched()
    trained = here(model, InTurn(0.25), progress=watched)
    assert watched.said[-1].startswith("loss ")
    assert " tokens/s, dev 0.250 (best 0.250)" in watched.said[-1]
    assert {"grad_norm"} <= set(trained.curves)


def test_the_items_of_a_look_are_spread_over_dev_and_have_no_choices_where_answers_are_generated() -> None:
    items = tuple(one_item(str(at), "x") for at in range(10))
    assert [item.id for item in spread(items, 4)] == ["0", "2", "5", "7"]
    assert spread(items, 100) == items
    assert spread((), 100) == ()
    pairs = tuple(item.model_copy(update={"choices": ("y", "z")}) for item in items)
    assert _as_asked(pairs, "exact_match") == items
    assert _as_asked(pairs, "acc") == pairs
