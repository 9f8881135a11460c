"""Preferences that the data hold: the train rows' own pairs of answers, or those of a file."""

from __future__ import annotations

from harness import data
from harness.errors import Problem, TrainingError
from harness.learning.ground import Ground
from harness.records import Item, Preference
from harness.trainers import TrainSpec


def own_pairs(spec: TrainSpec, ground: Ground) -> tuple[tuple[Preference, ...], str]:
    """The pairs to learn from, and a sentence that says what they are; none where the train rows are their own.

    Raises DataError for a file that cannot be read, TrainingError where there are no pairs.
    """
    file = spec.preference.pairs
    if file is None:
        return tuple(pair_of(item) for item in ground.train.to_learn_from()), ""
    pairs = data.load_preferences(file, ground.near)
    both = sum(pair.chosen is not None and pair.rejected is not None for pair in pairs)
    kinds = [f"{both} pairs of answers"] if both else []
    kinds += [f"{len(pairs) - both} answers found good or bad"] if both < len(pairs) else []
    return pairs, f"{' and '.join(kinds)} of {file} are learned, not the train rows."


def pair_of(item: Item) -> Preference:
    """A row with two answers as a preference. Raises TrainingError for a row with one."""
    rejected = [choice for choice in item.choices or () if choice != item.target]
    if len(rejected) != 1:
        hint = "Name a file of pairs (train.preference.pairs), or have them made (train.feedback)"
        raise TrainingError(Problem("train.objective", f"the train row {item.id} holds no rejected answer", next=hint))
    return Preference(id=item.id, messages=item.messages, chosen=item.target, rejected=rejected[0])
