"""`search: dspy`: demonstrations are bootstrapped and drawn at random, with DSPy's BootstrapFewShotWithRandomSearch.

Khattab et al. 2024, "DSPy: Compiling Declarative Language Model Calls into Self-Improving Pipelines". A candidate is
the raw instruction with a set of demonstrations: the first few train rows that a few-shot teacher answers rightly, in
the words of its answer, filled up with labelled rows. Candidates are the raw prompt, labelled rows alone, and then
bootstrapped sets over other draws of train rows until the budget is spent; each is scored on all of dev.

MIPROv2 is not used: it wants a model that writes instructions in DSPy's own field format, which small models do not
keep to, and hundreds of calls before its first trial.

DSPy's program is one `Predict`, but its adapter puts the question in this project's chat form and asks the meter, so
that task, parser and scores are the same as everywhere. A failed call is no demonstration, and is left out of the
mean by which the winner is chosen here. DSPy's caches are not used, and it prints nothing.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness import metrics
from harness.chat import demonstration
from harness.errors import Problem, UsageError
from harness.prompts.meter import Arm, Meter
from harness.prompts.optimisers import Fuse, concluded, package, raw_first
from harness.prompts.searching import Field, Found
from harness.prompts.spec import PromptSpec
from harness.records import Item, Prompt, SampleRecord

BOOTSTRAPPED = 4
"""Demonstrations in the teacher's words at most; DSPy's own default."""
ROWS = 32
"""Train rows drawn for a candidate: at most so many are asked of the teacher."""
CANDIDATES = 500
"""More are not tried, however large the budget: on few train rows they only repeat."""
RIGHT, HALF_RIGHT = 1.0, 0.5
"""Score from which an answer is a demonstration, by a metric of right and wrong and by one of shares."""


def search(spec: PromptSpec, field: Field, meter: Meter) -> Found:
    """Search with DSPy. See `Searcher`."""
    shots = max(spec.shots, default=0)
    if not shots:
        hint = "Let shots hold a number above 0, or take another search"
        raise UsageError(
            Problem("prompt.shots", "search: dspy chooses demonstrations, and shots allows none", next=hint)
        )
    dspy = package("dspy")
    raw = Arm(Prompt(name="raw", instruction=field.instruction), field.task.decoding, "raw")
    raw_first(field, meter, raw, "dspy")
    fuse = Fuse()
    bridge = _Bridge(field, raw, meter, fuse)
    adapter = _adapter(dspy, bridge)
    program = dspy.Predict("row -> answer")  # the instruction is put in by the bridge, as it stands
    dev = [dspy.Example(row=_key("dev", item)).with_inputs("row") for item in field.order]
    for seed in range(-3, CANDIDATES):
        if fuse.blown is not None:
            break
        rows = _draw(field.train.to_learn_from(), spec.seed, seed)
        train = [dspy.Example(row=_key("train", item), answer=item.target).with_inputs("row") for item in rows]
        bridge.label = _label(seed)
        with bridge.silenced(), dspy.context(lm=dspy.BaseLM(model="meter"), adapter=adapter, disable_history=True):
            optimiser = dspy.BootstrapFewShotWithRandomSearch(
                metric=_right,
                metric_threshold=RIGHT if metrics.get(meter.metric).binary else HALF_RIGHT,
                num_candidate_programs=max(1, seed + 1),
                num_threads=1,
                max_errors=ROWS + len(dev) + 1,  # the fuse ends it, not a count
                max_bootstrapped_demos=min(BOOTSTRAPPED, shots),
                max_labeled_demos=shots,
            )
            optimiser.compile(program, trainset=train, valset=dev, restrict=[seed])
    fuse.check()
    return concluded(field, meter)


def _label(seed: int) -> str:
    """Name of DSPy's candidate of this seed."""
    return {-3: "raw", -2: "labelled", -1: "bootstrap0"}.get(seed, f"bootstrap{seed + 1}")


def _draw(rows: Sequence[Item], seed: int, candidate: int) -> list[Item]:
    return random.Random(f"{seed}/{candidate}").sample(list(rows), min(ROWS, len(rows)))


def _key(split: str, item: Item) -> str:
    return f"{split}/{item.id}"


def _right(example: Any, prediction: Any, trace: Any = None) -> float:
    """DSPy's metric: the task's own score. A failed call is not right; the winner is not chosen by this number."""
    score: float | None = prediction.score
    return 0.0 if score is None else score


def _adapter(dspy: Any, bridge: _Bridge) -> Any:
    """DSPy's adapter: what it would format and parse is asked through the bridge."""

    class MeterAdapter(dspy.Adapter):  # type: ignore[misc]  # DSPy is imported only where it is used
        def __call__(
            self, lm: Any, lm_kwargs: Any, signature: Any, demos: Sequence[Any], inputs: Mapping[str, str]
        ) -> list[dict[str, Any]]:
            shown = [(demo["row"], demo["answer"]) for demo in demos]
            sample = bridge.ask(shown, inputs["row"])
            return [{"answer": sample.answer or "", "score": sample.scores[bridge.metric]}]

    return MeterAdapter()


class _Reserved(Exception):
    """The teacher may ask no more: what is left is what the candidate needs to meet dev."""


class _Bridge:
    """From DSPy's one call at a time to the meter's batches, and from its rows back to items."""

    def __init__(self, field: Field, raw: Arm, meter: Meter, fuse: Fuse) -> None:
        self.label = ""
        """Name of the candidate at hand."""
        self._items = {_key("train", item): item for item in field.train.to_learn_from()}
        self._items |= {_key("dev", item): item for item in field.order}
        self._order, self._raw, self._meter, self._fuse = field.order, raw, meter, fuse
        self._streams = (sys.stdout, sys.stderr)

    @property
    def metric(self) -> str:
        """The metric that is optimised."""
        return self._meter.metric

    def ask(self, shown: Sequence[tuple[str, str]], row: str) -> SampleRecord:
        """The answer to one row. The first dev row of an arm asks all of dev at once: DSPy goes on to the others."""
        split, item = row.partition("/")[0], self._items[row]
        arm = self._arm(shown, split)
        if split == "dev":
            samples = self._fuse.guard(lambda: self._heard(lambda: self._meter.ask(arm, self._order)))
            return next(sample for sample in samples if sample.id == item.id)
        if self._fuse.blown is None and self._meter.left <= self._meter.cost(arm, self._order):
            raise _Reserved
        return self._fuse.guard(lambda: self._heard(lambda: self._meter.ask(arm, [item])))[0]

    def _arm(self, shown: Sequence[tuple[str, str]], split: str) -> Arm:
        if not shown:
            return self._raw
        rows = [self._items[row].model_copy(update={"target": answer}) for row, answer in shown]
        role = "" if split == "dev" else " teacher"
        prompt = Prompt(
            name=f"{self.label}+{len(shown)}{role}",
            instruction=self._raw.prompt.instruction,
            demonstrations=tuple(demonstration(row) for row in rows),
            demonstration_ids=tuple(row.id for row in rows),
        )
        return Arm(prompt, self._raw.decoding, "dspy")

    @contextlib.contextmanager
    def silenced(self) -> Iterator[None]:
        """DSPy prints, logs and draws bars of its own; inside `_heard` the streams are as they were."""
        self._streams = (sys.stdout, sys.stderr)
        log = logging.getLogger("dspy")
        level = log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            log.setLevel(level)

    def _heard(self, call: Callable[[], list[SampleRecord]]) -> list[SampleRecord]:
        out, err = self._streams
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return call()
