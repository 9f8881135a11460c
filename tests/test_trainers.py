"""Trainers: what is learned is what is served, in the same bits after a kill, and nothing spoilt is published."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from small_training import (
    CHATML,
    ENDLESS,
    EOS_ENDS,
    NO_NEWLINE,
    OTHER_PROMPT,
    PROMPT,
    QUICK,
    ROWS,
    THINKING,
    Notes,
    job,
    tiny,
)

from harness import trainers
from harness.chat import chat
from harness.errors import TrainingError
from harness.models import LocalModel, quiet, turns
from harness.progress import Silent
from harness.records import Decoding, Item, Message, SeedTraining, Supervision
from harness.trainers import METHODS, Method, TrainSpec, checkpoints, no_scorer
from harness.trainers.base import Origin
from harness.trainers.lifecycle import build
from harness.trainers.order import plan
from harness.trainers.setup import arguments, one_device
from harness.trainers.supervision import MOST_BINS, lengths_of

ORIGIN = Origin("cpu", "float32", {"torch": "1"})

Result = tuple[SeedTraining, Supervision]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing trained elsewhere is taken over."""
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def here(model: LocalModel, spec: TrainSpec = QUICK, **changes: Any) -> Result:
    """Train in this process: no new interpreter to wait for."""
    progress = changes.pop("progress", Silent())
    return METHODS[spec.method](job(model, spec, **changes), no_scorer, progress)


# ------------------------------------------- resuming and order; tests/test_train_methods.py has every method


def test_how_often_checkpoints_are_written_and_how_batches_are_split_in_memory_do_not_change_what_is_learned(
    model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = QUICK.model_copy(update={"dropout": 0.0})
    often, _ = here(model, spec)
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "second"))
    seldom, _ = here(model, spec.model_copy(update={"save_steps": 100}))
    assert seldom.adapter == often.adapter
    split, _ = here(model, spec.model_copy(update={"micro_batch_size": 2, "gradient_checkpointing": True}))
    assert [p.loss for p in split.curve] == pytest.approx([p.loss for p in often.curve], rel=1e-3)


def test_a_checkpoint_that_was_cut_short_is_not_gone_on_from(model: LocalModel, own_home: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        here(model, progress=Notes(stop_at=12))
    (folder,) = own_home.glob("work/training/*")
    (folder / "checkpoint-10" / checkpoints.MARK).unlink()  # all files are there, but nobody knows
    (folder / "checkpoint-11").mkdir()
    (folder / "checkpoint-11" / "trainer_state.json").write_text('{"global_step": 11, "log_')
    assert checkpoints.last(folder).step == 5
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-5"]


def test_a_training_done_before_is_taken_over_and_tells_where_it_was_made(model: LocalModel, own_home: Path) -> None:
    first, _ = here(model)
    (done,) = own_home.glob("work/training/*/done.json")
    told = json.loads(done.read_text())
    told[0]["packages"] = {"torch": "made elsewhere"}
    done.write_text(json.dumps(told))
    notes = Notes()
    second, _ = here(model, progress=notes)
    assert "taken over" in notes.notes[0]
    assert (second.adapter, second.packages) == (first.adapter, {"torch": "made elsewhere"})


@pytest.mark.parametrize("tokens", [[7], [1, 20], [0, 21], [41, 85, 85, 60], [1, 131_072], [99, 100, 101]])
def test_rows_are_counted_by_length_in_few_bins_of_one_width_without_gaps(tokens: list[int]) -> None:
    bins = lengths_of(tokens)
    assert len(bins) <= MOST_BINS
    assert sum(one.rows for one in bins) == len(tokens)
    assert all(b.shortest == a.longest + 1 for a, b in itertools.pairwise(bins))
    assert len({one.longest - one.shortest for one in bins}) == 1
    for count in tokens:
        assert sum(one.rows for one in bins if one.shortest <= count <= one.longest) >= 1
    assert bins[0].rows >= 1 <= bins[-1].rows


def test_the_order_is_planned_from_the_seed_with_full_batches_of_like_length_and_the_longest_first() -> None:
    lengths = [10 + 7 * n % 90 for n in range(103)]
    order = plan(lengths, 4, 60, seed=1)
    assert order == plan(lengths, 4, 60, seed=1) != plan(lengths, 4, 60, seed=2)
    assert len(order) == 240
    assert {order.count(row) for row in range(103)} == {2, 3}
    assert max(lengths) in [lengths[row] for row in order[:4]]
    batches = [[lengths[row] for row in order[at : at + 4]] for at in range(0, 240, 4)]
    assert sum(max(batch) - min(batch) for batch in batches) / 60 < 20


def test_rows_are_handed_out_in_the_order_they_lie_in(model: LocalModel, tmp_path: Path) -> None:
    with quiet():
        trainer, _, _ = build(job(model), no_scorer, ORIGIN, tmp_path)
    trainer.train_dataset = trainer.train_dataset.select([5, 1, 7, 3, 0])
    handed = [row.tolist() for batch in trainer.get_train_dataloader() for row in batch["input_ids"]]
    assert handed == trainer.train_dataset["input_ids"]


# ------------------------------------------------------ what is learned is what is served


@pytest.mark.parametrize("template", [CHATML, NO_NEWLINE, EOS_ENDS], ids=["chatml", "no newline", "eos ends"])
def test_the_end_of_turn_may_be_the_templates_own_or_the_end_of_sequence(template: str, tmp_path: Path) -> None:
    _, seen = here(tiny(tmp_path / "model", template), QUICK.model_copy(update={"max_steps": 2}))
    assert seen.rows_with_end_of_turn == seen.prompt_matches_serving == len(ROWS)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (THINKING, r"8 rows would teach something else .*trained '<think>.*the answer is 'It is 1.'.*: r0, r1"),
        (OTHER_PROMPT, r"8 rows would be trained after another prompt .*served '.*assistant answering"),
        (ENDLESS, r"8 rows do not teach the end of turn: r0"),
    ],
    ids=["thinking", "other prompt", "endless"],
)
def test_a_template_that_trains_on_something_else_than_is_served_is_refused_with_the_difference(
    template: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=told):
        here(tiny(tmp_path / "model", template))


