"""Baselines that stand beside the raw and the best prompt: few-shot, reasoning, retrieval, majority."""

from __future__ import annotations

from harness.data import Split
from harness.evaluate import TaskSpec
from harness.prompts.answers import majority
from harness.prompts.instructions import ANSWER_MARK, reasoned
from harness.prompts.meter import Arm
from harness.prompts.space import MOST_FEW, Recipe, Shown, looked_up, make_space, reasoning_decoding
from harness.prompts.spec import PromptSpec
from harness.records import Prompt
from harness.retrieval import Shelves


def raw_prompt(instruction: str) -> Prompt:
    """The task's own instruction and nothing else."""
    return Prompt(name="raw", instruction=instruction)


def contestants(spec: PromptSpec, task: TaskSpec, instruction: str, train: Split, shelves: Shelves) -> dict[str, Arm]:
    """The baselines of `spec.contestants`, by name; `majority` only where answers are a closed set. Asks no model.

    few_shot: train rows drawn at random and spread over the answers, as many as the largest of `shots` up to
    `MOST_FEW`. cot: reasoning first, the answer after a mark. rag: what is nearest to the question before it, from
    the documents as text, or else from the train rows as worked examples: a row holds a question and its answer, and
    models take it for one when it looks like one. Raises UsageError when documents are named that cannot be read.
    """
    made: dict[str, Arm] = {}
    if "few_shot" in spec.contestants:
        made["few_shot"] = _few_shot(spec, task, instruction, train)
    if "cot" in spec.contestants:
        prompt = Prompt(name="cot", instruction=reasoned(instruction), answer_after=ANSWER_MARK)
        made["cot"] = Arm(prompt, reasoning_decoding(spec, task), "contestant")
    if "rag" in spec.contestants:
        found = (
            looked_up(spec, shelves, "train", "demonstrations", spec.retrieval.count)
            if spec.retrieval.documents is None
            else looked_up(spec, shelves, "documents", "context", spec.retrieval.count)
        )
        made["rag"] = Arm(Prompt(name="rag", instruction=instruction, retrieval=found), task.decoding, "contestant")
    answer = majority(train) if "majority" in spec.contestants else None
    if answer is not None:
        prompt = Prompt(name="majority", instruction=instruction, fixed_answer=answer)
        made["majority"] = Arm(prompt, task.decoding, "contestant")
    return made


def _few_shot(spec: PromptSpec, task: TaskSpec, instruction: str, train: Split) -> Arm:
    """The same rows as the first balanced set of that size in the search: the search has met this prompt."""
    count = max((shots for shots in spec.shots if 0 < shots <= MOST_FEW), default=MOST_FEW)
    shown = Shown("balanced", min(count, len(train.items)))
    arm = make_space(spec, task, instruction, train, None).arm(Recipe(shown=shown))
    return Arm(arm.prompt.model_copy(update={"name": "few_shot"}), arm.decoding, "contestant")
