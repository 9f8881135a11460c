"""Blind votes of people: kept, counted, agreeing, and judged by a gate."""

from __future__ import annotations

import random
import shutil
import threading
import warnings
from pathlib import Path

import pytest
from sample_store import build
from voting import always_a, the_right_one, vote_on

from harness import gates, reviewing
from harness.compare import HUMAN, LEAST_VOTES
from harness.errors import StoreError
from harness.gates import Entrant, GateSpec, PolicySpec
from harness.records import VerdictRecord
from harness.report import write_reports
from harness.reviewing import Preferred, blind_pairs, cohen, fleiss, shown_first
from harness.store import ExperimentStore, Store, counted

TUNED, BEST = "tuned-seed0--task--test", "best_prompt--task--test"
LABELS = ("won", "lost", "tied", "both_bad")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("reports")).find("claims").path


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> ExperimentStore:
    shutil.copytree(built, tmp_path / built.name)
    return ExperimentStore(tmp_path / built.name)


def test_pairs_that_read_alike_are_not_asked_and_the_order_is_shuffled_but_fixed(folder: ExperimentStore) -> None:
    pairs = blind_pairs(folder, TUNED, BEST)
    assert pairs
    assert all(pair.candidate.strip() != pair.reference.strip() for pair in pairs)
    assert [pair.key for pair in pairs] == [pair.key for pair in blind_pairs(folder, TUNED, BEST)]
    numbers = [int(pair.id.removeprefix("test-")) for pair in pairs]
    assert numbers != sorted(numbers)


def test_each_reviewer_has_sides_of_his_own(folder: ExperimentStore) -> None:
    pairs = blind_pairs(folder, TUNED, BEST)
    sides = {name: [shown_first(pair, TUNED, BEST, name) for pair in pairs] for name in ("ann", "bob")}
    assert sides["ann"] != sides["bob"]
    assert {*sides["ann"]} == {"candidate", "reference"}


