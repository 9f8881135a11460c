"""Preferences and rewards: what is learned is what is served, against the right reference, in the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from small_training import ROWS, Notes, job, tiny

from harness import artifacts
from harness.errors import TrainingError
from harness.models import LocalModel, quiet
from harness.progress import Silent
from harness.records import Decoding, Preference, SeedTraining, Supervision
from harness.trainers import METHODS, TrainSpec, no_scorer
from harness.trainers.base import Answered, Origin
from harness.trainers.lifecycle import build

ORIGIN = Origin("cpu", "float32", {"torch": "1"})
PAIRS = tuple(
    Preference(id=item.id, messages=item.messages, chosen=item.target, rejected=f"No idea, {n}.")
    for n, item in enumerate(ROWS)
)
QUICK = TrainSpec(
    objective="dpo", learning_rate=0.02, rank=4, batch_size=4, epochs=4, save_steps=3, select={"by": "last"}
)
SFT = TrainSpec(learning_rate=0.05, rank=4, batch_size=4, epochs=4, select={"by": "last"})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))


def spec_of(objective: str, **changes: Any) -> TrainSpec:
    return QUICK.model_copy(update={"objective": objective, **changes})


def here(model: LocalModel, spec: TrainSpec, **changes: Any) -> tuple[SeedTraining, Supervision]:
    """Train in this process: no new interpreter to wait for."""
    progress, scorer = changes.pop("progress", Silent()), changes.pop("scorer", no_scorer)
    return METHODS[spec.method](job(model, spec, **{"pairs": PAIRS} | changes), scorer, progress)


def curve(training: SeedTraining, name: str) -> list[float]:
    return [point.value for point in training.curves[name]]


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto"])
def test_preferences_are_learned_in_the_same_bits_after_a_kill(
    objective: str, model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(objective)
    whole, seen = here(model, spec)
    margins = curve(whole, "rewards/margins")
    assert margins[-1] > margins[0]
    assert seen.rows == seen.prompt_matches_serving == seen.rows_with_end_of_turn == 2 * len(PAIRS)
    assert seen.example.endswith("[[It is 1.<|im_end|>\n]]")
    assert "[[No idea, 0.<|im_end|>\n]]" in seen.more_examples[0]
    assert whole.probes is not None
    assert whole.probes.base != whole.probes.tuned
    published = artifacts.folder("adapters", whole.adapter.digest)
    assert {file.name for file in published.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "prompt.json"
    }  # fmt: skip

    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "killed"))
    with pytest.raises(KeyboardInterrupt):
        here(model, spec, progress=Notes(stop_at=5))
    resumed, _ = here(model, spec)
    assert (resumed.resumed, resumed.adapter.digest) == (1, whole.adapter.digest)


@pytest.mark.parametrize("method", ["full", "qlora", "pissa"])
def test_whatever_weights_are_trained_the_reference_is_the_model_as_it_began(method: Any, model: LocalModel) -> None:
    rate = 1e-3 if method == "full" else 0.02
    tuned, _ = here(model, spec_of("dpo", method=method, learning_rate=rate))
    assert curve(tuned, "rewards/chosen")[0] == pytest.approx(0, abs=1e-5)
    assert curve(tuned, "rewards/margins")[-1] > 1e-3
    assert tuned.adapter.kind == ("model" if method == "full" else "lora")


# ------------------------------------------------------------------ on top of an adapter


def logps(model: Any, batch: dict[str, Any]) -> list[float]:
    """Summed log-likelihood of each answer of a batch, under a PEFT model as it is switched now."""
    import torch

    ids, learned = batch["input_ids"], batch["completion_mask"][:, 1:].bool()
    model.eval()
    with torch.no_grad():
        inner = model.get_base_model()  # TRL's trainer patches the outer forward
        hidden = inner.model(input_ids=ids, attention_mask=batch["attention_mask"], use_cache=False).last_hidden_state
        told = inner.lm_head(hidden)[:, :-1].log_softmax(-1)
    picked = told.gather(-1, ids[:, 1:, None])[..., 0]
    return [float(row[mask].sum()) for row, mask in zip(picked, learned, strict=True)]


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_on_top_of_an_adapter_the_reference_is_the_model_with_that_adapter_and_stays_it(
    objective: str, model: LocalModel, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import use_adapter

    sft, _ = here(model, SFT, pairs=())
    work = job(model, spec_of(objective), pairs=PAIRS, start=sft.adapter)
    with quiet():
        trainer, *_ = build(work, no_scorer, ORIGIN, tmp_path / "work")
        batch = next(iter(trainer.get_train_dataloader()))
        base = AutoModelForCausalLM.from_pretrained(model.path, dtype="float32")
        begun = PeftModel.from_pretrained(base, str(artifacts.folder("adapters", sft.adapter.digest)))
        with use_adapter(begun, None):
            bare = logps(begun, batch)
        right, policy = logps(begun, batch), logps(trainer.model, batch)
        with use_adapter(trainer.model, "ref"):
            reference = logps(trainer.model, batch)
        trainer.train()
        after = logps(trainer.model, batch)
        with use_adapter(trainer.model, "ref"):
            reference_after = logps(trainer.model, batch)
    assert right == policy == reference == reference_after
    assert after != right
    assert max(abs(one - other) for one, other in zip(right, bare, strict=True)) > 0.1
    trained = {name for name, weights in trainer.model.named_parameters() if weights.requires_grad}
    assert trained
    assert not [name for name in trained if ".ref." in name]


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_a_preference_begins_where_its_reference_is_and_one_adapter_comes_out(
    objective: str, model: LocalModel
) -> None:
    sft, _ = here(model, SFT, pairs=())
    tuned, _ = here(model, spec_of(objective), start=sft.adapter)
    assert curve(tuned, "rewards/chosen")[0] == curve(tuned, "rewards/rejected")[0] == 0
    plain, _ = here(model, spec_of(objective))
    assert len({sft.adapter.digest, tuned.adapter.digest, plain.adapter.digest}) == 3
    published = artifacts.folder("adapters", tuned.adapter.digest)
    assert not [path for path in published.iterdir() if path.is_dir()]


def test_an_adapter_of_another_shape_than_the_spec_says_is_not_gone_on_from(model: LocalModel) -> None:
    sft, _ = here(model, SFT, pairs=())
    with pytest.raises(TrainingError, match=r"train.rank: train.start has r 4, not 8. Set train.rank: 4"):
        here(model, spec_of("dpo", rank=8), start=sft.adapter)


def test_the_likelihood_loss_of_orpo_falls_on_the_answers_alone(model: LocalModel, tmp_path: Path) -> None:
    import torch

    with quiet():
        trainer, _, _ = build(job(model, spec_of("orpo"), pairs=PAIRS), no_scorer, ORIGIN, tmp_path)
        batch = trainer.data_collator([trainer.train_dataset[at] for at in range(4)])
        with torch.no_grad():
            told = trainer.concatenated_forward(trainer.model, batch)[4]
            logits = trainer.model(batch["chosen_input_ids"], attention_mask=batch["chosen_attention_mask"]).logits
        labels = batch["chosen_labels"]
    wanted = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert (labels == -100).sum() > (labels != -100).sum()
    assert told.item() == pytest.approx(wanted.item(), rel=1e-5)


# ------------------------------------------------------------------------------- rewards

GRPO = spec_of("grpo", learning_rate=0.05, epochs=5.0, save_steps=4)
SHORT = Decoding(max_tokens=6)


def likes_o(split: Literal["train", "dev"], answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
    """A task whose right answers are rich in one letter."""
    return [min(1.0, str(text).count("o") / 2) for _, text in answers]


def test_rewards_by_the_tasks_metric_rise_and_are_learned_in_the_same_bits_after_a_kill(
    model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = here(model, GRPO, scorer=likes_o, decoding=SHORT)
    rewards = curve(whole, "reward")
    assert sum(rewards[-3:]) > sum(rewards[:3])
    assert seen.prompt_matches_serving == seen.rows == len(ROWS)
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "killed"))
    with pytest.raises(KeyboardInterrupt):
        here(model, GRPO, scorer=likes_o, decoding=SHORT, progress=Notes(stop_at=7))
    resumed, _ = here(model, GRPO, scorer=likes_o, decoding=SHORT)
    assert (resumed.resumed, resumed.adapter.digest) == (1, whole.adapter.digest)


def never_right(split: Literal["train", "dev"], answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
    return [0.0 for _ in answers]


def test_rewards_that_never_differ_stop_the_training_with_what_to_do(model: LocalModel) -> None:
    with pytest.raises(TrainingError, match=r"different rewards \(0\) in 10 looks in a row.*train.start"):
        here(model, GRPO, scorer=never_right, decoding=SHORT)


def test_a_training_goes_on_where_the_form_alone_is_rewarded_differently(model: LocalModel) -> None:
    reward = GRPO.reward.model_copy(update={"format_metric": "chrf"})
    by_form = GRPO.model_copy(update={"reward": reward, "epochs": 12.0})
    trained, _ = here(model, by_form, scorer=never_right, decoding=SHORT)
    assert trained.steps == 24
