"""Packages that some metrics need and the core does not: imported when first used, or an error that says how."""

from __future__ import annotations

import importlib
from types import ModuleType

from harness.errors import Problem, UsageError


def needed(module: str, why: str, extra: str = "metrics") -> ModuleType:
    """The module; UsageError with the extra that brings it otherwise."""
    try:
        return importlib.import_module(module)
    except ImportError as fault:
        package = module.partition(".")[0].replace("_", "-")
        hint = f"pip install 'finetune-harness[{extra}]'"
        raise UsageError(Problem("", f"{package} is not installed", why, hint)) from fault