def test_a_rows_own_system_message_is_joined_to_the_instruction_as_in_evaluation(model: LocalModel) -> None:
    from transformers import AutoTokenizer

    own = Item(
        id="own", messages=(Message(role="system", content="Be brief."), *ROWS[0].messages), target=ROWS[0].target
    )
    _, seen = here(model, QUICK.model_copy(update={"max_steps": 2}), rows=(own, *ROWS))
    assert seen.example.count("<|im_start|>system") == 1
    served = turns.render(AutoTokenizer.from_pretrained(model.path), chat(PROMPT, own))
    assert seen.example == f"{served}[[{own.target}<|im_end|>\n]]"


def test_a_row_that_would_be_cut_is_refused(model: LocalModel) -> None:
    long = Item(id="long", messages=(Message(role="user", content="x" * 600),), target="y")
    with pytest.raises(TrainingError, match=r"1 rows are longer than max_length 512 and would be cut: long"):
        here(model, rows=(*ROWS, long))


def test_the_real_models_own_template_is_accepted(small_model: LocalModel, tmp_path: Path) -> None:
    template = (small_model.path / "chat_template.jinja").read_text()
    _, seen = here(tiny(tmp_path / "model", template), QUICK.model_copy(update={"max_steps": 2}))
    assert seen.prompt_matches_serving == len(ROWS)


# ------------------------------------------------------------ nothing spoilt comes out


def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path: Path, own_home: Path) -> None:
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        here(tiny(tmp_path / "model", poisoned=True))
    assert not (own_home / "adapters").exists()


def test_an_adapter_that_is_inert_or_not_a_number_is_not_published(model: LocalModel) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from harness.trainers.publish import check_adapter

    with quiet():
        base = AutoModelForCausalLM.from_pretrained(model.path)
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(TrainingError, match="nothing was learned: all B matrices"):
        check_adapter(adapted)
    grown = [weights for name, weights in adapted.named_parameters() if "lora_B" in name]
    grown[0].data[0, 0] = 0.5
    check_adapter(adapted)
    grown[0].data[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="not numbers"):
        check_adapter(adapted)


def test_even_a_single_step_learns(model: LocalModel) -> None:
    training, _ = here(model, QUICK.model_copy(update={"max_steps": 1}))
    assert training.steps == 1


