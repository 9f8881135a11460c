"""While it trains: the bar, looks at dev, checkpoints marked as whole, and faults that end it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import Problem, TrainingError
from harness.progress import Bar
from harness.records import CurvePoint, TrainingPoint
from harness.trainers import checkpoints
from harness.trainers.checkpoints import Checkpoint
from harness.trainers.reporting import Reporter
from harness.trainers.selection import Selection

EXPLODED = 1000.0
"""Times `max_grad_norm` from which a gradient's norm, before it is clipped, is no longer one to follow."""
IN_A_ROW = 5
"""Logged steps in a row with such a norm that end a training; a single batch may be odd."""
CURVES = ("grad_norm", "entropy", "mean_token_accuracy", "kl", "reward", "logps/")
"""Beginnings of the names of further curves that are kept."""


def follower(
    bar: Bar, folder: Path, earlier: Checkpoint, started: float, selection: Selection | None, tokenizer: Any,
    reporter: Reporter,
) -> Any:  # fmt: skip
    """A callback for one training.

    earlier: the checkpoint that it goes on from. started: `time.monotonic()` at the beginning of this sitting.
    reporter: is told of each look.
    """
    from transformers import TrainerCallback

    class Follower(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.pace = Pace()
            self.faults = Faults()

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            for seen in [] if selection is None else selection.looks:
                reporter.looked(state, seen.point)  # of an earlier sitting, as far as a tracker was behind
            if selection is not None and not selection.looks:
                self.look(model, state)
            self.pace.begin()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in (logs or {}):
                return
            self.faults.look(state.global_step, logs, args.max_grad_norm)
            self.pace.log(logs)

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if selection is not None and selection.wanted(state.global_step):
                self.look(model, state)
                control.should_save = True  # what was seen is never lost without the weights that it was seen of
                control.should_training_stop |= selection.exhausted
            bar.advance(1, self.pace.note)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            made = folder / f"checkpoint-{state.global_step}"
            if selection is not None:
                selection.write(made)
            checkpoints.mark(replace(checkpoints.so_far(earlier, started), path=made))
            if selection is not None:
                selection.tidy()

        def look(self, model: Any, state: Any) -> None:
            if selection is None:
                return
            seen, best = selection.look(model, tokenizer, state.global_step), selection.best
            reporter.looked(state, seen.point)
            self.pace.looked(seen.seconds, seen.mean, best.mean if best is not None else None)

    return Follower()


class Pace:
    """What is told beside the bar: loss, tokens a second without the looks, score on dev."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._tokens: float | None = None
        self._parts: dict[str, str] = {}

    @property
    def note(self) -> str:
        """For the bar."""
        return ", ".join(self._parts[name] for name in ("loss", "pace", "dev") if name in self._parts)

    def begin(self) -> None:
        """Training begins now."""
        self._since = time.monotonic()

    def log(self, logs: Mapping[str, float]) -> None:
        """TRL's own log; `num_tokens` counts from the beginning of the sitting."""
        self._parts["loss"] = f"loss {float(logs['loss']):.3f}"
        tokens, now = logs.get("num_tokens"), time.monotonic()
        if tokens is not None and now > self._since:
            self._parts["pace"] = f"{(tokens - (self._tokens or 0.0)) / (now - self._since):,.0f} tokens/s"
        self._tokens, self._since = tokens, now

    def looked(self, seconds: float, mean: float | None, best: float | None) -> None:
        """A look at dev took so long."""
        self._since += seconds
        told = "no score" if mean is None else f"{mean:.3f}"
        self._parts["dev"] = f"dev {told}" + (f" (best {best:.3f})" if best is not None else "")


class Faults:
    """Ends a training that cannot come to anything."""

    def __init__(self) -> None:
        self._large = 0

    def look(self, step: int, logs: Mapping[str, float], clipped_at: float) -> None:
        """Raise TrainingError for a loss or gradients that are not numbers, or gradients that explode."""
        loss, norm = float(logs["loss"]), logs.get("grad_norm")
        hint = "Lower train.learning_rate, or check data and base model"
        when, cure = f"at step {step}", hint
        if step == 1:  # the first step is logged always, and its loss is the base model's
            when, cure = "at step 1, before anything was learned", "Check the base model's weights, and the rows"
        if not math.isfinite(loss):
            raise TrainingError(Problem("train", f"the loss is {loss} {when}", next=cure))
        if norm is not None and not math.isfinite(norm):
            raise TrainingError(Problem("train", f"the gradient's norm is {norm} {when}", next=cure))
        bound = EXPLODED * clipped_at
        self._large = self._large + 1 if norm is not None and norm > bound else 0
        if self._large >= IN_A_ROW:
            told = [f"{value:,.0f}" if value >= 10 else f"{value:.2g}" for value in (norm or 0.0, bound)]
            what = f"gradients explode: norm {told[0]} at step {step}, above {told[1]} at {IN_A_ROW} logs in a row"
            raise TrainingError(Problem("train", what, next=hint))


def curve(history: Sequence[Mapping[str, Any]]) -> tuple[TrainingPoint, ...]:
    """The training loss, off TRL's log."""
    return tuple(
        TrainingPoint(step=point["step"], loss=point["loss"], learning_rate=point.get("learning_rate"))
        for point in history
        if "loss" in point
    )


def further_curves(history: Sequence[Mapping[str, Any]]) -> dict[str, tuple[CurvePoint, ...]]:
    """What else is worth keeping of TRL's log, by its name there."""
    found: dict[str, list[CurvePoint]] = {}
    for point in history:
        for name, value in point.items():
            if name.startswith(CURVES) and isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, []).append(CurvePoint(step=point["step"], value=value))
    return {name: tuple(points) for name, points in found.items()}
