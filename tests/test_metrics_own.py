"""A user's own metric is one function in a file beside the spec, pinned by content and held to the contract."""

from pathlib import Path

import pytest

from harness import metrics
from harness.errors import UsageError

GOOD = '''
def score(answer: str, target: str, *, bonus: float = 0.0) -> float | None:
    """Share of the target's words that the answer has."""
    if answer == "?":
        return None
    words = target.split()
    return min(1.0, sum(word in answer for word in words) / max(len(words), 1) + bonus)
'''


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_function_in_a_file_is_a_metric(tmp_path: Path) -> None:
    name = metrics.bind("./mine.py:score", write(tmp_path, GOOD))
    assert metrics.digest_of(name) is not None
    assert name == f"mine.py:score@{metrics.digest_of(name)}"
    assert metrics.score_text(name, "a c", "a b") == 0.5
    assert metrics.score_text(name, "a b", "a b") == 1
    assert metrics.score(name, "?", "a") == metrics.Scored(None, f"{name} gave no score")
    assert metrics.get(name).summary == "Share of the target's words that the answer has."


def test_other_content_is_another_metric_and_a_pinned_name_must_be_the_same(tmp_path: Path) -> None:
    first = metrics.bind("./mine.py:score", write(tmp_path, GOOD))
    second = metrics.bind("./mine.py:score", write(tmp_path, GOOD + "# changed\n"))
    assert first != second
    assert metrics.bind(second, tmp_path) == second
    with pytest.raises(UsageError, match="has changed since the name was pinned"):
        metrics.bind(first, tmp_path)


def test_an_own_metric_takes_arguments(tmp_path: Path) -> None:
    given = metrics.entry({"mine.py:score": {"bonus": 0.25}})
    name = metrics.bind(given, write(tmp_path, GOOD))
    assert name.endswith("(bonus=0.25)")
    assert metrics.score_text(name, "a", "a b") == 0.75
    with pytest.raises(UsageError, match="has no argument 'bonos'"):
        metrics.bind("mine.py:score(bonos=1)", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def other(a, b): return 1", "has no function 'score'"),
        ("def score(answer): return 1", "does not take \\(answer, target\\)"),
        ("def score(answer, target): return 2", "gave 2, which is no number from 0 to 1"),
        ("def score(answer, target): return float('nan')", "gave nan"),
        ("def score(answer, target): return answer[0]", "IndexError"),
        ("import random\ndef score(answer, target): return random.random()", "for the same answer.*pure function"),
        ("def score(answer, target) return 1", "SyntaxError"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
    ],
)
def test_a_function_that_breaks_the_contract_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        metrics.bind("./mine.py:score", write(tmp_path, text))


def test_only_the_specs_folder_is_read(tmp_path: Path) -> None:
    spec = tmp_path / "spec"
    spec.mkdir()
    write(tmp_path, GOOD)
    (spec / "link.py").symlink_to(tmp_path / "mine.py")
    for name in ("../mine.py:score", f"{tmp_path}/mine.py:score", "link.py:score"):
        with pytest.raises(UsageError, match="outside the spec's folder"):
            metrics.bind(name, spec)
    with pytest.raises(UsageError, match="no such file"):
        metrics.bind("gone.py:score", spec)


def test_an_own_metric_that_was_not_loaded_is_unknown_and_still_readable() -> None:
    with pytest.raises(UsageError, match="unknown metric"):
        metrics.get("mine.py:score@00000000")
    assert metrics.higher_is_better("mine.py:score@00000000")


def test_files_that_a_metric_names_are_pinned_too(tmp_path: Path) -> None:
    words = metrics.bind(metrics.entry({"non_toxic": {"file": "words.txt"}}), write(tmp_path, "drat\n", "words.txt"))
    assert words.startswith('non_toxic(file="words.txt@')
    assert metrics.score_text(words, "Drat!", "x") == 0
    assert metrics.score_text(words, "damn", "x") == 1
    schema = metrics.bind('json_schema(file="a.json")', write(tmp_path, '{"type": "integer"}', "a.json"))
    assert metrics.score_text(schema, "3", "x") == 1
    assert metrics.score_text(schema, '"3"', "x") == 0
    with pytest.raises(UsageError, match="was not read"):
        metrics.get('non_toxic(file="other.txt")')


def test_other_metrics_are_spelled_in_the_one_way(tmp_path: Path) -> None:
    assert metrics.bind("numeric(tolerance=0.10)", tmp_path) == "numeric(tolerance=0.1)"
    assert metrics.digest_of("numeric") is None
