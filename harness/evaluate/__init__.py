"""Evaluation: a candidate's answers to a suite, scored and made durable one by one, then summarised.

Samples already on disk are not asked again, so a killed evaluation goes on where it
stopped. A call that failed is asked once more on the next sitting; a run that ends
with failed calls records them as unscored.

task        what the task is; suites made of its rows      asking    questions to scored samples
evaluating  which items are asked, and when it is enough   summary   samples to the run's manifest
together    several prompts in one call to the engine      threads   several judge's verdicts at the same time
aids        what metrics may use: code execution, a judge
"""

from harness.evaluate.aids import aided
from harness.evaluate.asking import ask, item_of, parsed
from harness.evaluate.evaluating import CHECKS, MAX_FAILED, SMALLEST_BATCH, Job, Watch, batches, evaluate, evaluate_all
from harness.evaluate.summary import summarise
from harness.evaluate.task import TASK_SUITE, TaskSpec, compares_choices, items_suite, run_id, task_suite

__all__ = [
    "CHECKS",
    "MAX_FAILED",
    "SMALLEST_BATCH",
    "TASK_SUITE",
    "Job",
    "TaskSpec",
    "Watch",
    "aided",
    "ask",
    "batches",
    "compares_choices",
    "evaluate",
    "evaluate_all",
    "item_of",
    "items_suite",
    "parsed",
    "run_id",
    "summarise",
    "task_suite",
]
