"""`method: command`: a command of the user's trains (Axolotl, LLaMA-Factory, anything), and what it made is gated.

It is handed files, never the test split:

    data/train.jsonl, data/dev.jsonl   {"messages": [...]} a row, as the candidate will be asked, answer last
    data/dataset_info.json             the same for LLaMA-Factory, as data sets `train` and `dev`
    data/fingerprint.json              what they are, by content
    output/                            where it writes an adapter or a whole model

It runs from an argument list, without a shell, and ends with the harness, however that ends.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from harness import artifacts
from harness.chat import chat
from harness.errors import Problem, TrainingError
from harness.guard import GuardedProcess
from harness.models import quiet
from harness.progress import Progress
from harness.records import Item, Prompt, SeedTraining, Supervision, digest
from harness.store import write_file
from harness.trainers.base import Job, Scorer
from harness.trainers.taking import CONFIG, take

POLL_S: Final = 0.2
TAIL: Final = 20
"""Last lines of its output that an error shows."""
SHOWN: Final = 160
"""Characters of a line that are shown while it runs."""
SHOW_EVERY_S: Final = 2.0
DONE: Final = "done.json"
_STEPS: Final = re.compile(r"(\d+)\s*/\s*(\d+)\s*\[")
"""How tqdm tells steps: `12/300 [00:10<...`."""


def train_by_command(job: Job, scorer: Scorer, progress: Progress) -> tuple[SeedTraining, Supervision]:
    """See `harness.trainers.base.Trainer`. A command that ended well is not run again for the same inputs.

    One that was killed is run again with its output folder as it left it, so that it can go on by itself.
    """
    key = _key(job)[:16]
    with artifacts.lock(f"command-{key}"):
        folder = artifacts.workspace("command", key)
        done = folder / DONE
        if not done.exists():
            _write_data(job, folder / "data")
            (folder / "output").mkdir(exist_ok=True)
            write_file(done, json.dumps({"seconds": _run(job, folder, progress)}))
        else:
            progress.note(f"seed {job.seed}: the command ran before, what it made is taken over")
        seconds = json.loads(done.read_text(encoding="utf-8"))["seconds"]
        try:
            with quiet():
                return take(_made(folder / "output"), job, folder, seconds=seconds)
        except TrainingError:
            done.unlink()  # what it made cannot be judged: the next time it is made again
            raise


def _key(job: Job) -> str:
    """Identity of what the command is handed. The machine's libraries are not its own, so they do not count."""
    return digest(
        {
            "command": job.spec.command,
            "model": job.model.ref.digest,
            "prompt": job.prompt.model_dump(mode="json", exclude={"name", "demonstration_ids"}),
            "train": [item.digest for item in job.rows],
            "general": [item.digest for item in job.replay],
            "dev": [item.digest for item in job.dev],
            "seed": job.seed,
        }
    )


def _write_data(job: Job, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    general = Prompt(name="general", instruction="")
    rows = [*_rows(job.rows, job.prompt), *_rows(job.replay, general)]
    dev = list(_rows(job.dev, job.prompt))
    for name, lines in (("train.jsonl", rows), ("dev.jsonl", dev)):
        write_file(folder / name, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_file(folder / "dataset_info.json", json.dumps({name: _for_llama_factory(name) for name in ("train", "dev")}))
    told = {
        "model": job.model.ref.model_dump(mode="json"),
        "prompt": job.prompt.model_dump(mode="json"),
        "seed": job.seed,
        "train": {"file": "train.jsonl", "rows": len(rows), "fingerprint": _fingerprint((*job.rows, *job.replay))},
        "dev": {"file": "dev.jsonl", "rows": len(dev), "fingerprint": _fingerprint(job.dev)},
    }
    write_file(folder / "fingerprint.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _for_llama_factory(name: str) -> dict[str, Any]:
    """How LLaMA-Factory is told that rows are messages with roles."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    return {
        "file_name": f"{name}.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": tags | {"system_tag": "system"},
    }


def _rows(items: Sequence[Item], prompt: Prompt) -> Iterator[dict[str, Any]]:
    for item in items:
        turns = [turn.model_dump() for turn in chat(prompt, item)]
        yield {"id": item.id, "messages": [*turns, {"role": "assistant", "content": item.target}]}


def _fingerprint(items: Sequence[Item]) -> str:
    """Independent of order, as that of a split is."""
    return digest(sorted(item.digest for item in items))


def _run(job: Job, folder: Path, progress: Progress) -> float:
    """Run it to its end, and say how long that took (s)."""
    places = {
        "data": str(folder / "data"),
        "output": str(folder / "output"),
        "model": str(job.model.path),
        "seed": str(job.seed),
    }
    command = shlex.split(job.spec.command or "")
    for name, value in places.items():
        command = [part.replace("{" + name + "}", value) for part in command]
    program = shutil.which(command[0]) or shutil.which(str(job.near.absolute() / command[0]))
    if program is None:
        hint = "Install it, or give its path; it is run without a shell"
        raise TrainingError(Problem("train.command", f"{command[0]!r} is no program here", next=hint))
    env = os.environ | {f"HARNESS_{name.upper()}": value for name, value in places.items()}
    started = time.monotonic()
    progress.note(f"seed {job.seed}: {' '.join(command)}")
    process = GuardedProcess([program, *command[1:]], env=env, log=folder / "log.txt", cwd=job.near.absolute())
    try:
        _follow(process, f"training, seed {job.seed}", progress)
        code = process.exit_code
    finally:
        process.stop()
    if code != 0:
        ended = "was ended from outside" if code is None else f"ended with exit code {code}"
        what = f"{command[0]} {ended}; its last words:\n{process.tail(TAIL)}"
        raise TrainingError(Problem("train.command", what, next=f"All of its output is in {folder / 'log.txt'}"))
    return time.monotonic() - started


def _follow(process: GuardedProcess, label: str, progress: Progress) -> None:
    """Show its last line now and then, and the steps that it counts as a bar."""
    with progress.bar(label, 100) as bar:
        at, shown, last = 0, 0.0, ""
        while process.running():
            time.sleep(POLL_S)
            if time.monotonic() - shown < SHOW_EVERY_S:
                continue
            line = re.split(r"[\r\n]+", process.tail(1).strip())[-1][-SHOWN:]
            if line == last:
                continue
            shown, last = time.monotonic(), line
            steps = _STEPS.search(line)
            now = 100 * int(steps[1]) // max(1, int(steps[2])) if steps else at
            bar.advance(max(0, now - at), line)
            at = max(at, now)
        bar.advance(100 - at)


def _made(output: Path) -> Path:
    """The folder of what it made: `output` itself, or the newest one in it that holds an adapter or a model."""

    def holds(folder: Path) -> bool:
        return (folder / CONFIG).is_file() or ((folder / "config.json").is_file() and any(folder.glob("*.safetensors")))

    if holds(output):
        return output
    found = [path for path in output.rglob("*") if path.is_dir() and holds(path)]
    if not found:
        hint = "Have it write there: {output} in the command, or HARNESS_OUTPUT in its environment"
        raise TrainingError(
            Problem("train.command", f"it ended well and left no adapter or model in {output}", next=hint)
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns)
