"""Joined pairs: intervals at any level, with unscored items imagined, for relative margins, claims and directions."""

import numpy as np
import pytest
from scored_runs import run, sample, scores

from harness import stats
from harness.compare import Pairs, alone, join, slice_values
from harness.errors import NotComparableError, UsageError
from harness.records import SampleRecord

NEW = scores([1, 1, 1, 0, 1, 0, 1, 1] * 5)
OLD = scores([1, 0, 1, 1, 0, 0, 1, 0] * 5)


def joined(new: list[SampleRecord], old: list[SampleRecord], **options: object) -> Pairs:
    return join([(run(new), new)], (run(old, "base"), old), **options)


def seeds(*sides: list[SampleRecord]) -> list[tuple]:
    return [(run(side, f"s{i}"), side) for i, side in enumerate(sides)]


# ------------------------------------------------------------------------ levels


def test_one_join_gives_intervals_at_every_level():
    pairs = joined(NEW, OLD)
    narrow, wide = pairs.interval(0.9), pairs.interval(0.99)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert (narrow.confidence, narrow.n) == (0.9, 40)
    assert pairs.interval(0.9) is narrow
    assert pairs.record(0.9).difference == narrow


def test_pairs_state_the_facts_that_gates_ask_for():
    new, old = [*NEW, sample("x", None)], [*OLD, sample("x", 1)]
    pairs = joined(new, old)
    assert (pairs.n, pairs.unscored, pairs.bounded, pairs.all_zero, pairs.seeds) == (40, 1, True, False, 1)
    assert joined(scores([0, 0]), scores([0, 0])).all_zero
    assert not joined(scores([2, 0]), scores([1, 0])).bounded


# ---------------------------------------------------------------- unscored items


def with_unscored(k: int) -> tuple[list[SampleRecord], list[SampleRecord]]:
    return [*NEW, *scores([None] * k, task="u")], [*OLD, *scores([1] * k, task="u")]


@pytest.mark.parametrize(("unscored", "gained", "lost"), [("lost", 15, 8), ("won", 18, 5)])
def test_unscored_items_imagined_lost_or_won_complete_the_table(unscored, gained, lost):
    found = joined(*with_unscored(3)).interval(0.95, unscored)
    assert (found.low, found.high) == stats.tango_interval(gained, lost, 43, 0.95)
    assert (found.n, found.value) == (43, (gained - lost) / 43)


def test_real_valued_scores_are_completed_too():
    new, old = scores([0.5, 0.7, None, 0.9] * 10), scores([0.4, 0.8, 0.1, 0.6] * 10)
    pairs = joined(new, old)
    assert pairs.interval(0.95, "lost").value == pytest.approx((3 - 10) / 40)
    assert pairs.interval(0.95, "won").value == pytest.approx((3 + 10) / 40)


def test_without_unscored_items_there_is_nothing_to_imagine():
    pairs = joined(NEW, OLD)
    assert pairs.interval(0.95, "lost") is pairs.interval(0.95, "won") is pairs.interval(0.95)


def test_scores_without_a_worst_value_cannot_be_imagined_lost():
    pairs = joined(scores([3.0, None, 1.0]), scores([1.0, 2.0, 2.0]))
    with pytest.raises(ValueError, match="cannot be imagined lost"):
        pairs.interval(0.95, "lost")


def test_clusters_of_unscored_items_stay_whole():
    new = [sample(f"{i:03d}", None if i % 5 == 0 else float(i % 2), cluster=f"p{i // 5}") for i in range(100)]
    old = [sample(f"{i:03d}", 0.0, cluster=f"p{i // 5}") for i in range(100)]
    assert joined(new, old).interval(0.95, "lost").method.startswith("cluster-t")


# -------------------------------------------------------- relative margins, claims


def test_a_factor_multiplies_the_reference():
    pairs = joined(NEW, OLD, factor=0.9)
    record = pairs.record()
    assert record.difference.value == pytest.approx(record.candidate_mean - 0.9 * record.reference_mean)
    assert record.factor == 0.9
    assert (record.won, record.lost) == (joined(NEW, OLD).record().won, joined(NEW, OLD).record().lost)


