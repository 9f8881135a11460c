"""What a prompt is, for people: in full, part by part, and in a few words."""

from __future__ import annotations

from harness.records import Constraint, Decoding, Prompt, Retrieval

LISTED = 12
"""How many choices are named."""


def prompt_text(prompt: Prompt, question: str | None = None) -> str:
    """A prompt's turns in full, before the chat template is put around them.

    What differs from question to question stands in angle brackets. question: the last turn; by default its form
    alone, where the prompt gives it one.
    """
    turns = [("system", prompt.instruction)] if prompt.instruction else []
    turns += [(message.role, message.content) for shown in prompt.demonstrations for message in shown]
    found = prompt.retrieval
    if found is not None and found.use == "demonstrations":
        turns.append(("user, assistant", f"<{_looked_up(found)}>"))
    last = question
    if prompt.turn is not None:
        last = prompt.turn if question is None else prompt.turn.replace("{{ input }}", question)
    elif found is not None and found.use == "context":
        last = f"<{_looked_up(found)}>\n\n{'<the question>' if question is None else question}"
    turns += [("user", last)] if last is not None else []
    turns += [("assistant, always", prompt.fixed_answer)] if prompt.fixed_answer is not None else []
    return "\n\n".join(f"[{role}]\n{content}" for role, content in turns) or "(empty: the question alone)"


def prompt_parts(prompt: Prompt, decoding: Decoding | None = None) -> list[tuple[str, str]]:
    """What a prompt is made of, as (part, value); parts that it does not have are left out.

    decoding: how it decodes; None where that is not known, as in older records.
    """
    made = [("instruction", prompt.instruction)] if prompt.instruction else []
    if prompt.demonstrations:
        ids = ", ".join(prompt.demonstration_ids)
        made.append(("demonstrations", f"{len(prompt.demonstrations)} of train" + (f": {ids}" if ids else "")))
    if prompt.retrieval is not None:
        made.append(("looked up", _looked_up(prompt.retrieval)))
    if prompt.turn is not None:
        made.append(("form of the question", prompt.turn))
    if prompt.answer_after is not None:
        made.append(("reasoning", f"before the answer, which is what follows {prompt.answer_after!r}"))
    if decoding is not None and decoding.constraint is not None:
        made.append(("constraint", _constraint(decoding.constraint)))
    if prompt.fixed_answer is not None:
        made.append(("fixed answer", prompt.fixed_answer))
    elif decoding is not None:
        made.append(("decoding", _decoding(decoding)))
    return made


def prompt_words(prompt: Prompt, decoding: Decoding | None = None) -> str:
    """A prompt in a few words: `4 demonstrations; 4 nearest train rows; reasons first; one of 12 choices`."""
    if prompt.fixed_answer is not None:
        return f"always {prompt.fixed_answer!r}, no model"
    count, found, made = len(prompt.demonstrations), prompt.retrieval, []
    if count:
        made.append(f"{count} demonstration{'s' if count > 1 else ''}")
    if found is not None:
        what = "nearest demonstrations" if found.use == "demonstrations" else f"found in {found.source}"
        made.append(f"{found.count} {what}")
    if prompt.turn is not None:
        made.append("own form of the question")
    if prompt.answer_after is not None:
        made.append("reasons first")
    if decoding is not None and decoding.constraint is not None:
        made.append(_constraint(decoding.constraint).partition(":")[0])
    return "; ".join(made) or ("instruction alone" if prompt.instruction else "the question alone")


def _looked_up(found: Retrieval) -> str:
    what = "train rows" if found.source == "train" else "passages of the documents"
    how = "as demonstrations, the nearest last" if found.use == "demonstrations" else "as context"
    return f"{found.count} {what} for each question, by {found.by}, {how}"


def _constraint(found: Constraint) -> str:
    if found.choices:
        more = f" and {len(found.choices) - LISTED} more" if len(found.choices) > LISTED else ""
        return f"one of {len(found.choices)} choices: {', '.join(found.choices[:LISTED])}{more}"
    if found.json_schema is not None:
        keys = ", ".join(map(str, found.json_schema.get("properties", {})))
        return f"JSON by a schema: {keys}" if keys else "JSON by a schema"
    return f"a regular expression: {found.regex}"


def _decoding(decoding: Decoding) -> str:
    how = "greedy" if decoding.temperature == 0 else f"temperature {decoding.temperature:g}, top_p {decoding.top_p:g}"
    stop = f", stops at {', '.join(map(repr, decoding.stop))}" if decoding.stop else ""
    return f"{how}, at most {decoding.max_tokens:,} tokens{stop}"
