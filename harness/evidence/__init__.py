"""How an experiment's records are read for people: who took part, how sure we are, what broke.

    gathered     the records of one experiment, its contestants in order
    further      every metric beside the score that decides
    sidebyside   samples of several candidates, what flipped, what broke
    numbers      how scores and differences are written, each in its unit
    gatesides    the two sides of a deploy gate
    gating       what a gate demanded and what decided it
    wording      the verdict in one sentence, in four answers, and what it stands on
    prompting    what a prompt is: in full, part by part, in a few words
    proven       parity with training, and forgetting
    deploying    what an experiment would deploy
    released     where the aliases point, and whether what they point to is still there
    listed       every experiment of a store in one row
    facts        data, prompt search, training and provenance as short lines

Both views, the leaderboard and the reports, tell the same facts from here. Nothing
is computed that a record does not hold: records are joined, ordered and worded.
"""

from harness.evidence.deploying import deployable, of_verdict, task_run
from harness.evidence.facts import Fact, facts_of
from harness.evidence.further import Further, further
from harness.evidence.gatesides import again, side_rows
from harness.evidence.gathered import (
    BAR,
    RAW,
    REFERENCE,
    Contestant,
    Evidence,
    comparison,
    contestants,
    gather,
    judged,
    suite_score,
    who,
)
from harness.evidence.gating import (
    GLYPHS,
    WORST_FIRST,
    Bounds,
    compared,
    decided_by,
    demand,
    drawable,
    drawn_margin,
    evidence_shown,
    gate_name,
    place,
    reference_name,
    slice_bounds,
    slices_worst_first,
    threshold,
)
from harness.evidence.learning import Learned, LearningRow, learning_rows, trade_off
from harness.evidence.listed import SUMMARY_COLUMNS, look_number, readable, summaries, summarised
from harness.evidence.numbers import (
    DASH,
    Unit,
    basis,
    field,
    gate_unit,
    number,
    percent,
    span,
    unit_of,
)
from harness.evidence.prompting import prompt_parts, prompt_text, prompt_words
from harness.evidence.released import Pointer, aliases_of, broken_pointer, deployed, named, pointers
from harness.evidence.sidebyside import Broken, Flip, Joined, broken_items, join
from harness.evidence.wording import (
    DECISIONS,
    Answers,
    answers,
    early_stops,
    family_words,
    gain_over_bar,
    headline,
    look_words,
    standing,
    subject,
)

__all__ = [
    "BAR",
    "DASH",
    "DECISIONS",
    "GLYPHS",
    "RAW",
    "REFERENCE",
    "SUMMARY_COLUMNS",
    "WORST_FIRST",
    "Answers",
    "Bounds",
    "Broken",
    "Contestant",
    "Evidence",
    "Fact",
    "Flip",
    "Further",
    "Joined",
    "Learned",
    "LearningRow",
    "Pointer",
    "Unit",
    "again",
    "aliases_of",
    "answers",
    "basis",
    "broken_items",
    "broken_pointer",
    "compared",
    "comparison",
    "contestants",
    "decided_by",
    "demand",
    "deployable",
    "deployed",
    "drawable",
    "drawn_margin",
    "early_stops",
    "evidence_shown",
    "facts_of",
    "family_words",
    "field",
    "further",
    "gain_over_bar",
    "gate_name",
    "gate_unit",
    "gather",
    "headline",
    "join",
    "judged",
    "learning_rows",
    "look_number",
    "look_words",
    "named",
    "number",
    "of_verdict",
    "percent",
    "place",
    "pointers",
    "prompt_parts",
    "prompt_text",
    "prompt_words",
    "readable",
    "reference_name",
    "side_rows",
    "slice_bounds",
    "slices_worst_first",
    "span",
    "standing",
    "subject",
    "suite_score",
    "summaries",
    "summarised",
    "task_run",
    "threshold",
    "trade_off",
    "unit_of",
    "who",
]
