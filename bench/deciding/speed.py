"""Time and memory of comparing two large runs with clusters: in a process of its own, on one core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deciding.results import Result
from deciding.runs import scored
from deciding.worlds import World
from harness.compare import compare


@dataclass(frozen=True, slots=True)
class SpeedCell:
    """One comparison of runs that lie in memory as records."""

    items: int
    cluster: int
    scenario = "speed"

    @property
    def name(self) -> str:
        return f"speed | {self.items:,} samples a run, {self.items // self.cluster:,} clusters"

    @property
    def cost(self) -> float:
        return 10_000.0  # first, and so beside as little as possible

    def run(self, trials: int, rng: np.random.Generator) -> Result:
        command = [sys.executable, "-m", "deciding.speed", str(self.items), str(self.cluster)]
        paths = os.pathsep.join(str(folder) for folder in Path(__file__).resolve().parents[1:3])
        environment = os.environ | {"PYTHONPATH": paths}
        told = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
        return Result(1, values=json.loads(told.stdout))


def measure(items: int, cluster: int) -> dict[str, float]:
    """Seconds from records to the ComparisonRecord; peak memory of the whole process, records included, in bytes."""
    (ours,), theirs = World("0/1", items, 0.1, cluster=cluster, icc=0.2).draw(np.random.default_rng(0))
    candidate, reference = scored("tuned", ours, cluster), scored("base", theirs, cluster)
    before = peak_bytes()
    began = time.perf_counter()
    found = compare(*candidate, *reference)
    seconds = time.perf_counter() - began
    assert found.difference.n == items
    return {"seconds": seconds, "peak_bytes": peak_bytes(), "records_bytes": before}


def peak_bytes() -> int:
    """Most memory that this program has held. Not `ru_maxrss`, which a child takes over from who started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def speed_cells() -> list[SpeedCell]:
    """Many small clusters, and so few that the bootstrap joins in."""
    return [SpeedCell(100_000, 5), SpeedCell(100_000, 200)]


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
