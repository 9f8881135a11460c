"""`search: gepa`: the instruction is rewritten by reflection on what went wrong, with the gepa package.

Agrawal et al. 2025, "GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning". Each round gepa takes
a candidate from the Pareto front over the dev items, asks it a few train rows, has a model rewrite the instruction
from the answers and what was wrong with them, and scores the rewriting on all of dev if it beats its parent on the
same rows.

What is rewritten is the instruction alone. gepa chooses no demonstrations: where `shots` holds 0, as by default, its
prompts have none; else all of them carry the same random train rows, as many as the largest of `shots`.

A failed call has no score, and gepa wants a number: it is given the mean of the batch's scored items, so that sums
and means are those of the scored. A batch of nothing but failed calls is given 0, so that gepa does not build on it.
The winner is chosen here, over the scored answers of all dev items, and an arm whose calls fail cannot win.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.chat import demonstration
from harness.errors import EngineError
from harness.prompts.faults import Outage
from harness.prompts.meter import Arm, Meter, Spent
from harness.prompts.optimisers import Fuse, concluded, package, raw_first
from harness.prompts.searching import Field, Found
from harness.prompts.spec import PromptSpec, Proposals
from harness.records import Decoding, Item, Message, Prompt, SampleRecord

PART = "instruction"
"""Name of the one text that gepa rewrites."""
MINIBATCH = 3
"""Train rows that a rewriting rests on; gepa's own default."""
TEMPERATURE = 1.0
"""Of an endpoint that rewrites, as gepa's own default; the base model, small as it may be, rewrites greedily."""
UNWRITTEN = 6
"""Rewritings that fail one after the other until the writer is taken to be gone; gepa tries each one twice."""
IDLE = 100
"""Rounds without a model call after which the search is over: there is nothing left to rewrite."""


def search(spec: PromptSpec, field: Field, meter: Meter) -> Found:
    """Search with gepa. See `Searcher`."""
    gepa = package("gepa")
    decoding = field.task.decoding
    raw = Arm(Prompt(name="raw", instruction=field.instruction), decoding, "raw")
    shown = () if 0 in spec.shots else _draw(field.train.to_learn_from(), max(spec.shots), spec.seed)
    fuse = Fuse()
    program = _Program(field.instruction, shown, decoding, meter, fuse)
    writer = _Writer(spec.proposals or Proposals(), spec.seed, meter, fuse)
    raw_first(field, meter, raw, "gepa")
    try:
        gepa.optimize(
            seed_candidate={PART: field.instruction},
            trainset=list(field.train.to_learn_from()),
            valset=list(field.order),
            adapter=program,
            reflection_lm=writer,
            reflection_minibatch_size=min(MINIBATCH, len(field.train.items)),
            stop_callbacks=_Stop(meter, fuse),
            logger=_Quiet(),
            track_best_outputs=False,
            seed=spec.seed,
        )
    except Spent:
        pass
    except Exception:  # gepa raises anything
        fuse.check()  # what was raised first tells more than what gepa made of it
        raise
    fuse.check()
    return concluded(field, meter, proposer=meter.proposer)


def _draw(rows: Sequence[Item], count: int, seed: int) -> tuple[Item, ...]:
    return tuple(random.Random(seed).sample(list(rows), min(count, len(rows))))


