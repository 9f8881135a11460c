"""lm-eval's own tasks by name (`lm-eval:NAME`): the only file that knows lm-eval's insides.

lm-eval reads its YAML, fetches the data from the hub, and writes the requests; here they become items that
any engine can be asked, and its metrics and filters are read as those of any other suite. What it scores with
functions of its own is refused.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import Problem, SuiteError, did_you_mean
from harness.records import Item
from harness.suites.config import OUTPUT_TYPES, TaskReader
from harness.suites.fewshot import with_fewshot
from harness.suites.model import Suite, Task
from harness.suites.scoring import Scoring, corpus_faults, read_scoring

PREFIX = "lm-eval:"
INSTALL = "pip install 'finetune-harness[eval]'"
SEED = 1234
"""lm-eval's default seed of worked examples."""


def load(name: str, limit: int | None, pipeline: str | None, fewshot: int | None = None) -> Suite:
    """A task or group of lm-eval's as a suite. Raises SuiteError, also when its data cannot be fetched."""
    where = f"{PREFIX}{name}"
    if importlib.util.find_spec("lm_eval") is None:
        raise SuiteError(Problem(where, "lm-eval is not installed", next=INSTALL))
    folder = _folder(name, where)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tasks: Any = importlib.import_module("lm_eval.tasks")
    try:
        manager = tasks.TaskManager(include_path=str(folder), include_defaults=False)
        found: Mapping[str, Any] = manager.load([name])["tasks"]
    except Exception as fault:  # its loaders raise anything; most often the hub cannot be reached
        told = " ".join(str(fault).split())[:300]
        hint = "Without the hub, use local JSONL: see suites/published/README.md"
        raise SuiteError(Problem(where, f"cannot be loaded: {type(fault).__name__}: {told}", next=hint)) from fault
    return suite_of(name, found, limit, pipeline, fewshot)


def suite_of(
    name: str,
    found: Mapping[str, Any],
    limit: int | None = None,
    pipeline: str | None = None,
    fewshot: int | None = None,
) -> Suite:
    """Loaded lm-eval tasks by name as one suite. limit: first documents of each. fewshot: worked examples, in place
    of the task's own number. Raises SuiteError."""
    problems: list[Problem] = []
    for each, task in found.items():
        if fewshot is not None:
            task.config.num_fewshot = with_fewshot(
                Path(f"{PREFIX}{each}"), {"num_fewshot": task.config.num_fewshot}, fewshot, problems
            )["num_fewshot"]
    tasks = [_task(each, task, limit, pipeline, problems) for each, task in found.items()]
    if problems:
        raise SuiteError(problems)
    return Suite(name, "regression", "test", tuple(task for task in tasks if task is not None))


def _folder(name: str, where: str) -> Path:
    """The folder of lm-eval's tasks that has this one; indexing all of them would take half a minute."""
    spec = importlib.util.find_spec("lm_eval")
    root = Path(str(spec.origin)).parent / "tasks" if spec else Path()
    line = re.compile(rb"^[\"']?(?:task|group)[\"']?:\s*[\"']?([\w.+-]+)[\"']?\s*$", re.MULTILINE)
    names: set[str] = set()
    for file in sorted(root.rglob("*.yaml")):
        for given in line.findall(file.read_bytes()):
            if given.decode() == name:
                return root / file.relative_to(root).parts[0]
            names.add(given.decode())
    near = ", ".join(difflib.get_close_matches(name, sorted(names), 5)) or "none"
    raise SuiteError(Problem(where, "lm-eval has no such task", f"Names like it: {near}"))


def _task(name: str, task: Any, limit: int | None, pipeline: str | None, problems: list[Problem]) -> Task | None:
    config: dict[str, Any] = task.config.to_dict(keep_callable=True)
    kind = str(config.get("output_type"))
    reader = TaskReader(Path(f"{PREFIX}{name}"), config, ())
    if kind not in OUTPUT_TYPES:
        reader.fault("output_type", f"{kind!r} is not supported", did_you_mean(kind, list(OUTPUT_TYPES)))
    if config.get("process_results") is not None:
        reader.fault("process_results", "scores with a function of lm-eval's own", "Only its metric_list is read")
    if config.get("repeats", 1) != 1:
        reader.fault("repeats", f"is {config['repeats']!r}", "Only 1")
    output = reader.output_type()
    scoring, decoding = read_scoring(reader, output, pipeline), reader.decoding(output)
    items: list[Item] = []
    if not reader.problems:
        task.set_fewshot_seed(SEED)
        task.build_all_requests(limit=limit)
        items = list(_items(reader, task, kind, scoring))
    problems += reader.problems
    if reader.problems:
        return None
    contexts = any(item.continuation is not None for item in items)
    delimiter = str(config.get("target_delimiter", " ")) if kind == "multiple_choice" and not contexts else ""
    for fault in corpus_faults(scoring.corpus, (len(item.choices or ()) for item in items)):
        reader.fault("metric_list", fault)
    problems += reader.problems
    return Task(
        name, output, tuple(items), scoring.metrics, decoding, scoring.filters,
        corpus_metrics=scoring.corpus, target_delimiter=delimiter,
    )  # fmt: skip


def _items(reader: TaskReader, task: Any, kind: str, scoring: Scoring) -> Iterable[Item]:
    asked: dict[int, list[Any]] = {}
    for instance in task.instances:
        asked.setdefault(int(instance.doc_id), []).append(instance)
    for number, instances in sorted(asked.items()):
        document = instances[0].doc
        given: dict[str, Any] = {"id": str(document.get("id", number))}
        try:
            yield Item(**given, **_question(task, kind, document, [one.args for one in instances], scoring))
        except (ValueError, LookupError, TypeError) as fault:
            reader.fault(f"item {given['id']}", " ".join(str(fault).split()))
            return


def _question(task: Any, kind: str, document: Any, args: list[Any], scoring: Scoring) -> dict[str, Any]:
    """Text, choices and target of one document, as lm-eval asks it."""
    text = args[0][0]
    if kind == "loglikelihood":
        return {"text": text, "choices": (args[0][1],), "target": args[0][1]}
    gold = task.doc_to_target(document)
    if kind == "generate_until":
        gold = task.doc_to_choice(document)[gold] if task.config.doc_to_choice is not None else gold
        if isinstance(gold, list):
            raise ValueError("has several right answers, which are not read")
        for pattern in scoring.ignored:
            gold = re.sub(pattern, "", str(gold))
        return {"text": text, "target": str(gold)}
    if task.multiple_input:
        contexts = tuple(one[0] for one in args)
        return {
            "text": "",
            "choices": contexts,
            "continuation": args[0][1],
            "target": contexts[task.doc_to_text(document)],
        }
    bare, asked = list(task.doc_to_choice(document)), tuple(one[1] for one in args)
    if isinstance(gold, list):
        raise ValueError("has several right choices, which are not read")
    if len(set(asked)) < len(asked):
        raise ValueError("has a choice twice")
    return {"text": text, "choices": asked, "target": asked[gold if isinstance(gold, int) else bare.index(gold)]}
