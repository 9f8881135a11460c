"""What the words mean that stand beside an experiment's facts: hover help for a reader who meets one first here."""

from __future__ import annotations

import re
from typing import Final

TERMS: Final[dict[str, str]] = {
    "claim": "What a promotion speaks of: this adapter (artifact), or training this way with any seed (recipe).",
    "test split": "Each verdict that looks at a test split spends a share of the chance of a wrong promotion.",
    "looks": "How often these items were looked at, and what this look may err with.",
    "judged": "The candidates that met the test split; each is a look of its own.",
    "family": "Gates that share one chance of a wrong FAIL, by Holm's correction for many comparisons.",
    "stopped early": "Runs that were decided before all their items were asked, by a method that allows it.",
    "parity with training": "Whether what is served gives the likelihoods of training: same weights and template.",
    "forgetting, general text": "How much less likely general text became, beside the base model.",
    "forgetting, KL to the base": "How far answers to general prompts lie from the base model's own (KL divergence).",
    "train split": "What is learned from, and what prompts take demonstrations from.",
    "dev split": "What prompts, checkpoints and sweeps are chosen by; never what is judged.",
    "format": "Form of the rows: chat messages, prompt and completion, ...",
    "base model's licence": "As its files say it.",
    "majority answer": "Score on the test split of always giving the most frequent training answer.",
    "search": "How prompts were searched, and what of the budget it spent.",
    "instructions proposed by": "The model that wrote instructions for the search.",
    "winner": "The best prompt on dev: the bar to beat.",
    "method": "How the weights were trained, and on what.",
    "arguments": "The settings of the training; what was left to its default is not listed.",
    "rows": "What was learned from, where others made it.",
    "learned from": "Tokens with loss: the answers and their ends of turn. The others are the prompts.",
    "rows truncated": "Rows longer than the limit; must be 0.",
    "rows that end their turn": "Rows that teach the model to stop after its answer; must be all.",
    "chat template": "Digest of the template that the rows were written with: the one that is served.",
    "memory forecast": "What the training was expected to take at its peak.",
    "seed": "One training: its length, its peak of memory, how many parameters it trained.",
    "cost": "Of all trainings, in the currency of the budget.",
    "model": "The base model, and the digest of its weights, tokenizer and template.",
    "engine": "What asked the models, and why it was taken.",
    "machine": "Where it ran.",
    "commit": "Of the repository that the harness ran from; +dirty: with changes that were not committed.",
    "packages": "Versions that were installed.",
    "seeds": "Of everything that draws.",
    "longest row": "Tokens of the longest row in training.",
    "limit": "Tokens that a row may have: a longer one is refused, never cut.",
    "rows cut by it": "Rows longer than the limit; must be 0.",
    "tokens": "Of all rows, without padding.",
    "a training is paid off over": "Months over which the price of a training is spread.",
    "a million prompt tokens": "Price of what is sent to the model.",
    "a million generated tokens": "Price of what the model writes.",
    "an hour of the machine": "Price of the machine that searches, trains and evaluates.",
}
"""What stands beside a fact, to what it means."""


def meaning(what: str) -> str:
    """Of `seed 2 on dev` as of `seed`; of `winner's instruction` as of `winner`; empty where nothing is to be said."""
    return TERMS.get(what) or TERMS.get(re.split(r" \d+|'s |: ", what)[0], "")
