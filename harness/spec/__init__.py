"""The experiment file: composes the part-specs, tells all its faults at once, and gives it an id.

model    what an experiment file holds
parsing  YAML to that, with the policy file that it names
checks   what one part says against what another knows
ruling   what a gate can name in a suite
promises the constraint and templates of the user's, tried on the rows
loading  data, suites and must-not-break items read; the id
"""

from harness.money import BudgetSpec
from harness.spec.loading import Experiment, load
from harness.spec.model import REFERENCES, ExperimentSpec
from harness.spec.parsing import parse, read_policy
from harness.spec.ruling import deploy_problems

__all__ = [
    "REFERENCES",
    "BudgetSpec",
    "Experiment",
    "ExperimentSpec",
    "deploy_problems",
    "load",
    "parse",
    "read_policy",
]
