"""The part of lm-eval's task YAML that the harness reads; `suites/README.md` documents it key by key.

What is outside of it is a fault that names key and file. Nothing is skipped: a task
that means something else here than in lm-eval would be judged on the wrong question.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import metrics
from harness.errors import HarnessError, Problem, did_you_mean
from harness.records import Decoding, OutputType, SplitName
from harness.suites.documents import Document, shown

SPLIT_KEYS: dict[SplitName, str] = {"train": "training_split", "dev": "validation_split", "test": "test_split"}
OUTPUT_TYPES: dict[str, OutputType] = {"multiple_choice": "choice", "generate_until": "generate"}
TASK_KEYS = (
    *("task", "task_alias", "tag", "dataset_path", "dataset_kwargs", *SPLIT_KEYS.values(), "output_type"),
    *("description", "doc_to_text", "doc_to_target", "doc_to_choice", "target_delimiter", "num_fewshot"),
    *("generation_kwargs", "filter_list", "metric_list", "metadata"),
)
METRIC_KEYS = ("metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation")
GENERATION_KEYS = ("until", "max_gen_toks", "do_sample", "temperature", "top_p")
DEFAULT_METRICS: dict[OutputType, tuple[str, ...]] = {"choice": ("acc", "acc_norm"), "generate": ("exact_match",)}
DEFAULT_MAX_TOKENS = 256
"""lm-eval's default for max_gen_toks."""
LEVELS_UP = 3
"""How far above its YAML a data file is looked for: data_files are written from the folder above `suites`."""


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """A task YAML, checked."""

    file: Path
    name: str
    output_type: OutputType
    data: Path
    description: str
    text: str
    target: str | int
    choices: str | list[str] | None
    target_delimiter: str
    metrics: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]
    decoding: Decoding


