"""Gates: signed rules over a comparison, the decision that follows, and what a gate can decide at all.

rules        a gate as it stands in the experiment file
judging      applying it to a comparison; the decision over all gates
forecasting  what it can decide with n items, before anything is run
"""

from harness.gates.forecasting import Forecast, forecast
from harness.gates.judging import decide, judge
from harness.gates.rules import GateSpec

__all__ = ["Forecast", "GateSpec", "decide", "forecast", "judge"]
