"""What every trainer is given and gives back: the job, the scorer that it may ask, and the trainer protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from harness.models import LocalModel
from harness.progress import Progress
from harness.records import (
    AdapterRef,
    Decoding,
    DevPoint,
    Item,
    Preference,
    Prompt,
    SeedTraining,
    Supervision,
    digest,
)
from harness.trainers.spec import Method, Objective, TrainSpec

__all__ = ["Method", "Objective", "TrainSpec"]

TRAINER_VERSION = 7
"""Raise it when the same spec gives other weights, or other files beside them: earlier trainings are then not taken
over."""

LESS_MEMORY = "Set train.micro_batch_size lower, train.gradient_checkpointing: true, or method: qlora"
"""What to do when memory ran out."""


@dataclass(frozen=True, slots=True)
class Origin:
    """On what a training runs: together with its inputs, all that moves the weights."""

    device: str
    """`cpu` or `cuda`."""
    dtype: str
    """Number type of the base model's weights, or of the arithmetic on them when they are quantised."""
    packages: Mapping[str, str]
    """Versions of the libraries that train."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training of one seed: all that it may see. Nothing of the test split can be in it."""

    spec: TrainSpec
    """How."""
    prompt: Prompt
    """What is put before each row; the candidate is judged with the same."""
    model: LocalModel
    """The base model."""
    seed: int
    """Seeds initialisation and order."""
    rows: tuple[Item, ...] = ()
    """Training items with their gold answers; for grpo those whose prompts are answered."""
    pairs: tuple[Preference, ...] = ()
    """What dpo, orpo and kto learn from."""
    dev: tuple[Item, ...] = ()
    """Items by which a checkpoint is chosen; none where the last one is taken."""
    replay: tuple[Item, ...] = ()
    """General rows to be mixed in."""
    decoding: Decoding = field(default_factory=Decoding)
    """How dev items, and prompts of grpo, are answered (there with the spec's own temperature)."""
    start: AdapterRef | None = None
    """Adapter under HARNESS_HOME to go on from."""
    near: Path = Path()
    """Folder from which relative paths of the spec are meant."""
    experiment: str = ""
    """Id of the experiment, and in a sweep its trial: the name by which trackers are told. It does not count."""

    def key(self, origin: Origin) -> str:
        """Identity of this training: same inputs on the same ground, same key, and it is not done twice.

        The model's digest covers its tokenizer and chat template. Rows count in their order,
        which the sampler starts from; their ids do not count.
        """
        told = {
            "trainer": TRAINER_VERSION,
            "model": self.model.ref.digest,
            "rows": [row.digest for row in self.rows],
            "prompt": self.prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"}),
            "arguments": self.spec.arguments,
            "seed": self.seed,
            "device": origin.device,
            "dtype": origin.dtype,
            "packages": dict(origin.packages),
        }
        more: dict[str, object] = {
            "pairs": [digest(pair.model_dump(mode="json", exclude={"id"})) for pair in self.pairs],
            "dev": [row.digest for row in self.dev],
            "replay": [row.digest for row in self.replay],
            "start": self.start and self.start.digest,
        }
        if self.dev or self.spec.objective == "grpo":
            more["decoding"] = self.decoding.model_dump(mode="json")
        return digest(told | {name: value for name, value in more.items() if value})


Answered = str | tuple[float, ...]
"""A generated answer; or, to an item with choices, the summed log-likelihood (nats) of each of them."""


class Scorer(Protocol):
    """Scores answers of the model in training: by the task's own first metric, as evaluation would.

    It lives in the harness; a training in a process of its own asks it through the channel to its parent.
    """

    def __call__(self, split: Literal["train", "dev"], answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
        """One score for each answer (index of its item in `Job.rows` or `Job.dev`, answer); None where it has none."""
        ...


def looked(scorer: Scorer, point: DevPoint) -> None:
    """Tell a scorer of a look at dev, where it has a method `looked` to be told; what that raises ends the training.

    Its checkpoints stay, and nothing is published.
    """
    told = getattr(scorer, "looked", None)
    if told is not None:
        told(point)


def no_scorer(split: Literal["train", "dev"], answers: Sequence[tuple[int, Answered]]) -> list[float | None]:
    """For trainings that ask nothing."""
    raise AssertionError(f"{len(answers)} answers to {split} and nobody to score them")


class Trainer(Protocol):
    """Trains one seed. Must be resumable: killed and called again, it goes on where it was."""

    def __call__(self, job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
        """Train and publish an adapter or a model.

        Returns:
            What came out, and what the tensors showed before training began.

        Raises:
            TrainingError: A row would be cut, has nothing to learn from or is not what serving
                will send; the loss or the weights are not numbers; nothing was learned; or
                memory ran out.
        """
        ...
