"""Which checkpoint comes out: the one whose answers to dev score best by the task's own metric.

As training goes on the model answers the dev items; the best weights so far are kept beside the checkpoints, and
what was seen is written into each checkpoint before it is marked as whole. So a killed training goes on with the looks
that its weights have had, no more and no fewer.
"""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.records import DevPoint
from harness.store import write_file
from harness.trainers.base import Answered, Job, Scorer, looked
from harness.trainers.checkpoints import Checkpoint
from harness.trainers.generating import Answering
from harness.trainers.parts import SelectSpec

STATE = "selection.json"
"""What was seen, in each checkpoint."""
LOOKS = 10
"""Looks at most, by default."""
SHARE = 0.25
"""Items answered at all looks for each row that is trained on, by default at most. An item costs two passes over its
prompt (answer, loss) and a row in training three, so looks take about a sixth of the work."""
FEWEST = 5
"""Optimizer steps between looks, by default at least."""
MOST_UNSCORED = 0.1
"""Share of the items without a score above which a look has no mean."""
CROSSED = 3
"""Other questions that each answer is held against."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at dev saw; one entry an item, in the order of `Job.dev`."""

    step: int
    scores: tuple[float | None, ...]
    """None where there is no answer or no score."""
    nats: tuple[float | None, ...]
    """Summed loss on the gold answer with its end of turn; None where it cannot be told."""
    tokens: tuple[int, ...]
    """Tokens of that."""
    seconds: float
    answers: tuple[str | None, ...] = ()
    """Generated answers, of the best look alone."""

    @property
    def mean(self) -> float | None:
        """Mean score; None where too many have none."""
        known = [score for score in self.scores if score is not None]
        return math.fsum(known) / len(known) if len(known) >= (1 - MOST_UNSCORED) * len(self.scores) else None

    @property
    def point(self) -> DevPoint:
        """As it is recorded."""
        known = [(nats, n) for nats, n in zip(self.nats, self.tokens, strict=True) if nats is not None]
        loss = math.fsum(nats for nats, _ in known) / sum(n for _, n in known) if known else None
        return DevPoint(step=self.step, score=self.mean, n=sum(score is not None for score in self.scores), loss=loss)


def every(spec: SelectSpec, steps: int, batch: int, items: int) -> int:
    """Optimizer steps between looks: what the spec says, else a tenth of all steps or what keeps looks cheap."""
    if spec.every is not None:
        return spec.every
    looks = max(1, min(LOOKS, math.floor(SHARE * steps * batch / max(1, items))))
    return max(FEWEST, math.ceil(steps / looks))


