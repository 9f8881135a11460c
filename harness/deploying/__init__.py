"""The deploy gate: any candidate held against what is in its place now, on suites and on the task's own test split.

spec      what a gate's spec.yaml holds
naming    which of the seven kinds a name on the command line is
sides     the two sides: weights, prompt, decoding, by content
taking    adapters and models that lie in a folder
planning  suites, rules and the identity of a gate
stored    runs that the store holds already
gating    the page: from two sides to a verdict
telling   the verdict as a pull request shows it, the failing samples named
"""

from harness.deploying.gating import run
from harness.deploying.planning import Asked, Deployment, again, plan
from harness.deploying.spec import DEFAULT_MARGIN, REFERENCE, DeploySpec, SideSpec
from harness.deploying.telling import failing_samples, markdown

__all__ = [
    "DEFAULT_MARGIN",
    "REFERENCE",
    "Asked",
    "DeploySpec",
    "Deployment",
    "SideSpec",
    "again",
    "failing_samples",
    "markdown",
    "plan",
    "run",
]
