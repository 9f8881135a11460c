"""The bar: the best prompt that a stated budget of model calls finds, on train and dev alone."""

from harness.prompts.arms import PromptSpec, arms, draw_demonstrations, instruction_variants, raw_prompt
from harness.prompts.race import no_search, race

__all__ = [
    "PromptSpec",
    "arms",
    "draw_demonstrations",
    "instruction_variants",
    "no_search",
    "race",
    "raw_prompt",
]
