"""The bar: the best prompt that a stated budget of model calls finds, on train and dev alone.

search       one entry for all methods, and the record        searching     the seam between them
race         this project's own method                        gepa_search, dspy_search  other optimisers
contest      arms on shared items, and how they fall          generations   which arms enter
standing     what can be said of two arms                     space         what a prompt is made of
meter        every call is counted and durable                trace         how good it was when
instructions, demonstrations, answers   its parts             contestants   baselines beside the best prompt
checks, fitting  what can be said before a model is asked
"""

from harness.prompts.answers import closed_set
from harness.prompts.checks import budget_problems, least_budget, typical_demonstrations
from harness.prompts.contestants import contestants, raw_prompt
from harness.prompts.fitting import missing_packages, small_token_budget, too_long
from harness.prompts.meter import Arm, Meter, Spent
from harness.prompts.search import SEARCHES, search
from harness.prompts.searching import Field, Found, Searcher
from harness.prompts.spec import PromptSpec

__all__ = [
    "SEARCHES",
    "Arm",
    "Field",
    "Found",
    "Meter",
    "PromptSpec",
    "Searcher",
    "Spent",
    "budget_problems",
    "closed_set",
    "contestants",
    "least_budget",
    "missing_packages",
    "raw_prompt",
    "search",
    "small_token_budget",
    "too_long",
    "typical_demonstrations",
]
