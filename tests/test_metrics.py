"""Every metric keeps its contract, and each scores what its name says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import metrics
from harness.errors import UsageError
from harness.metrics import METRICS, score_choice, score_text

PURE = sorted(found.spelling for found in METRICS.values() if found.output == "generate" and found.needs is None)
CHOICE = sorted(name for name, found in METRICS.items() if found.output == "choice")
RIGHT_WHEN_SILENT = {"not_contains"}
"""Metrics for which saying nothing is right."""

texts = st.text(max_size=30) | st.sampled_from(["{", '{"a":1}', "[1,NaN]", "-3.5", "1,000", "The the", "?!", ""])
HUGE = [
    "x" * 50_000,
    "[" * 50_000,
    "* " * 20_000,
    "\n" * 30_000,
    "<<" * 20_000,
    "1," * 20_000,
    "a(b" * 20_000,
    '"' * 9999,
]


@pytest.mark.parametrize("name", PURE)
def test_gold_scores_one(name: str) -> None:
    gold = metrics.gold_answer(name, metrics.get(name).example)
    if gold is not None:
        assert score_text(name, gold, metrics.get(name).example) == 1


@pytest.mark.parametrize("name", sorted(set(PURE) - RIGHT_WHEN_SILENT))
def test_an_empty_answer_scores_zero(name: str) -> None:
    assert score_text(name, "", metrics.get(name).example) == 0


@pytest.mark.parametrize("name", PURE)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_text_scores_stay_in_range_and_repeat(name: str, data: st.DataObject) -> None:
    answer, target = data.draw(texts), data.draw(texts | st.just(metrics.get(name).example))
    score = score_text(name, answer, target)
    assert score == score_text(name, answer, target)
    assert score is None or 0 <= score <= 1
    assert score in {0, 1, None} or not metrics.get(name).binary


@pytest.mark.parametrize("name", PURE)
def test_the_example_of_a_metric_is_a_target_that_it_can_score(name: str) -> None:
    assert metrics.score(name, "no such answer", metrics.get(name).example).why is None


@pytest.mark.parametrize("name", PURE)
def test_huge_answers_are_scored(name: str) -> None:
    for answer in HUGE:
        assert metrics.score(name, answer, metrics.get(name).example).why is None


@pytest.mark.parametrize("name", CHOICE)
@given(logprobs=st.lists(st.floats(-1e6, -1e-6), min_size=2, max_size=5))
def test_exactly_one_choice_is_picked(name: str, logprobs: list[float]) -> None:
    choices = [f" choice{'x' * i}" for i in range(len(logprobs))]
    picked = [score_choice(name, logprobs, choices, i, " ") for i in range(len(choices))]
    assert sorted(picked) == [0.0] * (len(choices) - 1) + [1.0]


@pytest.mark.parametrize("name", CHOICE)
def test_a_tie_goes_to_the_first_choice(name: str) -> None:
    assert score_choice(name, [-1.0, -1.0], ["ab", "cd"], 0) == 1
    assert score_choice(name, [-1.0, -1.0], ["ab", "cd"], 1) == 0


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_says_what_it_is(name: str) -> None:
    assert METRICS[name].summary.endswith((".", ")"))
    assert METRICS[name].higher_is_better


@pytest.mark.parametrize(
    ("name", "answer", "target", "score"),
    [
        ("exact_match", " Paris\n", "Paris", 1),
        ("exact_match", "paris", "Paris", 0),
        ("exact_match_ignore_case", "paris", "Paris", 1),
        ("exact_match_ignore_case", "paris.", "Paris", 0),
        ("exact_match_ignore_punctuation", "Paris.", "Paris", 1),
        ("exact_match_ignore_punctuation", "paris.", "Paris", 0),
        ("exact_match_ignore_case_punctuation", "paris.", "Paris", 1),
        ("normalised_match", "The  CAT!", "cat", 1),
        ("normalised_match", "the dog", "cat", 0),
        ("normalised_match", "?", "!", 0),
        ("normalised_match", "a", "the", 0),
        ("contains", "It is Paris.", "Paris", 1),
        ("contains", "It is paris.", "Paris", 0),
        ("contains", "anything", "", 0),
        ("token_f1", "the cat sat", "cat", 2 / 3),
        ("token_f1", "dog", "cat", 0),
        ("numeric_match", "3 + 4 = 7", "7.0", 1),
        ("numeric_match", "It is 1,234 dollars", "1234", 1),
        ("numeric_match", "7", "-7", 0),
        ("numeric_match", "none", "none", 0),
        ("json_valid", "{}", "ignored", 1),
        ("json_valid", "{} and more", "{}", 0),
        ("json_valid", '{"a":NaN}', "{}", 0),
        ("json_valid", '{"a":1,"a":2}', "{}", 0),
        ("json_valid", "[" * 100_000, "{}", 0),
        ("json_match", '{"b": 2.0, "a": [1]}', '{"a":[1],"b":2}', 1),
        ("json_match", '{"a":true}', '{"a":1}', 0),
        ("json_match", '{"a":null}', "{}", 0),
        ("json_field_f1", '{"a":1,"b":3}', '{"a":1,"b":2}', 0.5),
        ("json_field_f1", '{"a":1}', '{"a":1,"b":2}', 2 / 3),
        ("json_field_f1", "{}", "{}", 1),
        ("json_field_f1", "[1]", "[1]", 1),
        ("json_field_f1", "broken", '{"a":1}', 0),
        ("json_leaf_f1", '{"a":{"b":1,"c":2}}', '{"a":{"b":1,"c":3}}', 0.5),
        ("json_leaf_f1", '{"a":[2,1.0]}', '{"a":[1,2]}', 1),
        ("json_leaf_f1", '{"a":true}', '{"a":1}', 0),
        ("contains(ignore_case=true)", "It is paris.", "Paris", 1),
        ("not_contains", "I keep it.", "swordfish", 1),
        ("not_contains", "It is SwordFish!", "swordfish", 0),
        ("not_contains", "anything", " ", None),
        ("numeric(tolerance=0.1)", "about 1.1", "1.0", 1),
        ("numeric(tolerance=0.1)", "about 1.11", "1.0", 0),
        ("numeric(relative=0.01)", "it is 1.01e3", "1,000", 1),
        ("numeric", "no idea", "7", 0),
        ("numeric", "7", "seven", None),
        ('regex(pattern="^yes\\\\b", ignore_case=true)', " Yes, it is", "ignored", 1),
        ('regex(pattern="[a-z]+", whole=true)', "two words", "ignored", 0),
        ("target_regex", "in 1984", r"\b19\d\d\b", 1),
        ("target_regex", "in 1984", "(", None),
        ("multilabel_f1", '["a", "B"]', "b, a, c", 0.8),
        ("multilabel_f1", "", "", 1),
        ('multilabel_match(separator="|")', "b|A", "a|b", 1),
        ("tool_call_match", '{"arguments":{"x":1.0},"name":"f"}', '{"name":"f","arguments":{"x":1}}', 1),
        ("tool_call_match", '{"name":"f","arguments":{"x":2}}', '{"name":"f","arguments":{"x":1}}', 0),
        ("tool_call_match(arguments=false)", '{"name":"f","arguments":{"x":2}}', '{"name":"f","arguments":{"x":1}}', 1),
        ("tool_call_match", '[{"name":"g"},{"name":"f"}]', '[{"name":"f"},{"name":"g"}]', 1),
        ("tool_call_match", '[{"name":"f"},{"name":"f"}]', '[{"name":"f"},{"name":"g"}]', 0),
        (
            "tool_call_match",
            '{"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\\"x\\":1}"}}]}',
            '{"name":"f","arguments":{"x":1}}',
            1,
        ),
        ("tool_call_match", '{"name":"f"}', "Which city do you mean?", 0),
        ("tool_call_match", "Where do you live?", "Which city do you mean?", 1),
        ('json_schema(schema={"type":"integer"})', "3", "ignored", 1),
        ('json_schema(schema={"type":"integer"})', "3.5", "ignored", 0),
        ("target_json_schema", '{"a": "x"}', '{"properties":{"a":{"enum":["x","y"]}},"required":["a"]}', 1),
        ("target_json_schema", '{"a": "z"}', '{"properties":{"a":{"enum":["x","y"]}},"required":["a"]}', 0),
        ("target_json_schema", "{}", '{"type": "nonsense"}', None),
    ],
)
def test_known_answers_get_known_scores(name: str, answer: str, target: str, score: float | None) -> None:
    assert score_text(name, answer, target) == pytest.approx(score)


def test_acc_norm_divides_by_characters_without_the_delimiter() -> None:
    # Bare lengths 1 and 2 give -6 and -4; with the delimiter counted it would be a tie, -2 and -2.
    assert score_choice("acc_norm", [-6.0, -8.0], ["\n\na", "\n\nbb"], 1, "\n\n") == 1
    assert score_choice("acc_norm", [-6.0, -8.0], ["\n\na", "\n\nbb"], 1, "") == 0


def test_acc_bytes_divides_by_bytes() -> None:
    assert score_choice("acc_norm", [-3.0, -4.0], ["éé", "ab"], 0) == 1
    assert score_choice("acc_bytes", [-5.0, -4.0], ["éé", "ab"], 0) == 1
    assert score_choice("acc_norm", [-5.0, -4.0], ["éé", "ab"], 0) == 0


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown metric 'exact_mach'\. Did you mean 'exact_match'"):
        metrics.get("exact_mach")


def test_a_metric_with_arguments_has_one_spelling() -> None:
    assert metrics.canonical("numeric( relative=0, tolerance=0.010 )") == "numeric(tolerance=0.01)"
    assert metrics.canonical("numeric(tolerance=0.0)") == "numeric"
    assert metrics.entry({"numeric": {"tolerance": 0.01}}) == "numeric(tolerance=0.01)"
    assert metrics.entry({"bleu": None}) == metrics.entry("bleu") == "bleu"
    assert metrics.canonical(metrics.entry({"regex": {"pattern": 'a="(b), c"'}})) == 'regex(pattern="a=\\"(b), c\\"")'


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("numeric(tolerence=1)", "'numeric' has no argument 'tolerence'. Did you mean 'tolerance'"),
        ("bleu(x=1)", "It takes none"),
        ("regex", "'regex' needs the argument 'pattern'"),
        ('regex(pattern="(")', "is no regular expression"),
        ("regex(pattern=3)", "pattern is 3"),
        ("numeric(tolerance=true)", "tolerance is True"),
        ("numeric(tolerance=-1)", "not below 0"),
        ("numeric(tolerance)", "cannot read the arguments"),
        ("numeric(tolerance=1", "cannot read metric"),
        ('json_schema(schema={"type":"nonsense"})', "no JSON Schema"),
        ("json_schema", "give a schema, or a file"),
        ('multilabel_f1(separator="")', "the separator is empty"),
        ("non_toxic(words=[])", "nothing would be toxic"),
        ("code_passes(seconds=0)", "seconds is above 0"),
    ],
)
def test_wrong_arguments_are_told_before_any_call(name: str, said: str) -> None:
    with pytest.raises(UsageError) as fault:
        metrics.get(name)
    assert said in str(fault.value)


def test_a_pattern_that_never_ends_is_no_score() -> None:
    scored = metrics.score('regex(pattern="^(a|aa)+$")', "a" * 200 + "b", "x")
    assert scored.value is None or scored.value == 0  # the library may see through it
    assert scored.value == 0 or "took longer" in str(scored.why)


def test_a_metric_of_the_other_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="'acc' does not score generate items"):
        score_text("acc", "a", "a")
    with pytest.raises(UsageError, match="'exact_match' does not score choice items"):
        score_choice("exact_match", [-1.0], ["a"], 0)


@pytest.mark.parametrize(("logprobs", "target"), [([-1.0], 0), ([-1.0, -2.0], 2), ([-1.0, -2.0], -1)])
def test_logprobs_that_do_not_fit_the_choices_are_refused(logprobs: list[float], target: int) -> None:
    with pytest.raises(ValueError, match="logprobs"):
        score_choice("acc", logprobs, ["a", "b"], target)


def test_filters_apply_in_order() -> None:
    regex = ("regex", '{"regex_pattern": "answer is (\\\\w+)|(\\\\d+)", "group_select": -1, "fallback": "none"}')
    assert metrics.apply_filters(" The answer is FOUR ", [("lowercase", ""), regex, ("uppercase", "")]) == "FOUR"
    assert metrics.apply_filters("1 or 2", [regex]) == "2"
    assert metrics.apply_filters("nothing", [regex]) == "none"
