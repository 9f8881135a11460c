"""The prompt search: what it may see, what it spends, whom it keeps, how it goes on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError
from scripted import Scripted, text

from harness.data import Row, Split
from harness.engines.base import Answer, Engine, Request
from harness.errors import EngineError, UsageError
from harness.evaluate import TaskSpec
from harness.metrics.own import bind
from harness.progress import Silent
from harness.prompts import PromptSpec, search
from harness.records import Item, Message, PromptRecord, SplitName
from harness.retrieval import Shelves
from harness.store import ExperimentStore, Store

TASK = TaskSpec(metric="exact_match")


def split(name: SplitName, count: int, answers: int = 3) -> Split:
    items = [
        Item(id=f"{name}{i}", messages=(Message(role="user", content=f"{name} {i}"),), target=f"answer {i % answers}")
        for i in range(count)
    ]
    return Split(name, f"{name}.jsonl", tuple(Row(item, line) for line, item in enumerate(items, 1)))


TRAIN, DEV = split("train", 60), split("dev", 40)


def gold(request: Request) -> str:
    return f"answer {int(re.findall('[0-9]+', request.messages[-1].content)[-1]) % 3}"


def luck(request: Request) -> float:
    """A number in [0, 1) that belongs to the prompt and the question."""
    asked = "|".join(turn.content for turn in request.messages) + str(request.decoding.constraint is not None)
    return int(hashlib.sha256(asked.encode()).hexdigest()[:8], 16) / 2**32


def better_when_told(request: Request) -> Answer:
    """Labels, demonstrations and a constraint each make a right answer likelier."""
    told = "exactly one of" in request.messages[0].content
    chance = 0.1 + 0.3 * told + 0.1 * min(3, len(request.messages) // 4) + 0.2 * bool(request.decoding.constraint)
    return text(gold(request) if luck(request) < chance else "no idea")


def right_when_listed(request: Request) -> Answer:
    """Only a prompt that lists the labels and shows examples is answered rightly."""
    good = "exactly one of" in request.messages[0].content and len(request.messages) > 2
    return text(gold(request) if good else "no idea")


def folder(path: Path) -> ExperimentStore:
    return Store(path).create("x--1", "name: x\n")


def run(
    path: Path,
    reply: Callable[[Request], Answer] | Engine,
    train: Split = TRAIN,
    dev: Split = DEV,
    task: TaskSpec = TASK,
    store: ExperimentStore | None = None,
    **spec: object,
) -> PromptRecord:
    engine = Scripted(reply) if callable(reply) else reply
    made = PromptSpec.model_validate({"budget": 400} | spec)
    shelves = Shelves(train.items)
    return search(made, task, "Classify.", train, dev, engine, shelves, store or folder(path), Silent())


def test_the_search_finds_the_prompt_that_works(tmp_path: Path) -> None:
    record = run(tmp_path, right_when_listed)
    assert record.winner.name.startswith("labels")
    assert record.winner.demonstrations or record.winner.retrieval
    assert record.winner_dev.value == 1.0


def test_it_crosses_what_helps(tmp_path: Path) -> None:
    record = run(tmp_path, better_when_told, budget=800)
    assert "exactly one of" in record.winner.instruction
    assert record.winner.demonstrations or record.winner.retrieval
    assert record.winner_decoding
    assert record.winner_decoding.constraint


@pytest.mark.parametrize("budget", [40, 47, 90, 250, 1000])
def test_it_keeps_to_its_budget_and_says_what_it_spent(tmp_path: Path, budget: int) -> None:
    engine = Scripted(better_when_told)
    record = run(tmp_path, engine, budget=budget)
    assert engine.calls == record.calls <= budget


def test_the_winner_meets_every_dev_item(tmp_path: Path) -> None:
    for budget in (40, 60, 300):
        record = run(tmp_path / str(budget), better_when_told, budget=budget)
        assert record.winner_dev.n == len(DEV.items)
        assert record.arms[0].asked == record.dev_ids


def test_a_budget_in_tokens_is_kept_to(tmp_path: Path) -> None:
    def counted(request: Request) -> Answer:
        words = sum(len(turn.content.split()) for turn in request.messages)
        return Answer(text=right_when_listed(request).text, finish="stop", tokens_in=words, tokens_out=2)

    for tokens in (3000, 20000):
        record = run(tmp_path / str(tokens), counted, budget={"tokens": tokens})
        assert record.tokens
        assert record.tokens <= tokens
        assert record.budget_unit == "tokens"
        assert record.winner_dev.n == len(DEV.items)


def test_tokens_that_the_engine_does_not_count_cannot_be_a_budget(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not count"):
        run(tmp_path, lambda request: Answer(text="x", finish="stop"), budget={"tokens": 20000})


def test_the_same_seed_gives_the_same_record(tmp_path: Path) -> None:
    one, other = (run(tmp_path / name, better_when_told, seed=3) for name in "ab")
    assert one == other
    assert run(tmp_path / "c", better_when_told, seed=4).dev_ids != one.dev_ids


def test_raw_wins_when_nothing_is_better(tmp_path: Path) -> None:
    record = run(tmp_path, lambda request: text(gold(request)))
    assert record.winner.name == "raw"


def test_raw_is_never_lost_to_a_prompt_that_did_worse(tmp_path: Path) -> None:
    for seed in range(6):
        record = run(
            tmp_path / str(seed), lambda request: text(gold(request) if luck(request) < 0.6 else "no"), seed=seed
        )
        raw = next(arm for arm in record.arms if arm.prompt.name == "raw")
        shared = [
            score for id, score in zip(record.arms[0].asked, record.arms[0].scores, strict=True) if id in raw.asked
        ]
        assert sum(score or 0 for score in shared) >= sum(score or 0 for score in raw.scores)


def test_every_arm_says_why_it_fell(tmp_path: Path) -> None:
    record = run(tmp_path, right_when_listed)
    assert [arm.fate for arm in record.arms].count("winner") == 1
    assert record.arms[0].fate == "winner"
    others = [arm.fate for arm in record.arms[1:]]
    assert all(fate.startswith(("fell in round ", "runner-up: ")) for fate in others)
    assert any("on the same" in fate and "interval" in fate for fate in others)


def test_arms_have_names_of_their_own_and_lie_in_the_shared_order(tmp_path: Path) -> None:
    record = run(tmp_path, better_when_told)
    names = [arm.prompt.name for arm in record.arms]
    assert len(set(names)) == len(names)
    for arm in record.arms:
        assert arm.asked == record.dev_ids[: len(arm.asked)]
        assert len(arm.scores) == len(arm.asked)


def test_the_trace_ends_with_the_winner(tmp_path: Path) -> None:
    record = run(tmp_path, right_when_listed)
    assert record.trace[-1].leader == record.winner.name
    assert record.trace[-1].mean == record.winner_dev.value
    assert [point.calls for point in record.trace] == sorted(point.calls for point in record.trace)


def test_demonstrations_come_from_train_alone(tmp_path: Path) -> None:
    record = run(tmp_path, better_when_told, demonstrations=["random", "balanced", "nearest", "hard"])
    train = {item.id for item in TRAIN.items}
    shown = [id for arm in record.arms for id in arm.prompt.demonstration_ids]
    assert shown
    assert set(shown) <= train
    for arm in record.arms:
        assert not any("dev " in turn.content for one in arm.prompt.demonstrations for turn in one)
        assert arm.prompt.retrieval is None or arm.prompt.retrieval.source == "train"


@pytest.mark.parametrize("dies_after", [3, 57, 150])
def test_a_search_that_died_goes_on_without_asking_twice(tmp_path: Path, dies_after: int) -> None:
    whole = run(tmp_path / "a", better_when_told)
    store = folder(tmp_path / "b")
    first = Scripted(better_when_told, dies_after=dies_after)
    with pytest.raises(EngineError):
        run(tmp_path, first, store=store)
    second = Scripted(better_when_told)
    assert run(tmp_path, second, store=store).model_dump_json() == whole.model_dump_json()
    assert first.calls + second.calls == whole.calls


def test_rows_that_share_an_id_with_dev_are_kept_apart(tmp_path: Path) -> None:
    rows = tuple(Row(row.item.model_copy(update={"id": f"dev{n}"}), row.line) for n, row in enumerate(TRAIN.rows))
    record = run(tmp_path, better_when_told, train=Split("train", "train.jsonl", rows))
    shown = [id for arm in record.arms for id in arm.prompt.demonstration_ids]
    assert shown
    assert all(id.startswith("train/") for id in shown)


@pytest.mark.parametrize("method", ["race", "gepa", "dspy", "none"])
def test_the_test_split_is_refused(tmp_path: Path, method: str) -> None:
    engine = Scripted(right_when_listed)
    for train, dev in ((TRAIN, split("test", 9)), (split("test", 9), DEV)):
        with pytest.raises(ValueError, match="train and dev only"):
            run(tmp_path / train.name, engine, train=train, dev=dev, search=method)
    assert engine.calls == 0


def test_no_search_asks_nothing(tmp_path: Path) -> None:
    engine = Scripted(right_when_listed)
    record = run(tmp_path, engine, search="none")
    assert (record.winner.name, record.calls, engine.calls) == ("raw", 0, 0)


def test_too_small_a_budget_is_an_error_before_any_call(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 8"):
        PromptSpec.model_validate({"budget": 7})
    engine = Scripted(right_when_listed)
    with pytest.raises(UsageError, match=r"39 calls cannot score one prompt on the 40 dev items.*at least 40"):
        run(tmp_path, engine, budget=39)
    assert engine.calls == 0


def test_too_few_tokens_are_an_error_that_says_how_many(tmp_path: Path) -> None:
    def dear(request: Request) -> Answer:
        return Answer(text="x", finish="stop", tokens_in=100, tokens_out=1)

    with pytest.raises(UsageError, match=r"2000 tokens cannot score one prompt on the 40 dev items. Give at least 4"):
        run(tmp_path, dear, budget={"tokens": 2000})


def test_partial_credit_decides_where_no_prompt_is_wholly_right(tmp_path: Path) -> None:
    def nearly(request: Request) -> Answer:
        return text(gold(request) + " or so" if len(request.messages) > 2 else "no idea")

    record = run(tmp_path, nearly, task=TaskSpec(metric="exact_match", metrics=("contains",)))
    assert record.winner_dev.value == 0.0
    assert record.winner.demonstrations or record.winner.retrieval


def test_an_arm_whose_calls_fail_falls_with_the_fault_and_larger_ones_are_not_tried(tmp_path: Path) -> None:
    def short(request: Request) -> Answer:
        if len(request.messages) > 2 + 2 * 8:
            return Answer(error=f"prompt of {50 * len(request.messages)} tokens; the context holds 800")
        return better_when_told(request)

    record = run(tmp_path, short, shots=[4, 12, 16], demonstrations=["nearest"])
    fates = {arm.prompt.retrieval.count: arm.fate for arm in record.arms if arm.prompt.retrieval and "fail" in arm.fate}
    assert re.search(r"(\d+) of \1 calls failed: prompt of 1300 tokens", fates[12])
    assert 16 not in fates
    assert record.winner_dev.n == len(DEV.items)


def test_a_prompt_with_failed_calls_is_not_scored_as_wrong(tmp_path: Path) -> None:
    def shaky(request: Request) -> Answer:
        if len(request.messages) == 2 and request.messages[-1].content in ("dev 7", "dev 17"):
            return Answer(error="timed out")
        return text(gold(request) if len(request.messages) == 2 else "no")

    record = run(tmp_path, shaky, dev=split("dev", 120), budget=1000, shots=[4])
    assert record.winner_dev.value == 1.0
    assert record.arms[0].prompt.name == "raw"
    assert record.arms[0].scores.count(None) == 2


def test_when_every_call_fails_the_search_stops_with_the_fault(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no arm got an answer.*server gone"):
        run(tmp_path, lambda request: Answer(error="server gone"), budget=100)


def test_proposals_are_written_counted_and_raced(tmp_path: Path) -> None:
    def reply(request: Request) -> Answer:
        if request.messages[0].content.startswith("You write instructions"):
            return text(f'"Say the magic word. {request.decoding.seed}"')
        return text(gold(request) if "magic" in request.messages[0].content else "no")

    engine = Scripted(reply)
    record = run(tmp_path, engine, proposals={"count": 2})
    assert record.winner.instruction.startswith("Say the magic word.")
    assert record.proposer == "the base model"
    assert engine.calls == record.calls <= 400


def test_proposals_that_a_budget_has_no_room_to_try_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: told.append(text))
    few = len(DEV.items) + 20
    run(tmp_path, lambda request: text(f"Say it. {request.decoding.seed}"), budget=few, proposals={"count": 2})
    assert any(note.startswith("2 proposed instructions were written, and the budget had no room") for note in told)


def test_another_model_may_write_the_proposals(tmp_path: Path) -> None:
    writer = Scripted(lambda request: text("Say the magic word."))
    spec = PromptSpec.model_validate({"budget": 200, "proposals": {"by": "http://h/v1", "model": "big", "count": 1}})
    engine = Scripted(lambda request: text(gold(request) if "magic" in request.messages[0].content else "no"))
    record = search(
        spec, TASK, "Classify.", TRAIN, DEV, engine, Shelves(TRAIN.items), folder(tmp_path), Silent(), lambda _: writer
    )
    assert (writer.calls, record.proposer) == (1, "big at http://h/v1")
    assert record.winner.instruction == "Say the magic word."
    assert record.calls == writer.calls + engine.calls


def test_the_arms_of_a_round_are_asked_in_one_call_to_the_engine(tmp_path: Path) -> None:
    batches: list[int] = []

    class Counting(Scripted):
        def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
            batches.append(len({request.messages[:-1] for request in requests}))
            return super().answer(requests)

    record = run(tmp_path, Counting(better_when_told))
    assert max(batches) >= 8
    assert len(batches) < len(record.arms)


class Broken(Scripted):
    """The service fails between two of its calls, whatever it is asked."""

    def __init__(self, reply: Callable[[Request], Answer], first: int, last: float = float("inf")) -> None:
        super().__init__(lambda request: self._now(reply, request))
        self._first, self._last = first, last

    def _now(self, reply: Callable[[Request], Answer], request: Request) -> Answer:
        down = self._first <= self.calls < self._last
        return Answer(error="status 503: overloaded") if down else reply(request)


@pytest.mark.parametrize("method", ["race", "gepa", "dspy"])
@pytest.mark.parametrize("first", [30, 60, 130])
def test_an_outage_ends_no_search_and_the_next_sitting_ends_as_if_there_was_none(
    method: str, first: int, tmp_path: Path
) -> None:
    def reply(request: Request) -> Answer:
        written = "write a new instruction" in request.messages[-1].content
        return text(f"Variant {luck(request)}, exactly one of") if written else better_when_told(request)

    spec = {"search": method, "budget": 160, "shots": [0, 4], "dev": split("dev", 20)}
    whole = run(tmp_path / "a", reply, **spec)
    store = folder(tmp_path / "b")
    with pytest.raises(EngineError, match=r"status 503: overloaded.*run again"):
        run(tmp_path, Broken(reply, first), store=store, **spec)
    after = Scripted(reply)
    assert run(tmp_path, after, store=store, **spec).model_dump_json() == whole.model_dump_json()
    assert after.calls < whole.calls - first / 2


def test_calls_that_fail_for_a_moment_are_asked_again_and_change_nothing(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", better_when_told)
    assert run(tmp_path / "b", Broken(better_when_told, 60, 70)) == whole


def test_a_prompt_that_lacks_more_than_an_evaluation_may_never_wins(tmp_path: Path) -> None:
    def long(request: Request) -> Answer:
        shown = len(request.messages) > 2
        if shown and request.messages[-1].content.endswith("7"):
            return Answer(error="longer than the context")
        return text(gold(request) if shown or luck(request) < 0.5 else "no idea")

    record = run(tmp_path, long, dev=split("dev", 100), budget=1500)
    assert record.winner_dev.n == 100
    assert any("calls failed: longer than the context" in arm.fate for arm in record.arms)


def test_where_every_arm_lacks_too_much_no_winner_is_written(tmp_path: Path) -> None:
    def some(request: Request) -> Answer:
        return Answer(error="refused") if request.messages[-1].content.endswith("7") else better_when_told(request)

    with pytest.raises(EngineError, match=r"refused.*At most 2% of the dev items may fail"):
        run(tmp_path, some)


@pytest.mark.parametrize(
    "spec",
    [
        {"templates": ["Input: {{ input }}\nOutput:"]},
        {"templates": ["Q: {{ input }}", "Q: {{ input }}"]},
        {"instructions": ["Do it.", "Do it.", "Classify."]},
        {"proposals": {"count": 4}},
    ],
)
def test_what_is_given_twice_is_one_arm(spec: dict[str, object], tmp_path: Path) -> None:
    asked: list[Request] = []

    def reply(request: Request) -> Answer:
        asked.append(request)
        return text("Classify.") if request.messages[0].content.startswith("You write") else better_when_told(request)

    record = run(tmp_path, reply, budget=600, **spec)
    contents = [(arm.prompt.instruction, arm.prompt.turn, arm.prompt.demonstrations) for arm in record.arms]
    keys = [
        (*content, arm.prompt.retrieval, arm.prompt.answer_after, arm.decoding.constraint)
        for content, arm in zip(contents, record.arms, strict=True)
    ]
    assert all(keys.count(key) == 1 for key in keys)
    assert len({(request.messages, request.decoding) for request in asked}) == len(asked) == record.calls


def test_a_constraint_that_the_engine_cannot_enforce_costs_no_call_and_is_told(tmp_path: Path) -> None:
    class Plain(Scripted):
        conditions = Scripted.conditions.model_copy(update={"engine": "openai", "flags": {"server": "http://h/v1"}})

    class Told(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    notes: list[str] = []
    spec = PromptSpec.model_validate({"budget": 400})
    engine, shelves = Plain(better_when_told), Shelves(TRAIN.items)
    record = search(spec, TASK, "Classify.", TRAIN, DEV, engine, shelves, folder(tmp_path), Told())
    assert all(arm.decoding.constraint is None for arm in record.arms)
    assert len(record.arms) > 5
    assert [note for note in notes if "http://h/v1 cannot constrain" in note]


def test_tokens_that_vary_take_no_more_than_one_call_beyond_the_budget(tmp_path: Path) -> None:
    dearest = 0

    def uneven(request: Request) -> Answer:
        nonlocal dearest
        words = sum(len(turn.content.split()) for turn in request.messages) * (1 if luck(request) < 0.8 else 3)
        written = (1, 2, 60)[int(luck(request) * 1000) % 3]
        dearest = max(dearest, words + written)
        return Answer(text=better_when_told(request).text, finish="stop", tokens_in=words, tokens_out=written)

    for seed in range(6):
        record = run(tmp_path / str(seed), uneven, budget={"tokens": 8000}, seed=seed)
        assert record.tokens
        assert record.tokens <= 8000 + dearest
        assert record.winner_dev.n == len(DEV.items)


def test_a_row_whose_answer_has_no_score_is_no_hard_one(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def right(answer, target):\n    return None if answer == 'skip' else float(answer == target)\n"
    )
    task = TaskSpec(metric=bind("own.py:right", tmp_path))

    def reply(request: Request) -> Answer:
        return text("skip") if "train" in request.messages[-1].content else better_when_told(request)

    record = run(tmp_path, reply, task=task, demonstrations=["balanced", "hard"], budget=800)
    assert not [arm.prompt.name for arm in record.arms if "hard" in arm.prompt.name]
