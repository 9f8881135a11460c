"""Production: what the logs of a deployed model say, whether anything changed, and when to train again.

requests, logs     one logged request in its forms; files and URLs to requests, broken lines named
reference          what production is held against: an experiment's training questions and judged answers
texts, features    topics and novelty; every measure of a request, and the bins that bets are made on
betting            bets against "nothing changed", valid whenever one looks
drift, canary      tests of one look and the bets over all of them; two versions in one log
looking            one look, appended to the store's ledger
policy             when retraining is due, and the exit code
suggest            rows worth labelling
frames             what a page is drawn from
"""

from harness.monitoring.canary import compare
from harness.monitoring.frames import LOOK_COLUMNS, deployments, drift_tests, looks, streams, volume
from harness.monitoring.logs import read_logs
from harness.monitoring.looking import Look, Wanted, look
from harness.monitoring.policy import EXITS, RetrainSpec, exit_code, read_policy
from harness.monitoring.reference import Reference, of_experiment
from harness.monitoring.suggest import suggest, write

__all__ = [
    "EXITS",
    "LOOK_COLUMNS",
    "Look",
    "Reference",
    "RetrainSpec",
    "Wanted",
    "compare",
    "deployments",
    "drift_tests",
    "exit_code",
    "look",
    "looks",
    "of_experiment",
    "read_logs",
    "read_policy",
    "streams",
    "suggest",
    "volume",
    "write",
]
