"""Several gates and several candidates: FAILs are corrected over the family, passes by the look."""

import numpy as np
import pytest
from judged import ONCE, candidate, gate, table
from scipy import stats as scipy_stats
from scored_runs import run
from statsmodels.stats.multitest import multipletests

from harness.gates import Entrant, GateSpec, PolicySpec, gather, judge
from harness.gates.policy import level_at
from harness.records import GateRecord


def entrant(name: str, gates: list[GateSpec], losses: list[int], level: float = 0.025, n: int = 400) -> Entrant:
    """A candidate that lost so many items on each gate and gained none."""
    evidence = []
    for spec, lost in zip(gates, losses, strict=True):
        new, old = table(0, lost, n, n // 2)
        evidence.append(gather(spec, [candidate(new)], (run(old, "base"), old), "artifact", None))
    return Entrant(name, level, evidence)


def outcomes(policy: PolicySpec, gates: list[GateSpec], losses: list[int]) -> list[str]:
    (records,), _ = judge(policy, gates, [entrant("tuned", gates, losses)])
    return [record.outcome for record in records]


def test_one_gate_alone_fails_at_half_of_alpha():
    (((got,),), family) = judge(ONCE, [gate(0.0)], [entrant("tuned", [gate(0.0)], [5])])
    assert (got.outcome, got.fail_level) == ("fail", 0.025)
    assert family is not None
    assert (family.correction, family.alpha, len(family.members)) == ("holm", 0.025, 1)


def test_the_same_loss_is_no_fail_among_many_gates():
    gates = [gate(0.0) for _ in range(8)]
    assert outcomes(ONCE, gates, [5] + [0] * 7) == ["inconclusive"] * 8


def test_a_clear_fail_makes_room_for_the_next():
    gates = [gate(0.0) for _ in range(3)]
    assert outcomes(ONCE, gates, [0, 0, 5])[2] == "inconclusive"  # tested at 0.025 / 3
    assert outcomes(ONCE, gates, [30, 30, 5]) == ["fail"] * 3


@pytest.mark.parametrize("seed", range(5))
def test_the_steps_are_those_of_holms_procedure_on_p_values(seed):
    losses = np.random.default_rng(seed).integers(0, 14, 8).tolist()
    gates = [gate(0.0) for _ in losses]
    # No gains: Tango's statistic at a margin of 0 is McNemar's, -sqrt(losses).
    p = scipy_stats.norm.cdf(-np.sqrt(losses))
    rejected, *_ = multipletests(p, alpha=0.025, method="holm")
    assert [name == "fail" for name in outcomes(ONCE, gates, losses)] == rejected.tolist()


def test_advisory_gates_stay_out_of_the_family_unless_it_is_all():
    gates = [gate(0.0), gate(0.0, tier="advisory")]
    for name, size, level in (("blocking", 1, 0.025), ("all", 2, 0.0125)):
        policy = PolicySpec(family=name)
        (records,), family = judge(policy, gates, [entrant("tuned", gates, [0, 0])])
        assert family is not None
        assert (len(family.members), records[0].fail_level) == (size, level)
        assert records[1].fail_level == (0.025 if name == "blocking" else 0.0125)


def test_every_slice_of_a_worst_slice_gate_is_in_the_family():
    spec = gate(0.0, worst_slice="language")
    new, old = table(0, 5, 400, 200)
    halves = [[s.model_copy(update={"slices": {"language": "de" if i % 2 else "en"}}) for i, s in enumerate(side)]
              for side in (new, old)]  # fmt: skip
    evidence = gather(spec, [candidate(halves[0])], (run(halves[1], "base"), halves[1]), "artifact", None)
    _, family = judge(ONCE, [spec], [Entrant("tuned", 0.025, [evidence])])
    assert family is not None
    assert len(family.members) == 2
    assert "language=de" in family.members[0]


def test_finalists_share_the_family_and_keep_their_own_levels():
    gates = [gate(-0.05)]
    policy = PolicySpec()
    entrants = [entrant(f"tuned-seed{i}", gates, [0], level_at(policy, 0.05 - 0.05 / 2**i, i + 1)) for i in range(3)]
    rows, family = judge(policy, gates, entrants)
    assert [row[0].pass_level for row in rows] == pytest.approx([0.025, 0.0125, 0.00625])
    assert family is not None
    assert family.members == tuple(f"tuned-seed{i}: task vs base" for i in range(3))
    lows = [row[0].low for row in rows]
    assert lows == sorted(lows, reverse=True)


def test_no_gate_of_an_unchanged_model_fails_more_often_than_alpha_allows():
    """Eight gates at a margin of 0 on a model that changes items at random: any FAIL in at most 5 % of 400 trials."""
    rng, gates, failed = np.random.default_rng(0), [gate(0.0) for _ in range(8)], 0
    for _ in range(400):
        evidence = []
        for spec in gates:
            gained, lost, _ = rng.multinomial(60, [0.15, 0.15, 0.7]).tolist()
            new, old = table(gained, lost, 60, 10)
            evidence.append(gather(spec, [candidate(new)], (run(old, "base"), old), "artifact", None))
        (records,), _ = judge(ONCE, gates, [Entrant("tuned", 0.025, evidence)])
        failed += any(record.outcome == "fail" for record in records)
    assert 0 < failed <= 0.05 * 400


def test_every_record_names_its_candidate():
    gates = [gate(0.0), gate(None, must_not_break="x.jsonl")]
    new, old = table(1, 1, 20, 5)
    evidence = [gather(spec, [candidate(new)], (run(old, "base"), old), "artifact", None) for spec in gates]
    (records,), _ = judge(ONCE, gates, [Entrant("tuned-seed3", 0.025, evidence)])
    assert all(isinstance(record, GateRecord) and record.candidate == "tuned-seed3" for record in records)