def test_the_recipe_speaks_of_the_next_seed_too():
    rng = np.random.default_rng(1)
    tuned = [scores((rng.random(80) < share).astype(float).tolist()) for share in (0.5, 0.7, 0.9)]
    old = scores([0, 1] * 40)
    both = [join(seeds(*tuned), (run(old, "base"), old), claim=claim) for claim in ("artifact", "recipe")]
    artifact, recipe = (pairs.record() for pairs in both)
    assert recipe.difference.value == pytest.approx(artifact.difference.value)
    assert recipe.difference.high - recipe.difference.low > 2 * (artifact.difference.high - artifact.difference.low)
    assert (recipe.claim, recipe.seeds, artifact.claim) == ("recipe", 3, "artifact")


def test_an_item_that_one_seed_lacks_is_unscored_for_all():
    pairs = join(seeds(scores([1, None, 1]), scores([1, 1, 1])), (run(scores([0, 0, 0]), "base"), scores([0, 0, 0])))
    assert (pairs.n, pairs.unscored) == (2, 1)


@pytest.mark.parametrize(
    ("sides", "options", "message"),
    [
        ([NEW], {"claim": "recipe"}, "recipe needs several training seeds, one was given"),
        ([NEW, OLD], {"claim": "recipe", "metric": "latency_p95_s"}, "recipe has no interval for latency_p95_s"),
        ([NEW, OLD], {"claim": "recipe", "metric": "macro_f1"}, "recipe has no interval for macro_f1"),
        ([NEW, OLD], {"metric": "latency_p50_s"}, "no seed's quantile"),
    ],
)
def test_claims_that_the_runs_cannot_carry_are_refused(sides, options, message):
    with pytest.raises(UsageError, match=message):
        join(seeds(*sides), (run(OLD, "base"), OLD), **options)


def test_equal_seeds_differ_by_no_rounding_noise():
    old = scores([i % 11 / 10 for i in range(60)])
    once, thrice = (join(seeds(*[old] * k), (run(old, "base"), old)) for k in (1, 3))
    assert thrice.interval(0.95) == once.interval(0.95)
    assert thrice.record().tied == 60


def test_items_may_have_different_numbers_of_repeats():
    new = [sample("a", s, repeat=r) for r, s in enumerate([1, 0, 0.5])] + [sample("b", 1)]
    old = [sample("a", 0, repeat=r) for r in range(3)] + [sample("b", 0)]
    assert joined(new, old).record().difference.value == 0.75


def test_repeats_in_another_order_are_tied():
    new = [sample("a", s, repeat=r) for r, s in enumerate([0.1, 0.2, 0.3])]
    old = [sample("a", s, repeat=r) for r, s in enumerate([0.3, 0.2, 0.1])]
    record = joined(new, old).record()
    assert (record.tied, record.repeats) == (1, 3)


# ------------------------------------------------------------------------- slices

CUT = [sample(f"{i:02d}", float(i % 3 > 0), slices={"language": "de" if i % 2 else "en"}) for i in range(40)]
CUT_OLD = [s.model_copy(update={"scores": {"acc": float(i % 4 > 0)}}) for i, s in enumerate(CUT)]


def test_a_slice_takes_only_its_items():
    by_hand = [s for s in CUT if s.slices["language"] == "de"], [s for s in CUT_OLD if s.slices["language"] == "de"]
    cut = joined(CUT, CUT_OLD, slice="language=de").record()
    assert (cut.slice, cut.difference.n) == ("language=de", 20)
    assert cut.difference == joined(*by_hand).record().difference
    assert alone((run(CUT), CUT), slice="language=en").n == 20


def test_the_values_of_a_slice_are_listed():
    assert slice_values(CUT, "language") == ("de", "en")


@pytest.mark.parametrize(
    ("slice", "message"),
    [
        ("langage=de", r"unknown name 'langage'\. Did you mean 'language'\? Known: language"),
        ("language=dee", r"unknown value 'dee' of language\. Did you mean 'de'\? Known: de, en"),
        ("language", r"got 'language'\. name=value"),
    ],
)
def test_an_unknown_slice_is_answered_with_the_nearest(slice, message):
    with pytest.raises(UsageError, match=message):
        joined(CUT, CUT_OLD, slice=slice)


def test_items_without_slices_say_so():
    with pytest.raises(UsageError, match="These items have no slices"):
        slice_values(NEW, "language")


def test_sides_that_disagree_on_the_slice_asked_for_are_refused():
    moved = [CUT[0].model_copy(update={"slices": {"language": "fr"}}), *CUT[1:]]
    with pytest.raises(NotComparableError, match=r"t/00\.slices\.language differs: 'fr' against 'en'"):
        joined(moved, CUT_OLD, slice="language=de")
    assert joined(moved, CUT_OLD).n == 40