class _Program:
    """gepa's adapter: an instruction in this project's prompt, asked through the meter."""

    propose_new_texts: Callable[..., dict[str, str]] | None = None
    """gepa's own way of rewriting is used."""

    def __init__(self, raw: str, shown: Sequence[Item], decoding: Decoding, meter: Meter, fuse: Fuse) -> None:
        self._raw, self._shown, self._decoding = raw, shown, decoding
        self._meter, self._fuse = meter, fuse
        self._names: dict[str, str] = {}

    def evaluate(self, batch: list[Item], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """gepa's EvaluationBatch of the candidate's answers; the trajectory of an item is its sample."""
        from gepa.core.adapter import EvaluationBatch

        once = {item.id: item for item in batch}  # gepa fills its last minibatch up with rows that may be in it
        answered = self._fuse.guard(lambda: self._meter.ask(self._arm(candidate[PART]), list(once.values())))
        found = {sample.id: sample for sample in answered}
        samples = [found[item.id] for item in batch]
        return EvaluationBatch(outputs=samples, scores=filled(samples, self._meter.metric), trajectories=samples)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What was asked, what came, and what was wrong with it; failed calls teach nothing and are left out."""
        samples: list[SampleRecord] = eval_batch.trajectories
        told = [
            {"Inputs": sample.question, "Generated Outputs": sample.answer or "", "Feedback": self._feedback(sample)}
            for sample in samples
            if sample.error is None
        ]
        return dict.fromkeys(components_to_update, told)

    def _feedback(self, sample: SampleRecord) -> str:
        score = sample.scores[self._meter.metric]
        if score == 1:
            return "This answer is right."
        verdict = "This answer is wrong." if not score else f"This answer scores {score:.2f} of 1."
        return f"{verdict} The right answer is:\n{sample.target}"

    def _arm(self, instruction: str) -> Arm:
        name = self._names.setdefault(instruction, f"gepa{len(self._names)}" if self._names else "start")
        if not self._shown and instruction == self._raw:
            return Arm(Prompt(name="raw", instruction=instruction), self._decoding, "raw")
        prompt = Prompt(
            name=f"{name}+{len(self._shown)}" if self._shown else name,
            instruction=instruction,
            demonstrations=tuple(demonstration(item) for item in self._shown),
            demonstration_ids=tuple(item.id for item in self._shown),
        )
        return Arm(prompt, self._decoding, "gepa")


def filled(samples: Sequence[SampleRecord], metric: str) -> list[float]:
    """Scores with those of failed calls at the mean of the others; 0 where all failed."""
    scores = [sample.scores[metric] for sample in samples]
    scored = [score for score in scores if score is not None]
    mean = sum(scored) / len(scored) if scored else 0.0
    return [mean if score is None else score for score in scores]


@dataclass
class _Writer:
    """gepa's reflection model: the base model or an endpoint, through the meter. Each call has a seed of its own."""

    proposals: Proposals
    seed: int
    meter: Meter
    fuse: Fuse
    calls: int = 0
    failed: int = 0
    """Calls without a text, one after the other: gepa passes over one, e.g. about rows that are too long."""

    def __call__(self, prompt: str | list[dict[str, Any]]) -> str:
        """What the model writes."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        decoding = Decoding(
            max_tokens=self.proposals.max_tokens,
            temperature=0.0 if self.proposals.by == "base" else TEMPERATURE,
            seed=1000 * self.seed + self.calls,
        )
        self.calls += 1
        messages = [Message(role=turn["role"], content=turn["content"]) for turn in turns]
        try:
            written = self.meter.write(messages, decoding)
        except Spent as end:
            self.fuse.blown = end
            raise
        except EngineError as fault:
            self.failed += 1
            if self.failed >= UNWRITTEN or isinstance(fault, Outage):
                self.fuse.blown = fault
            raise
        self.failed = 0
        return written


@dataclass
class _Stop:
    """Tells gepa, before each round, whether to go on: until the budget is spent, or nothing more is asked."""

    meter: Meter
    fuse: Fuse
    before: int = -1
    idle: int = 0

    def __call__(self, state: Any) -> bool:
        """Whether to stop."""
        self.idle = self.idle + 1 if self.meter.calls == self.before else 0
        self.before = self.meter.calls
        return self.fuse.blown is not None or self.meter.left <= 0 or self.idle >= IDLE


class _Quiet:
    """gepa's log; the record tells of every arm."""

    def log(self, message: str) -> None:
        """Say nothing."""