class Selection:
    """The looks of one training, and the best weights that they found."""

    def __init__(self, job: Job, scorer: Scorer, folder: Path, steps: int, earlier: Checkpoint) -> None:
        """steps: of the whole training. earlier: the checkpoint that it goes on from."""
        self._job = job
        self._scorer = scorer
        self._folder = folder
        self._steps = steps
        self._every = every(job.spec.select, steps, job.spec.batch_size, len(job.dev))
        self.looks: list[Look] = [] if earlier.path is None else _read(earlier.path / STATE)
        """Everything seen so far; step 0 is what training began from."""

    @property
    def best(self) -> Look | None:
        """The look with the best mean after step 0, first of equals; None where none has one."""
        known = [(mean, -look.step, look) for look in self.looks if look.step and (mean := look.mean) is not None]
        return max(known, key=lambda one: one[:2])[2] if known else None

    @property
    def exhausted(self) -> bool:
        """Whether so many looks in a row brought nothing better that training ends."""
        patience, best = self._job.spec.select.patience, self.best
        since = [look for look in self.looks if best is not None and look.step > best.step and look.mean is not None]
        return patience is not None and len(since) >= patience

    def wanted(self, step: int) -> bool:
        """Whether a look is due after this step and was not taken yet."""
        return (step % self._every == 0 or step == self._steps) and all(look.step != step for look in self.looks)

    def look(self, model: Any, tokenizer: Any, step: int) -> Look:
        """Answer and score dev; the weights are kept where they are the best so far."""
        started = time.monotonic()
        answers, nats, tokens = self._answers(model, tokenizer)
        known = [(at, answer) for at, answer in enumerate(answers) if answer is not None]
        scores: list[float | None] = [None] * len(answers)
        for (at, _), score in zip(known, self._scorer("dev", known), strict=True):
            scores[at] = score
        texts = tuple(answer if isinstance(answer, str) else None for answer in answers)
        seen = Look(step, tuple(scores), tuple(nats), tuple(tokens), 0.0, texts)
        self.looks.append(seen)
        if self.best is seen:
            _save(model, self._weights(step))
        seen = replace(seen, seconds=round(time.monotonic() - started, 2))
        self.looks[-1] = seen
        best = self.best
        self.looks = [look if look is best else replace(look, answers=()) for look in self.looks]
        looked(self._scorer, seen.point)
        return seen

    def write(self, checkpoint: Path) -> None:
        """Put what was seen into a checkpoint, which is then marked as whole."""
        write_file(checkpoint / STATE, json.dumps([asdict(look) for look in self.looks]))

    def tidy(self) -> None:
        """Delete kept weights other than the best; called when a checkpoint that knows them is whole."""
        best = self.best
        for path in self._folder.glob("best-*.safetensors"):
            if best is None or path != self._weights(best.step):
                path.unlink()

    def restore(self, model: Any) -> int | None:
        """Give the model its best weights and return their step; None where no look told any apart."""
        from safetensors import safe_open

        if self.best is None:
            return None
        trained = _trained(model)
        with safe_open(self._weights(self.best.step), framework="pt") as kept:
            for name, weights in trained.items():
                weights.data.copy_(kept.get_tensor(name))
        return self.best.step

    def crossed(self) -> list[tuple[float, float]]:
        """(score, mean score as an answer to other questions) of each answer of the best look, where both are known.

        An answer that has nothing to do with its question scores alike on both.
        """
        look = self.best
        if look is None:
            return []
        known = [at for at, answer in enumerate(look.answers) if answer is not None and look.scores[at] is not None]
        random.Random(0).shuffle(known)
        shifts = range(1, min(CROSSED, len(known) - 1) + 1)
        asked = [(known[(place + shift) % len(known)], at) for shift in shifts for place, at in enumerate(known)]
        scores = self._scorer("dev", [(other, look.answers[at] or "") for other, at in asked]) if asked else []
        found: dict[int, list[float | None]] = {}
        for (_, at), score in zip(asked, scores, strict=True):
            found.setdefault(at, []).append(score)
        return [
            (own, math.fsum(told) / len(told))
            for at, given in sorted(found.items())
            if (own := look.scores[at]) is not None and (told := [score for score in given if score is not None])
        ]

    def _answers(self, model: Any, tokenizer: Any) -> tuple[list[Answered | None], list[float | None], list[int]]:
        """Answers, losses on the gold answers and their tokens, one an item."""
        job = self._job
        asking = Answering(model, tokenizer, job.decoding, job.model.context_length)
        answers: list[Answered | None] = [None] * len(job.dev)
        prompts = {at: asking.prompt(job.prompt, item) for at, item in enumerate(job.dev) if not item.choices}
        fit = {at: prompt for at, prompt in prompts.items() if prompt is not None}
        for at, text in zip(fit, asking.texts(list(fit.values())), strict=True):
            answers[at] = text
        rows = {at: asking.choices(job.prompt, item) for at, item in enumerate(job.dev) if item.choices}
        told = iter(asking.likelihoods([row for found in rows.values() for row in found or ()]))
        for at, found in rows.items():
            if found is not None:
                answers[at] = tuple(next(told) for _ in found)
        gold = [asking.gold(job.prompt, item) for item in job.dev]
        likely = iter(asking.likelihoods([row for row in gold if row is not None]))
        nats = [None if row is None or not math.isfinite(value := -next(likely)) else value for row in gold]
        return answers, nats, [0 if row is None else len(row[1]) for row in gold]

    def _weights(self, step: int) -> Path:
        return self._folder / f"best-{step}.safetensors"


def _trained(model: Any) -> dict[str, Any]:
    return {name: weights for name, weights in model.named_parameters() if weights.requires_grad}


def _save(model: Any, path: Path) -> None:
    """Trained weights as they are, there whole or not at all."""
    from safetensors.torch import save_file

    beside = path.with_suffix(".part")
    save_file({name: weights.detach().contiguous() for name, weights in _trained(model).items()}, beside)
    beside.replace(path)


def _read(path: Path) -> list[Look]:
    if not path.exists():
        return []
    told: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    for one in told:
        one |= {key: tuple(value) for key, value in one.items() if isinstance(value, list)}
    return [Look(**one) for one in told]
