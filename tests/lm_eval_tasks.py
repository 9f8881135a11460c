"""lm-eval's own reading of a suite, offline: for tests that compare it with ours."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest


def manager(include: Path, cache: Path, patch: pytest.MonkeyPatch) -> Any:
    """lm-eval's task manager over one folder, with a data cache of its own and without the hub."""
    import datasets
    from lm_eval.tasks import TaskManager

    patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=str(include), include_defaults=False)


def requests(task: Any) -> list[list[Any]]:
    """lm-eval's requests, grouped by document."""
    grouped: dict[int, list[Any]] = {}
    for instance in task.instances:
        grouped.setdefault(instance.doc_id, []).append(instance)
    return [grouped[key] for key in sorted(grouped)]
