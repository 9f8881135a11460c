"""Time and memory of duplicate and leakage search over made-up rows, beside semhash on the same rows.

    python bench/audit_speed.py [--rows 10000,100000,1000000] [--held 20000] [--peers semhash] [--whole]

Rows are short questions from a Zipf-like vocabulary, with planted exact copies (2 %), near copies (2 %: a slip, a
greeting, a word replaced), exact leaks (0.5 %) and near leaks (0.5 %). Every size runs in a process of its own, so that
its peak memory is its own. `--whole` runs the whole audit with every rule instead. semhash gets an encoder of character
3-grams, since its own embedding model needs a model hub, and the cosine that answers to the audit's Jaccard threshold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PLANTED = {"exact": 0.02, "near": 0.02, "leak_exact": 0.005, "leak_near": 0.005}
LABELS = 50


def vocabulary(rng: random.Random, size: int = 30_000) -> tuple[list[str], list[float]]:
    """Pronounceable words and how often each is used."""
    parts = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    words = sorted(
        {"".join(rng.choices(parts, k=rng.randint(1, 4))) + rng.choice("nrsltd ").strip() for _ in range(size * 2)}
    )
    rng.shuffle(words)
    return words[:size], [1 / (rank + 10) for rank in range(min(size, len(words)))]


def near_copy(rng: random.Random, text: str) -> str:
    """The text with a slip of the pen, a greeting, or one word of another kind."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    how = rng.randrange(3)
    if how == 0 and len(words[at]) > 3:
        words[at] = words[at][:1] + words[at][2] + words[at][1] + words[at][3:]
    elif how == 1:
        return f"Hi, {text} please"
    else:
        words[at] += "s"
    return " ".join(words)


def make(folder: Path, rows: int, held: int) -> dict[str, set[int]]:
    """train.jsonl and test.jsonl, and the lines that were planted by kind."""
    rng = random.Random(rows)
    words, weights = vocabulary(rng)
    cumulated = list(itertools.accumulate(weights))

    def sentence() -> str:
        return " ".join(rng.choices(words, cum_weights=cumulated, k=rng.randint(7, 14)))

    tests = [sentence() for _ in range(held)]
    planted: dict[str, set[int]] = {kind: set() for kind in PLANTED}
    kinds, shares = list(PLANTED), list(PLANTED.values())
    with (folder / "test.jsonl").open("w") as file:
        for number, text in enumerate(tests):
            file.write(
                json.dumps({"id": f"t{number}", "prompt": text, "completion": f"label_{number % LABELS}"}) + "\n"
            )
    first: list[tuple[str, str]] = []
    with (folder / "train.jsonl").open("w") as file:
        for line in range(1, rows + 1):
            kind = rng.choices([None, *kinds], [1 - sum(shares), *shares])[0]
            text, label = sentence(), f"label_{rng.randrange(LABELS)}"
            if kind in ("leak_exact", "leak_near"):
                text = rng.choice(tests)
            elif kind is not None and first:
                text, label = first[rng.randrange(len(first))]
            if kind in ("near", "leak_near"):
                text = near_copy(rng, text)
            if kind is None and (len(first) < 200_000):
                first.append((text, label))
            elif kind is not None and line > 1:
                planted[kind].add(line)
            file.write(json.dumps({"prompt": text, "completion": label}) + "\n")
    return planted


def ours(folder: Path, whole: bool) -> dict[str, set[int]]:
    """Lines by kind, as the audit finds them."""
    from harness.data.files import open_rows
    from harness.data.policy import NEAR, AuditSpec
    from harness.data.repetition import Hit, Leakage, Repetition
    from harness.data.scan import examples_of, held_rows, scan

    held, answers = held_rows(open_rows(str(folder / "test.jsonl")), "test")
    source = open_rows(str(folder / "train.jsonl"))
    hits: list[Hit] = []
    if whole:
        found = scan(source, "train.jsonl", AuditSpec(), held, answers).findings
        hits = [Hit(f.line, f.rule, "") for f in found]
    else:
        repetition = Repetition(NEAR, Leakage(held, NEAR))
        for example, question in examples_of(source):
            hits += repetition.add(example, question)
        hits += repetition.finish(closed_set=False)
        repetition.close()
    names = {"duplicate_exact": "exact", "duplicate_near": "near", "leak_exact": "leak_exact", "leak_near": "leak_near"}
    lines: dict[str, set[int]] = {kind: set() for kind in PLANTED}
    for hit in hits:
        if hit.rule in names:
            lines[names[hit.rule]].add(hit.line)
    return lines


