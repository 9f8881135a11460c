"""Gates: the rules of a policy, the evidence they ask for, the decision that follows, and what they can decide at all.

rules        a gate as it stands in the experiment file or a policy
policy       how much error is allowed, and how it is spent over looks and gates
gathering    the evidence of each gate, out of runs
questions    one margin and one piece of evidence, asked at any level of error
judging      all gates of all candidates, FAILs corrected over the family; the decision
reasons      an outcome in one sentence, and what would settle it
watching     stopping an evaluation as soon as its gates are decided
forecasting  what a gate can decide with n items, before anything is run
"""

from harness.gates.forecasting import Forecast, forecast, forecast_score, no_forecast
from harness.gates.gathering import gather
from harness.gates.judging import Entrant, choose, decide, judge
from harness.gates.policy import PolicySpec, level_at
from harness.gates.questions import Answered, Evidence
from harness.gates.rules import GateSpec

__all__ = [
    "Answered",
    "Entrant",
    "Evidence",
    "Forecast",
    "GateSpec",
    "PolicySpec",
    "choose",
    "decide",
    "forecast",
    "forecast_score",
    "gather",
    "judge",
    "level_at",
    "no_forecast",
]
