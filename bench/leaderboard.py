"""How fast the leaderboard opens and answers, by the size of the store, through the real app in a real browser.

    python bench/leaderboard.py measure [--sizes 100,1000,10000] [--rounds 3] [--stores DIR]
    python bench/leaderboard.py samples [--rounds 3] [--stores DIR]
    python bench/leaderboard.py page          # writes the figures that are there into docs/leaderboard.md

Every experiment has 1,008 samples in seven runs. Stores are generated once under DIR (default: a temporary folder).
Figures go to bench/leaderboard.json with the machine that they were taken on.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]
FIGURES, PAGE = ROOT / "bench" / "leaderboard.json", ROOT / "docs" / "leaderboard.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

from harness import machine  # noqa: E402  the checkout comes first

HEAD = (
    "experiments",
    "samples",
    "",
    "first table",
    "all read",
    "visit beside",
    "visit again",
    "next page",
    "search",
    "a new one",
    "CPU",
)
TIMES = ("open_s", "complete_s", "beside_s", "again_s", "page_s", "search_s", "new_s", "cpu_s")
NAMES = {"floor": "bare Streamlit", "cold": "first ever", "warm": "remembered"}


def measure(given: argparse.Namespace) -> None:
    """Generate the stores, look at each, keep the figures."""
    from boarding.browser import measure as look_at_all
    from boarding.stores import grow, make_templates

    from harness.store import Store

    with tempfile.TemporaryDirectory() as folder:
        root = given.stores or Path(folder)
        templates = Store(root / "templates")
        if not templates.ids():
            make_templates(templates.root)
        stores = [Store(root / str(size)) for size in given.sizes]
        for store, size in zip(stores, given.sizes, strict=True):
            began = time.monotonic()
            grow(store, templates, size)
            print(f"{size:,} experiments in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        rows = look_at_all(stores, templates, given.rounds)
    keep("openings", rows)


def samples(given: argparse.Namespace) -> None:
    """Generate one experiment of long runs, compare and review it, keep the figures."""
    from boarding.samples import make
    from boarding.samples import measure as look_at_samples

    with tempfile.TemporaryDirectory() as folder:
        keep("samples", look_at_samples(make((given.stores or Path(folder)) / "samples"), given.rounds))


def keep(name: str, rows: list[dict[str, Any]]) -> None:
    """Put figures into the file, with the machine and the command that they come from."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    taken = f"{machine.cpus()} cores, {machine.system()}, streamlit {importlib.metadata.version('streamlit')}"
    given = sys.argv[1:]
    told = [one for before, one in zip(["", *given], given, strict=False) if "--stores" not in (before, one)]
    command = shlex.join(["python", "bench/leaderboard.py", *told])
    kept[name] = {"machine": taken, "command": command, "rows": rows}
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def page(_: argparse.Namespace) -> None:
    """Write the tables into the page."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    told = "\n\n".join([table(kept["openings"]), sentence(kept["samples"])])
    PAGE.write_text(f"{before}{BEGIN}\n{told}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def table(kept: dict[str, Any]) -> str:
    """Medians with their range, a line a size and kind."""
    rows = kept["rows"]
    keys = list(dict.fromkeys((row["experiments"], row["kind"]) for row in rows))
    lines = ["| " + " | ".join(HEAD) + " |", "|---:|---:|---" + "|---:" * (len(HEAD) - 3) + "|"]
    for size, kind in sorted(keys, key=lambda key: (key[0], list(NAMES).index(key[1]))):
        mine = [row for row in rows if (row["experiments"], row["kind"]) == (size, kind)]
        cells = [seconds(mine, name) for name in TIMES]
        counts = [f"{size:,}", f"{size * 1008:,}"] if size else ["", ""]
        lines.append("| " + " | ".join([*counts, NAMES[kind], *cells]) + " |")
    rounds = max(sum(row["kind"] == kind and row["experiments"] == size for row in rows) for size, kind in keys)
    start, bare = (statistics.median(r["server_s"] for r in rows if (r["kind"] == "floor") is b) for b in (False, True))
    loads = [row["load"] for row in rows]
    return (
        f"Seconds, median of {rounds} rounds and range. {kept['machine']}. `{kept['command']}`. Starting the server "
        f"takes {start:.1f} s before that, whatever the store ({bare:.1f} s for bare Streamlit). Load average of the "
        f"machine meanwhile: {min(loads):.1f} to {max(loads):.1f}.\n\n" + "\n".join(lines)
    )


def sentence(kept: dict[str, Any]) -> str:
    """Compare and Review on long runs."""
    rows = kept["rows"]
    took = {name: seconds(rows, f"{name}_s") for name in ("compare", "next", "find", "review", "vote")}
    return (
        f"On runs of 20,000 samples, at the first visit of a server, Compare opens in {took['compare']} s, the next "
        f"sample is there after {took['next']} s, a text found in all of them after {took['find']} s; Review opens in "
        f"{took['review']} s, and a vote leads to the next pair in {took['vote']} s. Median of {len(rows)} rounds and "
        f"range. `{kept['command']}`."
    )


def seconds(rows: Sequence[dict[str, Any]], name: str) -> str:
    """`0.94 (0.88 to 1.10)`."""
    values = [row[name] for row in rows if row.get(name) is not None]
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("measure")
    part.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")], default=[100, 1000, 10000])
    part.add_argument("--rounds", type=int, default=3)
    part.add_argument("--stores", type=Path)
    part.set_defaults(do=measure)
    part = parts.add_parser("samples")
    part.add_argument("--rounds", type=int, default=3)
    part.add_argument("--stores", type=Path)
    part.set_defaults(do=samples)
    parts.add_parser("page").set_defaults(do=page)
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()