COSINE = 0.84
"""What Jaccard 0.73 is as cosine of two gram counts: 2 s / (1 + s)."""


class GramEncoder:
    """Character 3-grams hashed into 512 signed counts: what semhash embeds by where no model hub can be reached."""

    def encode(self, texts: Sequence[str], **_: object) -> NDArray[np.float32]:
        """One unit vector a text."""
        made = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in zip(made, texts, strict=True):
            padded = f" {text.casefold()} "
            for at in range(len(padded) - 2):
                code = zlib.crc32(padded[at : at + 3].encode())
                row[code % 512] += 1 if code & 512 else -1
        return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


def semhash(folder: Path) -> dict[str, set[int]]:
    """Lines that semhash calls duplicates of another row, or of a test row."""
    from semhash import SemHash

    read = [[json.loads(line) for line in (folder / f"{name}.jsonl").open()] for name in ("train", "test")]
    train, test = ([{"text": row["prompt"], "line": str(at)} for at, row in enumerate(rows, 1)] for rows in read)
    made = [SemHash.from_records(records=rows, columns=["text"], model=GramEncoder()) for rows in (train, test)]
    near = {int(row.record["line"]) for row in made[0].self_deduplicate(threshold=COSINE).filtered}
    leaks = {int(row.record["line"]) for row in made[1].deduplicate(train, threshold=COSINE).filtered}
    return {"exact": near, "near": near, "leak_exact": leaks, "leak_near": leaks}


def one(arguments: argparse.Namespace) -> None:
    """Make, search, print one JSON line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()  # the rows are made in a process of their own: their memory is not the search's
        if child == 0:
            planted = make(folder, arguments.rows, arguments.held)
            (folder / "planted.json").write_text(json.dumps({kind: sorted(lines) for kind, lines in planted.items()}))
            os._exit(0)
        os.waitpid(child, 0)
        planted = {kind: set(lines) for kind, lines in json.loads((folder / "planted.json").read_text()).items()}
        started = time.perf_counter()
        found = semhash(folder) if arguments.peer else ours(folder, arguments.whole)
        seconds = time.perf_counter() - started
    # a line that is planted as a copy of a copy may be told under the other kind
    anything = set().union(*found.values())
    everything = set().union(*planted.values())
    print(
        json.dumps(
            {
                "rows": arguments.rows,
                "seconds": round(seconds, 1),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "found": {kind: len(lines & anything) / max(1, len(lines)) for kind, lines in planted.items()},
                "not_planted": len(anything - everything),
            }
        )
    )


def main() -> None:
    """Every size in a process of its own, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--held", type=int, default=20_000)
    parser.add_argument("--peer", choices=["semhash"], help=argparse.SUPPRESS)
    parser.add_argument("--peers", nargs="*", default=["semhash"])
    parser.add_argument("--peer-most", type=int, default=100_000, help="Rows above which a peer is not asked.")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        arguments.rows = int(arguments.rows)
        one(arguments)
        return
    print("| search | rows | seconds | peak MB | exact | near | exact leaks | near leaks | others told |")
    print("|---|---|---|---|---|---|---|---|---|")
    for peer in [None, *arguments.peers]:
        for rows in arguments.rows.split(","):
            if peer and int(rows) > arguments.peer_most:
                continue
            command = [sys.executable, __file__, "--one", "--rows", rows, "--held", str(arguments.held)]
            command += ["--peer", peer] if peer else ["--whole"] if arguments.whole else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"| {peer or 'harness'} | {rows} | failed: {done.stderr.strip().splitlines()[-1:]} |")
                continue
            told = json.loads(done.stdout)
            shares = " | ".join(f"{share:.3f}" for share in told["found"].values())
            cells = (peer or "harness", rows, told["seconds"], told["peak_mb"], shares, told["not_planted"])
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
