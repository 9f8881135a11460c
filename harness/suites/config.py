"""The part of lm-eval's task YAML that the harness reads; `suites/README.md` documents it key by key.

What is outside of it is a fault that names key and file. Nothing is skipped: a task
that means something else here than in lm-eval would be judged on the wrong question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Problem, did_you_mean
from harness.records import Decoding, OutputType, SplitName
from harness.suites.documents import Document, read_jsonl
from harness.suites.fewshot import CONFIG_KEYS, SAMPLERS, Fewshot
from harness.suites.reading import Reader
from harness.suites.scoring import Scoring, read_scoring

SPLIT_KEYS: dict[SplitName, str] = {"train": "training_split", "dev": "validation_split", "test": "test_split"}
OUTPUT_TYPES: dict[str, OutputType] = {
    "multiple_choice": "choice",
    "loglikelihood": "choice",
    "generate_until": "generate",
}
TASK_KEYS = (
    *("task", "task_alias", "tag", "include", "dataset_path", "dataset_name", "dataset_kwargs", *SPLIT_KEYS.values()),
    *("output_type", "description", "doc_to_text", "doc_to_target", "doc_to_choice", "target_delimiter"),
    *("num_fewshot", "fewshot_split", "fewshot_delimiter", "fewshot_config"),
    *("generation_kwargs", "filter_list", "metric_list", "repeats", "metadata"),
    *("should_decontaminate", "doc_to_decontamination_query"),
)
GENERATION_KEYS = ("until", "max_gen_toks", "do_sample", "temperature", "top_p")
DEFAULT_MAX_TOKENS = 256
"""lm-eval's default for max_gen_toks."""
DEFAULT_DELIMITER = "\n\n"
"""lm-eval's default for fewshot_delimiter, which also ends an answer where `until` is not given."""
LEVELS_UP = 3
"""How far above its YAML a data file is looked for: data_files are written from the folder above `suites`."""


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """A task YAML, checked."""

    file: Path
    name: str
    kind: str
    """lm-eval's output_type."""
    output_type: OutputType
    data: Path
    description: str
    text: str
    target: str | int
    choices: str | list[str] | None
    target_delimiter: str
    fewshot: Fewshot | None
    scoring: Scoring
    decoding: Decoding
    slices: tuple[str, ...]
    """Fields by which results can be cut, beside those of a document's own `slices`."""
    cluster: str
    """Field whose equal values make documents dependent."""
    chat: bool
    """Asked as a user turn, the description as system turn, through the model's chat template."""
    chance: float | None
    """Score of who knows nothing, where the YAML states it."""


