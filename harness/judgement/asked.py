"""How a tuned candidate is asked: as it was trained, or as the best prompt asks."""

from __future__ import annotations

from harness.records import Candidate


def under(candidate: Candidate, best: Candidate) -> Candidate:
    """A tuned candidate asked as the best prompt asks."""
    return candidate.model_copy(
        update={"name": f"{candidate.name}+{best.name}", "prompt": best.prompt, "decoding": best.decoding}
    )


def same_question(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates ask alike: prompt and decoding by content, whatever they are called."""
    prompts_of = [c.prompt.model_dump(exclude={"name", "demonstration_ids"}) for c in (one, other)]
    return prompts_of[0] == prompts_of[1] and one.decoding == other.decoding