class _Reader:
    """Reads one YAML mapping and gathers its faults."""

    def __init__(self, file: Path, config: Document) -> None:
        self.file, self.config = file, config
        self.problems: list[Problem] = []

    def fault(self, path: str, what: str, allowed: str = "", hint: str = "") -> None:
        self.problems.append(Problem(f"{shown(self.file)}: {path}", what, allowed, hint))

    def unknown_keys(self, mapping: Document, known: tuple[str, ...], path: str = "") -> None:
        for key in mapping:
            if key not in known:
                self.fault(f"{path}{key}", "is not supported", did_you_mean(str(key), known))

    def text(self, key: str, default: str | None = None) -> str:
        """A string value; a missing key without a default is a fault."""
        value = self.config.get(key, default)
        if isinstance(value, str):
            return value
        self.fault(key, "is missing" if key not in self.config else f"is {value!r}", "A string is needed")
        return ""

    def mapping(self, key: str) -> Document:
        value = self.config.get(key, {})
        if isinstance(value, dict):
            return value
        self.fault(key, f"is {value!r}", "A mapping is needed")
        return {}

    def entries(self, value: Any, path: str) -> list[Document]:
        """A list of mappings."""
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            return value
        self.fault(path, f"is {value!r}", "A list of mappings is needed")
        return []

    # ------------------------------------------------------------------ parts

    def output_type(self) -> OutputType:
        name = self.text("output_type", "generate_until")
        if name not in OUTPUT_TYPES:
            self.fault("output_type", f"{name!r} is not supported", did_you_mean(name, list(OUTPUT_TYPES)))
        return OUTPUT_TYPES.get(name, "generate")

    def data(self, split: SplitName) -> Path | None:
        """The JSONL file of a split."""
        if self.text("dataset_path") not in ("json", ""):
            self.fault("dataset_path", f"is {self.config['dataset_path']!r}", "Only `json` with local files is read")
        arguments = self.mapping("dataset_kwargs")
        self.unknown_keys(arguments, ("data_files",), "dataset_kwargs.")
        named = self.config.get(SPLIT_KEYS[split])
        if not isinstance(named, str):
            self.fault(
                SPLIT_KEYS[split], "is missing" if named is None else f"is {named!r}", "Name a key of data_files"
            )
            return None
        files = arguments.get("data_files")
        file = files.get(named) if isinstance(files, dict) else None
        path = f"dataset_kwargs.data_files.{named}"
        if not isinstance(file, str):
            self.fault(path, "is missing" if file is None else f"is {file!r}", "One file name for each split is needed")
            return None
        folder = self.file.parent
        places = [folder, *list(folder.parents)[:LEVELS_UP], Path.cwd()]
        found = next((place / file for place in places if (place / file).is_file()), None)
        if found is None:
            self.fault(path, f"no file {file!r}", "Looked for beside the YAML, in the folders above it and from here")
        return found

    def target(self) -> str | int:
        value = self.config.get("doc_to_target")
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return self.text("doc_to_target")

    def choices(self, output: OutputType) -> str | list[str] | None:
        value = self.config.get("doc_to_choice")
        if output == "generate":
            if value is not None:
                self.fault("doc_to_choice", "is not supported with generate_until", hint="Use doc_to_target alone")
            return None
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(choice, str) for choice in value)):
            return value
        self.fault("doc_to_choice", f"is {value!r}", "A field, a template or a list of (quoted) strings is needed")
        return None

    def metrics(self, output: OutputType) -> tuple[str, ...]:
        if "metric_list" not in self.config:
            return DEFAULT_METRICS[output]
        entries = self.entries(self.config["metric_list"], "metric_list")
        names = [self._metric(entry, f"metric_list[{i}].", output) for i, entry in enumerate(entries)]
        if len(set(names)) < len(names):
            self.fault("metric_list", "names a metric twice")
        return tuple(names)

    def _metric(self, entry: Document, path: str, output: OutputType) -> str:
        self.unknown_keys(entry, METRIC_KEYS, path)
        name = str(entry.get("metric"))
        if name == "exact_match":
            options = [part for part in ("case", "punctuation") if entry.get(f"ignore_{part}")]
            name = "_".join(["exact_match", *(["ignore", *options] if options else [])])
        elif "ignore_case" in entry or "ignore_punctuation" in entry:
            self.fault(f"{path}ignore_case / ignore_punctuation", "go with exact_match only")
        try:
            found = metrics.get(name)
        except HarnessError as error:
            problem = error.problems[0]
            self.fault(f"{path}metric", problem.what, problem.allowed)
            return name
        if found.output != output:
            self.fault(f"{path}metric", f"{name!r} does not score {self.config.get('output_type')} tasks")
        if entry.get("aggregation", "mean") != "mean":
            self.fault(f"{path}aggregation", f"{entry['aggregation']!r} is not supported", "Only `mean`")
        if entry.get("higher_is_better", found.higher_is_better) is not found.higher_is_better:
            self.fault(f"{path}higher_is_better", f"is {found.higher_is_better} for {name!r}")
        return name

    def filters(self, output: OutputType) -> tuple[tuple[str, str], ...]:
        if "filter_list" not in self.config:
            return ()
        if output == "choice":
            self.fault("filter_list", "is not supported with multiple_choice")
        pipelines = self.entries(self.config["filter_list"], "filter_list")
        if len(pipelines) > 1:
            self.fault("filter_list", f"has {len(pipelines)} pipelines", "One is supported")
        if not pipelines:
            return ()
        self.unknown_keys(pipelines[0], ("name", "filter"), "filter_list[0].")
        steps = self.entries(pipelines[0].get("filter"), "filter_list[0].filter")
        # lm-eval hands every step before take_first the list of answers, and every later one a bare string.
        names = [step.get("function") for step in steps]
        if steps and (names[-1] != "take_first" or names.count("take_first") > 1):
            self.fault("filter_list[0].filter", "take_first must be the last step, and only there")
        return tuple(self._filter(step, f"filter_list[0].filter[{i}].") for i, step in enumerate(steps[:-1]))

    def _filter(self, step: Document, path: str) -> tuple[str, str]:
        name = str(step.get("function"))
        if name not in metrics.FILTERS:
            known = [*metrics.FILTERS, "take_first"]
            self.fault(f"{path}function", f"{name!r} is not supported", did_you_mean(name, known))
            return name, ""
        known_keys = ("function", "regex_pattern", "group_select", "fallback") if name == "regex" else ("function",)
        self.unknown_keys(step, known_keys, path)
        arguments = {key: value for key, value in step.items() if key != "function"}
        if name != "regex":
            return name, ""
        try:
            re.compile(arguments["regex_pattern"])
        except (KeyError, TypeError, re.error) as fault:
            self.fault(f"{path}regex_pattern", f"is missing or no valid pattern ({fault})")
        return name, json.dumps(arguments, sort_keys=True)

    def decoding(self, output: OutputType) -> Decoding:
        """Greedy unless do_sample says otherwise."""
        if output == "choice":
            if "generation_kwargs" in self.config:
                self.fault("generation_kwargs", "is not supported with multiple_choice")
            return Decoding(max_tokens=1)
        given = self.mapping("generation_kwargs")
        self.unknown_keys(given, GENERATION_KEYS, "generation_kwargs.")
        stop = given.get("until", "\n\n")
        sample, temperature = given.get("do_sample", False), given.get("temperature")
        if sample and not temperature:
            self.fault("generation_kwargs.temperature", "is missing", "do_sample needs a temperature above 0")
        if temperature and not sample:
            self.fault("generation_kwargs.do_sample", "is missing", "A temperature above 0 needs do_sample: true")
        try:
            return Decoding(
                max_tokens=given.get("max_gen_toks", DEFAULT_MAX_TOKENS),
                stop=(stop,) if isinstance(stop, str) else tuple(stop),
                temperature=temperature or 0.0,
                top_p=given.get("top_p", 1.0),
            )
        except (TypeError, ValueError) as fault:
            self.fault("generation_kwargs", f"cannot be used: {fault}")
            return Decoding()


def read_task(file: Path, config: Document, split: SplitName, problems: list[Problem]) -> TaskConfig | None:
    """A checked task, or None and all that is wrong with it."""
    reader = _Reader(file, config)
    reader.unknown_keys(config, TASK_KEYS)
    if config.get("num_fewshot") not in (None, 0):
        reader.fault("num_fewshot", f"is {config['num_fewshot']!r}", "Only 0", "Write the examples into doc_to_text")
    output = reader.output_type()
    data = reader.data(split)
    checked = TaskConfig(
        file=file,
        name=reader.text("task"),
        output_type=output,
        data=data or Path(),
        description=reader.text("description", ""),
        text=reader.text("doc_to_text"),
        target=reader.target(),
        choices=reader.choices(output),
        target_delimiter=reader.text("target_delimiter", " ") if output == "choice" else "",
        metrics=reader.metrics(output),
        filters=reader.filters(output),
        decoding=reader.decoding(output),
    )
    problems.extend(reader.problems)
    return None if reader.problems else checked