class TaskReader(Reader):
    """Reads one task YAML."""

    def __init__(self, file: Path, config: Document, places: Sequence[Path]) -> None:
        super().__init__(file, config)
        self.places = places

    def output_type(self) -> OutputType:
        name = self.text("output_type", "generate_until")
        if name not in OUTPUT_TYPES:
            self.fault("output_type", f"{name!r} is not supported", did_you_mean(name, list(OUTPUT_TYPES)))
        return OUTPUT_TYPES.get(name, "generate")

    @property
    def kind(self) -> str:
        return str(self.config.get("output_type", "generate_until"))

    def split_name(self, split: SplitName) -> str | None:
        """What a split is called among the data files; without a test split lm-eval evaluates the validation split."""
        found = splits(self.config)
        return found.get(split) if found.get(split) is not None else self.config.get(SPLIT_KEYS[split])

    def data(self, split: SplitName) -> Path | None:
        """The JSONL file of a split."""
        if self.text("dataset_path") not in ("json", ""):
            hint = "Point dataset_kwargs.data_files to a JSONL file of the same fields"
            self.fault("dataset_path", f"is {self.config['dataset_path']!r}", "Only `json` with local files", hint)
        if self.config.get("dataset_name") is not None:
            self.fault("dataset_name", f"is {self.config['dataset_name']!r}", "Local files have no subset")
        self.unknown_keys(self.mapping("dataset_kwargs"), ("data_files",), "dataset_kwargs.")
        named = self.split_name(split)
        if not isinstance(named, str):
            what = "is missing" if named is None else f"is {named!r}"
            self.fault(SPLIT_KEYS[split], what, "Name a key of data_files")
            return None
        return self.data_file(named)

    def data_file(self, named: str) -> Path | None:
        """The JSONL file that is called so in data_files."""
        files = self.mapping("dataset_kwargs").get("data_files")
        file = files.get(named) if isinstance(files, dict) else None
        path = f"dataset_kwargs.data_files.{named}"
        if not isinstance(file, str):
            self.fault(path, "is missing" if file is None else f"is {file!r}", "One file name for each split is needed")
            return None
        found = next((place / file for place in self.places if (place / file).is_file()), None)
        if found is None:
            hint = "Or name the folder that has it: `data:` of the suite, --data, or HARNESS_DATA"
            where = "Looked for beside the YAML, in the folders above it and from here"
            self.fault(path, f"no file {file!r}", where, hint)
        return found

    def target(self) -> str | int:
        value = self.config.get("doc_to_target")
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return self.text("doc_to_target")

    def choices(self) -> str | list[str] | None:
        value = self.config.get("doc_to_choice")
        if self.kind != "multiple_choice":
            if value is not None:
                self.fault("doc_to_choice", f"is not supported with {self.kind}", hint="Use doc_to_target alone")
            return None
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(choice, str) for choice in value)):
            return value
        self.fault("doc_to_choice", f"is {value!r}", "A field, a template or a list of (quoted) strings is needed")
        return None

    def metadata(self, key: str) -> Any:
        metadata = self.config.get("metadata")
        return metadata.get(key) if isinstance(metadata, dict) else None

    def fields(self, key: str) -> tuple[str, ...]:
        """Names of fields under `metadata.KEY`: one, or a list of them."""
        value = self.metadata(key)
        names = [value] if isinstance(value, str) else value or []
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
        self.fault(f"metadata.{key}", f"is {value!r}", "The name of a field of the documents is needed")
        return ()

    def chat(self) -> bool:
        value = self.metadata("chat") or False
        if not isinstance(value, bool):
            self.fault("metadata.chat", f"is {value!r}", "true or false is needed")
        if value and self.kind != "generate_until":
            self.fault("metadata.chat", f"is not supported with {self.kind}", "Only generate_until")
        return bool(value)

    def chance(self) -> float | None:
        value = self.metadata("chance")
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1):
            return value
        self.fault("metadata.chance", f"is {value!r}", "A score from 0 to 1 is needed")
        return None

    # ------------------------------------------------------- worked examples

    def fewshot(self) -> Fewshot | None:
        count = self.config.get("num_fewshot") or 0
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            self.fault("num_fewshot", f"is {count!r}", "A number from 0 is needed")
            return None
        if count == 0:
            return None
        given = self.mapping("fewshot_config")
        self.unknown_keys(given, CONFIG_KEYS, "fewshot_config.")
        sampler = str(given.get("sampler", "default"))
        if sampler not in SAMPLERS:
            self.fault("fewshot_config.sampler", f"{sampler!r} is not supported", did_you_mean(sampler, SAMPLERS))
        if sampler == "default" and self.config.get("test_split") is None:
            # There lm-eval draws one more, to leave out the question itself.
            self.fault("fewshot_config.sampler", "`default` is not supported without test_split", "Use first_n")
        documents = self._examples(given)
        if documents is not None and len(documents) < count:
            self.fault("num_fewshot", f"is {count}, and there are {len(documents)} examples")
        both: Document = {**self.config, **{key: value for key, value in given.items() if value is not None}}
        if not isinstance(both.get("doc_to_text"), str):
            return None
        return Fewshot(
            count=count,
            sampler=sampler,
            documents=tuple(documents or ()),
            text=both["doc_to_text"],
            target=both.get("doc_to_target", ""),
            choices=both.get("doc_to_choice"),
            target_delimiter=both.get("target_delimiter", " "),
            delimiter=both.get("fewshot_delimiter", DEFAULT_DELIMITER),
        )

    def _examples(self, given: Document) -> list[Document] | None:
        named = given.get("split") or self.config.get("fewshot_split")
        if named is None and "samples" in given:
            return self.entries(given["samples"], "fewshot_config.samples")
        named = named or self.config.get("training_split") or self.config.get("validation_split")
        if named is None:
            self.fault("num_fewshot", "has no examples", "Give fewshot_split or fewshot_config.samples")
            return None
        if named == self.split_name("test"):
            self.fault("fewshot_split", f"{named!r} is what is evaluated", "Examples must come from elsewhere")
            return None
        file = self.data_file(str(named))
        return None if file is None else read_jsonl(file, self.problems)

    def decoding(self, output: OutputType) -> Decoding:
        """Greedy unless do_sample says otherwise."""
        if output == "choice":
            if "generation_kwargs" in self.config:
                self.fault("generation_kwargs", f"is not supported with {self.kind}")
            return Decoding(max_tokens=1)
        given = self.mapping("generation_kwargs")
        self.unknown_keys(given, GENERATION_KEYS, "generation_kwargs.")
        stop: Any = given.get("until", self.config.get("fewshot_delimiter", DEFAULT_DELIMITER))
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


def splits(config: Document) -> dict[SplitName, Any]:
    """What each split of a task is called. Without a test split lm-eval evaluates the validation split: it is one."""
    named: dict[SplitName, Any] = {split: config[key] for split, key in SPLIT_KEYS.items() if config.get(key)}
    if "test" not in named and "dev" in named:
        named["test"] = named.pop("dev")
    return named


def data_places(file: Path, given: Path | None, last: Path | None) -> tuple[Path, ...]:
    """Folders in which a YAML's data files are looked for, in this order.

    given: a folder that was named for this suite. last: one for all suites (HARNESS_DATA).
    """
    found = (given, file.parent, *list(file.parent.parents)[:LEVELS_UP], Path.cwd(), last)
    return tuple(place for place in found if place is not None)


def read_task(
    file: Path,
    config: Document,
    split: SplitName,
    problems: list[Problem],
    places: Sequence[Path],
    pipeline: str | None = None,
) -> TaskConfig | None:
    """A checked task, or None and all that is wrong with it. pipeline: which one of several filter pipelines."""
    reader = TaskReader(file, config, places)
    reader.unknown_keys(config, TASK_KEYS)
    if config.get("repeats", 1) != 1:
        reader.fault("repeats", f"is {config['repeats']!r}", "Only 1")
    output = reader.output_type()
    data = reader.data(split)
    cluster = reader.fields("cluster")
    checked = TaskConfig(
        file=file,
        name=reader.text("task"),
        kind=reader.kind,
        output_type=output,
        data=data or Path(),
        description=reader.text("description", ""),
        text=reader.text("doc_to_text"),
        target=reader.target(),
        choices=reader.choices(),
        target_delimiter=reader.text("target_delimiter", " ") if reader.kind == "multiple_choice" else "",
        fewshot=reader.fewshot(),
        scoring=read_scoring(reader, output, pipeline),
        decoding=reader.decoding(output),
        slices=reader.fields("slices"),
        cluster=cluster[0] if cluster else "cluster",
        chat=reader.chat(),
        chance=reader.chance(),
    )
    problems.extend(reader.problems)
    return None if reader.problems else checked
