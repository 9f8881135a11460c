"""The `train` part of an experiment: what is learned, by which method, and with which arguments."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.errors import did_you_mean
from harness.partspec import PartSpec
from harness.trainers import searching
from harness.trainers.parts import (
    ClassifierSpec,
    FeedbackSpec,
    ManagedSpec,
    PreferenceSpec,
    ReplaySpec,
    RewardSpec,
    SelectSpec,
    SweepSpec,
    TeacherSpec,
)

Method = Literal[
    "lora", "rslora", "dora", "pissa", "loftq", "ia3", "prompt_tuning", "prefix_tuning", "adaption_prompt",
    "qlora", "full", "classifier", "existing", "command", "managed",
]  # fmt: skip
Objective = Literal["sft", "dpo", "orpo", "kto", "grpo"]

OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)
ELSEWHERE: Final[frozenset[Method]] = frozenset({"existing", "command", "managed"})
"""Methods whose weights come from somewhere else."""

UNREAD: Final = (
    "start", "rank", "alpha", "dropout", "target_modules", "virtual_tokens", "learning_rate", "epochs", "max_steps",
    "batch_size", "micro_batch_size", "warmup", "schedule", "weight_decay", "max_grad_norm", "max_length",
    "gradient_checkpointing", "select", "reward", "sweep", "classifier", "report_to",
)  # fmt: skip
"""Fields that say how weights are trained here: none of them reaches a service."""

PLACEHOLDERS: Final = ("data", "output", "model", "seed")
"""What `{NAME}` in a command can stand for."""

HOUSEKEEPING: Final = frozenset({"seeds", "save_steps", "instruction", "sweep", "report_to"})
"""Fields that do not move the weights of one training, or are counted elsewhere."""


class TrainSpec(PartSpec):
    """How to train. Defaults are the field's; docs/training.md gives their sources."""

    method: Method = "lora"
    """Which weights are trained, and in which form. An objective's name is taken as well: `method: dpo` is
    `objective: dpo` with `method: lora`."""
    objective: Objective = "sft"
    """What is learned from: `sft` gold answers; `dpo`, `orpo` pairs of answers; `kto` answers found good or bad; `grpo`
    rewards by the task's own metric."""
    start: str | None = None
    """Adapter to go on from, e.g. one of supervised fine-tuning under DPO: its folder, or the id of an experiment whose
    judged adapter it is. It is the reference model too, where the objective has one."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapter."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """LoRA scaling; default twice the rank, 8 for rslora, and the rank for pissa and loftq."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Layers that get an adapter. `all-linear` is every linear layer but the last; for ia3, which rescales keys, values
    and inner activations, it is what PEFT knows of them in the model's architecture."""
    virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """Length of the learned prompt or prefix (prompt_tuning, prefix_tuning, adaption_prompt)."""
    bits: Literal[4, 8] = 4
    """Bits of the quantised base: 4 is NF4, with double quantisation under qlora; 8 is int8 (qlora, loftq)."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Peak learning rate; default by method and objective, see docs/training.md."""
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
    balance: Literal["none", "weighted_loss", "resample"] = "none"
    """Against class imbalance, by the rows' gold answers: rarer ones weigh more, or are drawn more often."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of TRL's configuration of the objective, e.g. {neftune_noise_alpha: 5}; those that the harness
    sets itself have a key of their own here."""
    peft_args: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of PEFT's configuration of the method, e.g. {modules_to_save: [lm_head]}."""
    select: SelectSpec = SelectSpec()
    """Which checkpoint is the candidate."""
    preference: PreferenceSpec = PreferenceSpec()
    """Preferences (dpo, orpo, kto)."""
    reward: RewardSpec = RewardSpec()
    """Rewards (grpo)."""
    replay: ReplaySpec | None = None
    """General rows among the task's, against forgetting."""
    teacher: TeacherSpec | None = None
    """Learn from the answers of a teacher (distillation)."""
    feedback: FeedbackSpec | None = None
    """Learn from pairs that an AI judge made (with objective dpo, orpo or kto)."""
    sweep: SweepSpec | None = None
    """Search over fields of `train` first; the best on dev is trained with every seed."""
    adapter: str | None = None
    """Folder of an adapter that was trained elsewhere (existing)."""
    command: str | None = None
    """A command that trains (command). `{data}`, `{output}`, `{model}`, `{seed}` stand for the folder of its files,
    the folder that it writes an adapter or a model to, the base model's folder, and the seed."""
    classifier: ClassifierSpec = ClassifierSpec()
    """The label head (classifier)."""
    managed: ManagedSpec | None = None
    """A fine-tuning job at a service (managed)."""
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ()
    """Trackers that get the learning curves, through their own packages."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = (0,)
    """One training per seed; the best on dev is judged, or `finalists` of them, or all for a claim about the recipe."""
    instruction: str | None = None
    """Instruction to train and serve the candidate under, often shorter than the raw prompt.
    Default: the task's own."""
    save_steps: Annotated[int, Field(ge=1)] = 25
    """Optimizer steps between checkpoints from which a killed training goes on."""

    @model_validator(mode="before")
    @classmethod
    def _objective_as_method(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("method") in OBJECTIVES:
            return {**given, "objective": given["method"], "method": "lora"}
        return given

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

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        for name in sorted(ELSEWHERE):
            key = "adapter" if name == "existing" else name
            if (getattr(self, key) is not None) != (self.method == name):
                raise ValueError(f"{key}: belongs to method: {name}, and that needs it; the method is {self.method}")
        if self.feedback is not None and self.objective not in ("dpo", "orpo", "kto"):
            raise ValueError(f"feedback: makes preferences, which objective {self.objective} does not learn from")
        if self.dropout and self.objective in ("dpo", "kto", "grpo"):
            raise ValueError(f"dropout: {self.objective} compares and samples answers without any; leave it out")
        for problem in searching.problems(self):
            raise ValueError(problem)
        self._rows_go_together()
        if self.managed is not None:
            self._for_a_service(self.managed)
        if self.method == "loftq" and self.alpha not in (None, self.rank):
            raise ValueError(f"alpha: {self.alpha:g}; LoftQ's initialisation is right for alpha = rank alone")
        if self.replay is not None and self.replay.kl and self.method in ("full", "pissa", "loftq"):
            raise ValueError(f"replay.kl: needs the base model beside the trained one, and {self.method} changes it")
        if self.method == "prefix_tuning" and self.gradient_checkpointing:
            raise ValueError("gradient_checkpointing: PEFT cannot do it with prefix_tuning")
        return self

    def _rows_go_together(self) -> None:
        """What changes the rows needs somebody who learns from them here, by supervised fine-tuning."""
        given = [name for name in ("teacher", "replay") if getattr(self, name) is not None]
        given += ["balance"] if self.balance != "none" else []
        for name in given:
            if self.objective != "sft" or (self.feedback is not None):
                raise ValueError(f"{name}: goes with objective sft, not {self.objective}")
            if self.method == "existing" or (name == "balance" and self.method in ELSEWHERE):
                raise ValueError(f"{name}: has no part in method {self.method}")
        if self.method == "classifier" and (self.objective != "sft" or self.teacher or self.replay):
            raise ValueError("method: a classifier learns the labels of the rows alone (objective sft)")
        if self.replay is not None and self.replay.kl and self.method in ELSEWHERE:
            raise ValueError(f"replay.kl: method {self.method} computes its own loss; leave it out")
        if self.method == "existing" and len(self.seeds) > 1:
            raise ValueError("seeds: an adapter that exists was trained once; name one seed")
        for name in re.findall(r"\{(\w+)\}", self.command or ""):
            if name not in PLACEHOLDERS:
                raise ValueError(f"command: unknown placeholder {{{name}}}. {did_you_mean(name, PLACEHOLDERS)}")
        if self.command is not None and not _split(self.command):
            raise ValueError("command: is empty, or a quote in it is not closed")

    def _for_a_service(self, managed: ManagedSpec) -> None:
        """A service trains by its own arguments, and knows its own objectives and seeds."""
        known = ("sft",) if managed.service == "fireworks" else ("sft", "dpo")
        if self.objective not in known:
            what = f"objective: {managed.service} is not asked for {self.objective}, only for {' and '.join(known)}"
            raise ValueError(f"{what}; train it here with another method")
        for name in UNREAD:
            if getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True):
                hint = (
                    f"put it into managed.hyperparameters by the name that {managed.service} gives it, or leave it out"
                )
                raise ValueError(f"{name}: has no effect on a job at a service; {hint}")
        if self.preference.loss is not None:
            raise ValueError("preference.loss: a service has its own; leave it out")
        if managed.service == "fireworks" and len(self.seeds) > 1:
            raise ValueError("seeds: fireworks takes no seed, so several jobs would differ by chance alone; name one")

    @property
    def rate(self) -> float:
        """The learning rate that is used."""
        if self.learning_rate is not None:
            return self.learning_rate
        return float(f"{RATES.get(self.method, 2e-4) * SHARES.get(self.objective, 1.0):.3g}")

    @property
    def scaling_alpha(self) -> float:
        """LoRA's alpha that is used."""
        if self.alpha is not None:
            return self.alpha
        return {"rslora": 8.0, "pissa": float(self.rank), "loftq": float(self.rank)}.get(self.method, 2.0 * self.rank)

    @property
    def served_rank(self) -> int:
        """Rank of the LoRA adapter that is served, the largest of a sweep: one of PiSSA's takes back what it took out
        of the base model."""
        largest = max(searching.possible(self, "rank"))
        return 2 * int(largest) if "pissa" in searching.possible(self, "method") else int(largest)

    @property
    def arguments(self) -> dict[str, Any]:
        """What identifies a training, without the seeds: only what differs from a default, and what always counts."""
        always = self.model_dump(mode="json", include=set(_ALWAYS))
        told = self.model_dump(mode="json", exclude_defaults=True, exclude={*_ALWAYS, *HOUSEKEEPING})
        if self.managed is not None:  # nothing else reaches the service
            return {"method": self.method, **told}
        return {**always, **told, "learning_rate": self.rate}


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


RATES: Final[dict[Method, float]] = {
    "full": 1e-5, "classifier": 5e-4, "pissa": 2e-5, "ia3": 3e-3, "prompt_tuning": 3e-2, "prefix_tuning": 1e-2,
    "adaption_prompt": 9e-3,
}  # fmt: skip
"""Default learning rates of supervised fine-tuning by method; all others 2e-4."""

SHARES: Final[dict[Objective, float]] = {"dpo": 0.1, "orpo": 0.25, "kto": 0.1, "grpo": 0.05}
"""Share of them by objective."""

_ALWAYS = (
    "method", "rank", "alpha", "dropout", "target_modules", "learning_rate", "epochs", "max_steps", "batch_size",
    "micro_batch_size", "warmup", "schedule", "weight_decay", "max_grad_norm", "max_length", "gradient_checkpointing",
)  # fmt: skip
