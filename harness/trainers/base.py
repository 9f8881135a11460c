"""The trainer protocol and the spec that all trainers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, ValidationInfo, field_validator

from harness.models import LocalModel
from harness.partspec import PartSpec
from harness.progress import Progress
from harness.records import Item, Prompt, SeedTraining, Supervision, digest

Method = Literal["lora", "qlora"]

TRAINER_VERSION = 3
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


class TrainSpec(PartSpec):
    """How to train. Defaults are the field's for LoRA (Hu et al. 2021; Dettmers et al. 2023, section 4)."""

    method: Method = "lora"
    """`lora`: adapter on the full-precision base; `qlora`: adapter on the base in 4-bit NF4."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapter."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """LoRA scaling; default twice the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Layers that get an adapter."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    """Peak learning rate."""
    epochs: Annotated[float, Field(gt=0)] = 2.0
    """Passes over the training rows."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many optimizer steps, whatever `epochs` says."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Rows per optimizer step."""
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Rows per forward pass, when a whole batch does not fit; must divide batch_size."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps over which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the learning rate falls afterwards."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradient clipping."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Longest row in tokens; a longer row is an error, never cut. Default: the model's context."""
    gradient_checkpointing: bool = False
    """Trade a fifth of the speed for memory."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = (0,)
    """One training per seed; the best on dev is judged, or `finalists` of them, or all for a claim about the recipe."""
    instruction: str | None = None
    """Instruction to train and serve the candidate under, often shorter than the raw prompt.
    Default: the task's own."""
    save_steps: Annotated[int, Field(ge=1)] = 25
    """Optimizer steps between checkpoints from which a killed training goes on."""

    @field_validator("micro_batch_size")
    @classmethod
    def _divides(cls, micro: int | None, info: ValidationInfo) -> int | None:
        batch = info.data.get("batch_size")
        if micro and batch and batch % micro:
            raise ValueError(f"{micro} does not divide batch_size {batch}")
        return micro

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"got {list(seeds)}; one or more different whole numbers")
        return seeds

    @property
    def arguments(self) -> dict[str, Any]:
        """What identifies a training, without the seeds."""
        return self.model_dump(mode="json", exclude={"seeds", "save_steps", "instruction"})

    def key(self, model: LocalModel, rows: Sequence[Item], prompt: Prompt, seed: int, origin: Origin) -> str:
        """Identity of one training: same inputs on the same ground, same key, and it is not done twice.

        The model's digest covers its tokenizer and chat template. Rows count in their order,
        which the sampler starts from; their ids do not count.
        """
        return digest(
            {
                "trainer": TRAINER_VERSION,
                "model": model.ref.digest,
                "rows": [row.digest for row in rows],
                "prompt": prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"}),
                "arguments": self.arguments,
                "seed": seed,
                "device": origin.device,
                "dtype": origin.dtype,
                "packages": dict(origin.packages),
            }
        )


class Trainer(Protocol):
    """Trains one seed. Must be resumable: killed and called again, it goes on where it was."""

    def __call__(
        self,
        spec: TrainSpec,
        rows: Sequence[Item],
        prompt: Prompt,
        model: LocalModel,
        seed: int,
        progress: Progress,
    ) -> tuple[SeedTraining, Supervision]:
        """Train and publish an adapter.

        Args:
            spec: How.
            rows: Training items with their gold answers.
            prompt: What is put before each row; the candidate is judged with the same.
            model: The base model.
            seed: Seeds initialisation and order.

        Returns:
            What came out, and what the tensors showed before training began.

        Raises:
            TrainingError: A row would be cut, has nothing to learn from or is not what serving
                will send; the loss or the weights are not numbers; nothing was learned; or
                memory ran out.
        """
        ...
