"""What is put around a question: instruction, worked examples, what was looked up, the form of the turn."""

from __future__ import annotations

import pytest

from harness.chat import Found, chat, demonstration, template
from harness.errors import UsageError
from harness.records import Item, Message, Prompt, Retrieval

EXAMPLE = (Message(role="user", content="1 + 1?"), Message(role="assistant", content="2"))
LOOKS_UP = Retrieval(source="train", use="context", corpus="0" * 64)


def item(*turns: tuple[str, str], target: str = "4") -> Item:
    messages = tuple(Message.model_validate({"role": role, "content": content}) for role, content in turns)
    return Item(id="1", messages=messages or (Message(role="user", content="2 + 2?"),), target=target)


def prompt(turn: str | None = None, instruction: str = "") -> Prompt:
    return Prompt(name="p", instruction=instruction, demonstrations=(EXAMPLE,), turn=turn)


def contents(prompt: Prompt, asked: Item, found: Found | None = None) -> list[str]:
    return [turn.content for turn in chat(prompt, asked, found)]


def test_without_a_template_the_turn_stands_as_it_is_after_what_was_looked_up() -> None:
    assert contents(prompt(), item()) == ["1 + 1?", "2", "2 + 2?"]
    assert contents(prompt(), item(), Found(context="Sums.")) == ["1 + 1?", "2", "Sums.\n\n2 + 2?"]


def test_worked_examples_go_through_the_questions_template_without_a_context() -> None:
    asked = contents(prompt("{% if context %}{{ context }} {% endif %}Q: {{ input }}"), item(), Found(context="Sums."))
    assert asked == ["Q: 1 + 1?", "2", "Sums. Q: 2 + 2?"]


def test_a_template_that_names_no_context_has_it_before_the_turn() -> None:
    assert contents(prompt("Q: {{ input }}"), item(), Found(context="Sums."))[-1] == "Sums.\n\nQ: 2 + 2?"


def test_what_was_looked_up_as_demonstrations_stands_between_the_prompts_own_and_the_question() -> None:
    found = Found(demonstrations=((Message(role="user", content="3?"), Message(role="assistant", content="3")),))
    assert contents(prompt("Q: {{ input }}"), item(), found) == ["Q: 1 + 1?", "2", "Q: 3?", "3", "Q: 2 + 2?"]


def test_only_the_last_user_turn_is_put_into_the_template() -> None:
    asked = item(("user", "Hello"), ("assistant", "Hi"), ("user", "2 + 2?"))
    assert contents(prompt("Q: {{ input }}"), asked)[2:] == ["Hello", "Hi", "Q: 2 + 2?"]


def test_an_item_without_a_user_turn_stays_as_it_is() -> None:
    asked = contents(prompt("Q: {{ input }}", "Add."), item(("system", "Say four.")), Found(context="Sums."))
    assert asked == ["Add.\nSay four.", "Q: 1 + 1?", "2"]


@pytest.mark.parametrize("said", ["{{ 7 * 7 }}", "{% for i in range(9) %}x{% endfor %}", "{{ input }}", "{# gone #}"])
def test_template_code_in_the_data_is_text(said: str) -> None:
    asked = contents(prompt("{{ context }}|{{ input }}"), item(("user", said)), Found(context=said))
    assert asked[-1] == f"{said}|{said}"
    assert contents(prompt(), item(("user", said)))[-1] == said
    assert contents(prompt(instruction=said), item())[0] == said


@pytest.mark.parametrize(
    "text",
    [
        "{{ input.nothing }}",
        "{{ 1 / 0 }}{{ input }}",
        "{% include 'other' %}{{ input }}",
        "{{ input.__class__ }}",
        "{% for i in range(10 ** 9) %}{{ input }}{% endfor %}",
        "{{ input[9] + input['a'] }}",
    ],
)
def test_a_template_that_fails_on_a_question_names_both(text: str) -> None:
    with pytest.raises(UsageError, match=r"template: .* fails on the question .*1 \+ 1\?") as fault:
        chat(prompt(text), item())
    assert text[:20] in str(fault.value)


def test_a_template_that_leaves_nothing_of_a_question_is_refused() -> None:
    with pytest.raises(UsageError, match="gives no text for the question '2"):
        chat(Prompt(name="p", instruction="", turn="{{ input.split(':')[1:] | join }}"), item())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ inputs }} {{ contxt }}", r"'contxt'(.|\n)*'inputs'.*Did you mean 'input'\?(.|\n)*must name input"),
        ("{{ input", "cannot be read.*Fields: input, context"),
        ("{{ input | loud }}", "cannot be read.*loud"),
        ("no question", "must name input"),
        ("{% for a in input %}" * 30 + "{% endfor %}" * 30, "cannot be read"),
    ],
)
def test_a_template_that_cannot_work_is_told_before_any_question(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        template(text)


def test_a_prompt_that_looks_things_up_is_not_asked_without_having_done_so() -> None:
    looks_up = Prompt(name="rag", instruction="", retrieval=LOOKS_UP)
    with pytest.raises(ValueError, match="'rag' looks things up"):
        chat(looks_up, item())
    assert contents(looks_up, item(), Found()) == ["2 + 2?"]


def test_a_worked_example_keeps_its_own_system_text_at_its_first_user_turn() -> None:
    shown = demonstration(item(("system", "Monday."), ("assistant", "Hi"), ("user", "Today?"), target="Monday"))
    assert [(turn.role, turn.content) for turn in shown] == [
        ("assistant", "Hi"),
        ("user", "Monday.\nToday?"),
        ("assistant", "Monday"),
    ]
    assert [turn.content for turn in demonstration(item())] == ["2 + 2?", "4"]