def test_layers_that_the_model_does_not_have_are_named(model: LocalModel) -> None:
    with pytest.raises(TrainingError, match=r"cannot be set up: .*no_such_layer"):
        here(model, QUICK.model_copy(update={"target_modules": ("no_such_layer",)}))


def test_pickled_weights_and_remote_code_are_not_loaded(tmp_path: Path) -> None:
    import torch

    model = tiny(tmp_path / "model")
    torch.save({}, model.path / "pytorch_model.bin")
    (model.path / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match="safetensors"):
        here(model)


# --------------------------------------------------------------------- spec and key


@pytest.mark.parametrize(
    "wrong", [{"micro_batch_size": 3}, {"batch_size": 6, "micro_batch_size": 4}, {"seeds": [-1]}, {"seeds": [2**32]}]
)
def test_a_spec_that_cannot_be_trained_is_refused_when_it_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"does not divide batch_size|greater than|less than"):
        TrainSpec.model_validate(wrong)


def test_the_key_holds_everything_that_moves_the_weights_and_nothing_else(
    model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(origin: Origin = ORIGIN, **changes: Any) -> str:
        return job(changes.pop("model", model), changes.pop("spec", QUICK), **changes).key(origin)

    dev = {"dev": ROWS[:2]}
    renamed = [row.model_copy(update={"id": row.id + "x"}) for row in ROWS]
    first = key()
    assert first == key(spec=QUICK.model_copy(update={"save_steps": 7, "seeds": (0, 1)}))
    assert first == key(rows=renamed)
    assert first == key(experiment="counting--1a2b3c4d", spec=QUICK.model_copy(update={"report_to": ("wandb",)}))
    other = {
        "rows in another order": key(rows=ROWS[::-1]),
        "prompt": key(prompt=PROMPT.model_copy(update={"instruction": "Count!"})),
        "seed": key(seed=1),
        "dev": key(**dev),
        "answers to dev": key(**dev, decoding=Decoding(max_tokens=3)),
        "replay": key(replay=ROWS[:2]),
        "device": key(Origin("cuda", "float32", {"torch": "1"})),
        "dtype": key(Origin("cpu", "bfloat16", {"torch": "1"})),
        "packages": key(Origin("cpu", "float32", {"torch": "2"})),
        "argument": key(spec=QUICK.model_copy(update={"schedule": "linear"})),
        "argument passed through": key(spec=QUICK.model_copy(update={"args": {"adam_beta2": 0.99}})),
        "chat template": key(model=tiny(tmp_path / "model", NO_NEWLINE)),
    }
    monkeypatch.setattr("harness.trainers.base.TRAINER_VERSION", 99)
    other["trainer"] = key()
    assert len({first, *other.values()}) == 1 + len(other)


def test_all_arguments_but_seeds_and_housekeeping_count() -> None:
    spelled = QUICK.model_copy(update={"start": "x", "balance": "resample", "bits": 8, "report_to": ("trackio",)})
    assert {"start", "balance", "bits"} <= set(spelled.arguments)
    assert not {"seeds", "save_steps", "instruction", "report_to"} & set(spelled.arguments)


def test_several_gpus_do_not_multiply_the_batch(model: LocalModel, tmp_path: Path) -> None:
    from trl import SFTConfig

    made = SFTConfig(**arguments(job(model), len(ROWS), ORIGIN, tmp_path))
    made._n_gpu = 4
    assert made.train_batch_size == 4 * QUICK.batch_size
    assert one_device(made, QUICK.batch_size).train_batch_size == QUICK.batch_size


def test_what_a_method_needs_is_asked_for_by_method(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {"existing": {"adapter": "a"}, "command": {"command": "c"}, "managed": {"managed": {}}}
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    for method in METHODS:
        trainers.require_installed(TrainSpec.model_validate({"method": method} | needed.get(method, {})))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "bitsandbytes" else name)
    trainers.require_installed(TrainSpec())
    with pytest.raises(TrainingError, match=r"train.method qlora: bitsandbytes not installed"):
        trainers.require_installed(TrainSpec(method="qlora"))


def test_every_method_that_a_spec_may_name_has_its_trainer() -> None:
    assert set(METHODS) == set(get_args(Method))
