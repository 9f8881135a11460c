"""What a training's curves say against it: overfitting and labels without meaning by name, nothing by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import TrainingError
from harness.records import TrainingPoint
from harness.trainers.following import IN_A_ROW, Faults, further_curves
from harness.trainers.overfitting import findings
from harness.trainers.selection import Look

N = 100
FALLING = tuple(TrainingPoint(step=step, loss=2.0 * 0.95**step) for step in range(1, 51))
FLAT = tuple(TrainingPoint(step=step, loss=2.0) for step in range(1, 51))


def look(step: int, share: float, loss: float, dice: np.random.Generator) -> Look:
    """A look at items that are right with this probability, and have about this loss."""
    right = (dice.random(N) < share).astype(float)
    nats = np.abs(dice.normal(loss, 0.3 * loss, N)) * 5
    return Look(step, tuple(right), tuple(nats), (5,) * N, 0.1)


def looks(shares: list[float], losses: list[float], seed: int = 0) -> list[Look]:
    dice = np.random.default_rng(seed)
    return [look(10 * at, share, loss, dice) for at, (share, loss) in enumerate(zip(shares, losses, strict=True))]


def said(seen: list[Look], curve: Any = FALLING, crossed: Any = ()) -> list[tuple[str, str]]:
    best = max(seen[1:], key=lambda one: (one.mean or 0, -one.step))
    return [(found.rule, found.message) for found in findings(curve, seen, best, crossed)]


def test_a_score_on_dev_that_falls_while_the_training_loss_falls_is_overfitting_with_steps_and_figures() -> None:
    ((rule, message),) = said(looks([0.1, 0.8, 0.8, 0.5, 0.3], [1.0] * 5))
    assert rule == "overfitting"
    assert "the score on dev went from 0." in message
    assert "at step 10 to 0." in message or "at step 20 to 0." in message
    assert "at step 40 (difference in [-0." in message
    assert "training loss fell from" in message


def test_a_loss_on_dev_that_rises_is_overfitting_even_where_the_score_holds() -> None:
    ((rule, message),) = said(looks([0.1, 0.8, 0.8, 0.8, 0.8], [2.0, 1.0, 0.6, 0.9, 1.4]))
    assert rule == "overfitting"
    assert "the loss on dev went from 0." in message
    assert "score" not in message


def test_dev_that_gets_worse_while_the_training_loss_stays_is_something_else() -> None:
    assert said(looks([0.1, 0.8, 0.8, 0.5, 0.3], [1.0] * 5), FLAT) == []


def test_a_training_loss_that_ends_far_above_its_start_has_diverged_whether_or_not_dev_was_asked() -> None:
    rising = tuple(TrainingPoint(step=step, loss=2.0 * 1.05**step) for step in range(1, 51))
    (found,) = findings(rising, (), None, ())
    assert found.rule == "diverged"
    assert "rose from 2.785" in found.message
    assert "lower train.learning_rate" in found.message
    assert [rule for rule, _ in said(looks([0.1, 0.1], [1.0, 1.0]), rising)] == ["diverged"]


@pytest.mark.parametrize("losses", [[2.0] * 50, [2.0, 9.0] * 25, [0.001, 0.002, 0.003] * 8, [1.0, 9.0]])
def test_a_loss_that_is_flat_noisy_near_zero_or_short_has_not_diverged(losses: list[float]) -> None:
    curve = tuple(TrainingPoint(step=step, loss=loss) for step, loss in enumerate(losses, 1))
    assert findings(curve, (), None, ()) == ()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_noise_around_a_level_is_no_overfitting(seed: int) -> None:
    assert said(looks([0.1, *[0.6] * 10], [2.0, *[0.8] * 10], seed)) == []


def pairs(share: float, other: float, n: int = N, seed: int = 0) -> list[tuple[float, float]]:
    dice = np.random.default_rng(seed)
    return [(float(dice.random() < share), float(np.mean(dice.random(3) < other))) for _ in range(n)]


def test_answers_that_fit_other_questions_as_well_as_their_own_are_no_better_than_chance() -> None:
    seen = looks([0.0, 0.1, 0.1], [2.0, 1.9, 1.9])
    ((rule, message),) = said(seen, crossed=pairs(0.1, 0.1))
    assert rule == "no_better_than_chance"
    assert "labels that are shuffled" in message
    assert f"n = {N}" in message
    assert said(seen, crossed=pairs(0.35, 0.1)) == []
    assert said(seen, crossed=pairs(0.1, 0.1, 10)) == []  # too few to say anything
    assert said(seen, FLAT, pairs(0.1, 0.1)) == []  # nothing was learned at all


def test_a_low_score_above_chance_on_few_items_is_no_fault() -> None:
    seen = looks([0.0, 0.2, 0.2], [2.0, 1.9, 1.9])
    assert said(seen, crossed=[(1.0, 0.0)] * 4 + [(0.0, 0.0)] * 16) == []


def log(**values: float) -> dict[str, float]:
    return {"loss": 1.0, "grad_norm": 1.0} | values


def test_gradients_that_are_not_numbers_or_explode_stop_the_training() -> None:
    with pytest.raises(TrainingError, match=r"the gradient's norm is inf at step 3.*Lower train.learning_rate"):
        Faults().look(3, log(grad_norm=float("inf")), 1.0)
    with pytest.raises(TrainingError, match="the loss is nan at step 3"):
        Faults().look(3, log(loss=float("nan")), 1.0)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1, before anything was learned. Check the base"):
        Faults().look(1, log(loss=float("nan")), 1.0)
    small = Faults()
    for step in range(IN_A_ROW - 1):
        small.look(step, log(grad_norm=3.0), 1e-5)
    with pytest.raises(TrainingError, match=r"gradients explode: norm 3 at step 4, above 0.01 at 5 logs in a row"):
        small.look(4, log(grad_norm=3.0), 1e-5)
    faults = Faults()
    for step in range(IN_A_ROW - 1):
        faults.look(step, log(grad_norm=5000.0), 1.0)
    faults.look(10, log(), 1.0)  # one that can be followed: the count begins anew
    for step in range(IN_A_ROW - 1):
        faults.look(step, log(grad_norm=5000.0), 1.0)
    with pytest.raises(
        TrainingError, match=r"gradients explode: norm 5,000 at step 20, above 1,000 at 5 logs in a row"
    ):
        faults.look(20, log(grad_norm=5000.0), 1.0)


def test_further_curves_are_kept_by_name_and_hold_numbers_alone() -> None:
    history = [log(step=1, kl=0.1, step_time=3.0), log(step=2, kl=float("nan")) | {"rewards/margins": 0.5}]
    kept = further_curves(history)
    assert {name: [(point.step, point.value) for point in points] for name, points in kept.items()} == {
        "grad_norm": [(1, 1.0), (2, 1.0)], "kl": [(1, 0.1)], "rewards/margins": [(2, 0.5)]
    }  # fmt: skip


def test_memory_that_runs_out_on_a_cpu_is_told_with_what_would_help() -> None:
    from harness.trainers.lifecycle import _told_when_full

    said = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 2218786816 bytes. Error 12"
    told = r"out of memory: 2,116 MiB more were wanted at once\. Set train\.micro_batch_size"
    with pytest.raises(TrainingError, match=told), _told_when_full():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shapes"), _told_when_full():
        raise RuntimeError("shapes do not match")