def test_who_prefers_the_right_answer_gives_the_right_win_rate(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", the_right_one, 40)
    told = reviewing.review(folder, TUNED, BEST)
    won, lost, ties = told.counts["won"], told.counts["lost"], told.counts["tied"] + told.counts["both_bad"]
    assert told.voted == won + lost + ties
    assert told.rate.value == pytest.approx((won + ties / 2) / told.voted)
    assert told.rate.low is not None
    assert told.rate.low < told.rate.value < (told.rate.high or 0)
    assert told.agreement is None


def test_who_votes_by_place_alone_prefers_nobody_much(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", always_a, 1000)
    told = reviewing.review(folder, TUNED, BEST)
    assert told.counts["won"] > 0 < told.counts["lost"]


def test_a_later_vote_counts_and_the_earlier_one_stays(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", always_a, 1)
    vote_on(folder, "ann", lambda *_: "tie", 1)
    assert [vote.choice for vote in folder.votes()] == ["a", "tie"]
    assert [vote.choice for vote in counted(folder.votes())] == ["tie"]
    assert reviewing.review(folder, TUNED, BEST).voted == 1


def test_a_vote_on_other_texts_does_not_count(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", always_a, 3)
    folder.vote([vote.model_copy(update={"answers": "0" * 64, "reviewer": "eve"}) for vote in folder.votes()])
    assert reviewing.review(folder, TUNED, BEST).reviewers == {"ann": 3}


def test_reviewers_at_once_do_not_mix_their_lines(folder: ExperimentStore) -> None:
    names = [f"reviewer {number}" for number in range(8)]
    threads = [threading.Thread(target=vote_on, args=(folder, name, always_a, 10)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = len(blind_pairs(folder, TUNED, BEST)[:10])
    assert reviewing.review(folder, TUNED, BEST).reviewers == dict.fromkeys(names, held)


def test_a_torn_line_is_cut_off_and_a_damaged_one_is_named(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", always_a, 1)
    path = folder.path / "votes.jsonl"
    path.write_bytes(path.read_bytes() + b'{"torn')
    vote_on(folder, "bob", always_a, 1)
    assert [vote.reviewer for vote in folder.votes()] == ["ann", "bob"]
    path.write_bytes(b"no vote\n" + path.read_bytes())
    with pytest.raises(StoreError, match=r"votes\.jsonl:1"):
        folder.votes()


def test_kappa_of_two_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(3)
    one = [draw.choice(LABELS) for _ in range(60)]
    other = [label if draw.random() < 0.6 else draw.choice(LABELS) for label in one]
    assert cohen(one, other).value == pytest.approx(metrics.cohen_kappa_score(one, other), abs=1e-12)


def test_kappa_of_many_is_that_of_statsmodels() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("statsmodels.stats.inter_rater")
    draw = random.Random(4)
    counts = []
    for _ in range(40):
        said = [draw.choice(LABELS[: draw.randint(1, 4)]) for _ in range(5)]
        counts.append([said.count(label) for label in LABELS])
    found = fleiss(counts)
    assert found.value == pytest.approx(peer.fleiss_kappa(counts), abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_where_chance_agrees_fully_there_is_no_kappa() -> None:
    assert cohen(["tied"] * 9, ["tied"] * 9).value is None
    assert fleiss([[3, 0]] * 9).value is None


def test_two_reviewers_have_cohens_kappa_three_have_fleiss(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", the_right_one, 20)
    vote_on(folder, "bob", the_right_one, 30)
    agreed = reviewing.review(folder, TUNED, BEST).agreement
    assert agreed is not None
    assert agreed.value == 1
    assert agreed.n == 20
    assert agreed.method.startswith("cohen")
    vote_on(folder, "eve", always_a, 20)
    agreed = reviewing.review(folder, TUNED, BEST).agreement
    assert agreed is not None
    assert agreed.value is not None
    assert agreed.value < 1
    assert agreed.method.startswith("fleiss")


def test_the_judge_is_held_against_the_majority_of_people(folder: ExperimentStore) -> None:
    vote_on(folder, "ann", the_right_one, 25)
    with folder.journal(reviewing.JOURNAL) as journal:
        for pair in blind_pairs(folder, TUNED, BEST)[:20]:
            right = [pair.candidate == pair.target, pair.reference == pair.target]
            said = "tied" if right[0] is right[1] else "won" if right[0] else "lost"
            journal.append([_said(pair.key, said)])
    told = reviewing.review(folder, TUNED, BEST)
    assert told.judge_share is not None
    assert (told.judge_share.value, told.judge_share.n) == (1.0, 20)
    assert told.judge is not None
    assert told.judge.value == 1.0
    assert told.judge_name == "a judge"
    assert told.judge_rate is not None
    assert told.judge_rate.n == 20
    write_reports(folder)
    for name in ("report.md", "report.html"):
        page = (folder.path / name).read_text(encoding="utf-8")
        assert "agreement of the judge with people, kappa" in page
        assert "win rate by the judge a judge" in page
        assert "win rate by blind votes of people" in page


def test_a_report_without_votes_says_nothing_of_people(folder: ExperimentStore) -> None:
    write_reports(folder)
    assert "What people" not in (folder.path / "report.md").read_text(encoding="utf-8")


def _said(key: tuple[str, str, int], outcome: str) -> Preferred:
    return Preferred(
        key="", judge="a judge", candidate=TUNED, reference=BEST, task=key[0], id=key[1], repeat=key[2],
        outcome=outcome, calls=2,
    )  # fmt: skip


def judged(folder: ExperimentStore, **rule: float) -> tuple[str, str]:
    gate = GateSpec(metric=HUMAN, against="best_prompt", **rule)
    entrant = Entrant("tuned-seed0", 0.025, [reviewing.evidence(folder, TUNED, BEST)])
    ((record,),), _ = gates.judge(PolicySpec(), [gate], [entrant])
    return record.outcome, record.reason


def test_a_gate_on_votes_is_inconclusive_until_there_are_enough_then_decides(folder: ExperimentStore) -> None:
    assert judged(folder, min_delta=0.0)[0] == "inconclusive"
    vote_on(folder, "ann", the_right_one, LEAST_VOTES - 1)
    outcome, reason = judged(folder, min_delta=0.0)
    assert outcome == "inconclusive"
    assert f"voted on {LEAST_VOTES - 1} pairs" in reason
    vote_on(folder, "ann", the_right_one, 1000)
    assert judged(folder, min_delta=0.0)[0] == "pass"
    assert judged(folder, min_delta=0.99)[0] == "fail"


def test_a_verdict_that_waited_for_votes_is_judged_again_once(folder: ExperimentStore) -> None:
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    assert not reviewing.may_judge_again(folder, verdict)
    waiting = verdict.gates[0].model_copy(update={"metric": HUMAN, "comparison": None})
    verdict = verdict.model_copy(update={"gates": (waiting,)})
    assert not reviewing.may_judge_again(folder, verdict)
    vote_on(folder, "ann", the_right_one, 1000)
    assert reviewing.may_judge_again(folder, verdict)
    record = reviewing.evidence(folder, TUNED, BEST).record()
    settled = waiting.model_copy(update={"comparison": record})
    assert not reviewing.may_judge_again(folder, verdict.model_copy(update={"gates": (settled,)}))


def test_a_verdict_set_aside_is_kept(folder: ExperimentStore) -> None:
    verdict = folder.read(VerdictRecord)
    assert verdict is not None
    folder.set_aside_verdict()
    folder.write(verdict)
    folder.set_aside_verdict()
    assert sorted(path.name for path in (folder.path / "verdicts").iterdir()) == ["1.json", "2.json"]


def test_votes_on_what_is_no_experiment_are_refused(tmp_path: Path, folder: ExperimentStore) -> None:
    vote_on(folder, "ann", always_a, 1)
    with pytest.raises(StoreError, match="is no experiment"):
        Store(tmp_path).at("nothing").vote(folder.votes())
