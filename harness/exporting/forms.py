"""The forms of an export: what each writes into its folder, and by which engine it is judged again."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness import artifacts, evidence
from harness.chat import Found, chat
from harness.engines import Adapter, Engine, ServeSpec, llama_server, open_engine
from harness.errors import Problem, UsageError
from harness.exporting import gguf, ollama, served
from harness.exporting.judging import Questions
from harness.exporting.source import Source, Whole, whole
from harness.models import LocalModel, turns
from harness.models.folder import describe
from harness.records import ExportFormat, Message
from harness.trainers import PROMPT_FILE

Note = Callable[[str], None]
Opened = AbstractContextManager[tuple[Engine, str | None]]
"""An engine, and the name under which it serves the candidate where that is not its base model."""


@dataclass(frozen=True, slots=True)
class Making:
    """What a form is made with."""

    source: Source
    into: Path
    """An empty folder."""
    quantization: str
    conversations: tuple[tuple[Message, ...], ...]
    """Real prompts of the task, as turns."""
    note: Note


@dataclass(frozen=True, slots=True)
class Made:
    """What was made."""

    tool: str
    engine_of: Callable[[], Opened]
    """Opens the engine that will run it, or the nearest one here."""
    drift: float | None = None
    notes: tuple[str, ...] = ()
    quantization: str | None = None
    after: Callable[[Any], Mapping[str, str]] = field(default=lambda judged: {})
    """Further files, by name, which need to know how it was judged."""


# ------------------------------------------------------------------------ merged


def merged_form(making: Making) -> Made:
    """A model folder that every engine loads: safetensors, tokenizer, chat template, the prompt it was judged under."""
    made = whole(making.source)
    _copy(made, making.into)
    _prompt(making.source, making.into)
    _generation(making.source, made.model, making.into)
    return Made(_transformers(), lambda: _whole_engine(making, making.into), made.drift, _beyond(making.source))


# -------------------------------------------------------------------------- gguf


def gguf_form(making: Making) -> Made:
    """One GGUF file."""
    made, file = whole(making.source), making.into / "model.gguf"
    tool = gguf.write(made.model.path, file, making.quantization, making.source.folder.name)
    _prompt(making.source, making.into)
    notes = (*_beyond(making.source), _system_note(making.source))
    kind = making.quantization
    return Made(tool, lambda: gguf_engine(file, made.model, making.note), made.drift, _told(notes), kind)


def ollama_form(making: Making) -> Made:
    """A GGUF file with its Modelfile."""
    made, file = whole(making.source), making.into / "model.gguf"
    render, stops = _template(made.model)
    pieces = ollama.pieces(render)
    ollama.check(pieces, render, making.conversations)
    text = ollama.modelfile(making.source.candidate, file.name, pieces, stops, min(made.model.context_length, 8192))
    tool = gguf.write(made.model.path, file, making.quantization, making.source.folder.name)
    (making.into / "Modelfile").write_text(text, encoding="utf-8")
    _prompt(making.source, making.into)
    kind, notes = making.quantization, _beyond(making.source)
    return Made(tool, lambda: gguf_engine(file, made.model, making.note), made.drift, notes, kind)


@contextmanager
def gguf_engine(file: Path, model: LocalModel, note: Note) -> Iterator[tuple[Engine, str | None]]:
    """llama.cpp's server over the file where it is installed, else what transformers reads from it.

    model: what it was made of, for its context length. Raises EngineError for a file that neither can read.
    """
    program = llama_server.find()
    with tempfile.TemporaryDirectory(dir=artifacts.workspace("exporting")) as scratch:
        if program is not None:
            log = artifacts.workspace("exporting") / "llama-server.log"
            with llama_server.LlamaServer(program, file, model, log=log, note=note) as engine:
                yield engine, None
            return
        note("llama.cpp's server is not installed, so transformers reads the GGUF file")
        unpacked = gguf.unpack(file, Path(scratch) / "model", file.name)
        with open_engine(
            ServeSpec(engine="transformers"), unpacked, max_adapters=0, log=Path(scratch) / "log"
        ) as engine:
            yield engine, None


def _template(model: LocalModel) -> tuple[ollama.Render, list[str]]:
    """How the model's own chat template renders, and the texts of the tokens that end a turn."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model.path), **model.safely)
    config = AutoConfig.from_pretrained(str(model.path), **model.safely)
    stops = [tokenizer.decode([end]) for end in sorted(turns.end_tokens(tokenizer, config))]
    return lambda messages: turns.render(tokenizer, messages), stops


# --------------------------------------------------------------- vllm and docker


def vllm_form(making: Making) -> Made:
    """The adapter beside its base model, or the whole model, with the command that serves it."""
    start, made = _served(making, "127.0.0.1")
    file = making.into / "serve.sh"
    file.write_text(served.script(start), encoding="utf-8")
    file.chmod(0o755)
    return made


def docker_form(making: Making) -> Made:
    """The same, with a Dockerfile and a compose file."""
    start, made = _served(making, "0.0.0.0")  # noqa: S104  inside the container; compose shows it to the loopback alone
    name = making.source.alias or making.source.folder.name
    (making.into / "compose.yaml").write_text(served.compose(name), encoding="utf-8")
    (making.into / ".dockerignore").write_text("Dockerfile\ncompose.yaml\n*.md\nexport.json\n", encoding="utf-8")
    after = lambda judged: {"Dockerfile": served.dockerfile(start, judged)}  # noqa: E731
    return Made(made.tool, made.engine_of, made.drift, (*made.notes, "the image was not built here"), after=after)


def _served(making: Making, host: str) -> tuple[served.Command, Made]:
    source, into = making.source, making.into
    adapter = source.candidate.adapter
    beside = adapter is not None and adapter.kind == "lora"
    made = Whole(source.model, None) if beside else whole(source)
    _copy(made, into / served.MODEL)
    if beside:
        shutil.copytree(source.adapter_folder or into, into / served.ADAPTER)
    _prompt(source, into)
    spec = _serving(source)
    start = served.command(source, into, made.model, spec, host)
    notes = _told((*_beyond(source), _system_note(source)))
    return start, Made("harness", lambda: _served_engine(making, beside), made.drift, notes)


@contextmanager
def _served_engine(making: Making, beside: bool) -> Iterator[tuple[Engine, str | None]]:
    """vLLM where it can run, else transformers, over the exported files."""
    rank = 16
    if beside:
        config = json.loads((making.into / served.ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
        rank = int(config.get("r") or rank)
    model = describe("export", making.into / served.MODEL, None, making.source.model.ref.remote_code)
    log = making.source.folder.log_path("export.log")
    spec = _serving(making.source)
    with open_engine(spec, model, max_adapters=int(beside), adapter_rank=rank, log=log, note=making.note) as engine:
        if beside:
            engine.load_adapter(Adapter("exported", str(making.into / served.ADAPTER)))
        yield engine, "exported" if beside else None


# ------------------------------------------------------------------------- parts


@contextmanager
def _whole_engine(making: Making, folder: Path) -> Iterator[tuple[Engine, str | None]]:
    log, model = (
        making.source.folder.log_path("export.log"),
        describe("export", folder, None, making.source.model.ref.remote_code),
    )
    with open_engine(_serving(making.source), model, max_adapters=0, log=log, note=making.note) as engine:
        yield engine, None


def _serving(source: Source) -> ServeSpec:
    """As it was judged, with the engine that can run here; the cache of answers is never asked."""
    given = source.folder.spec().get("serve")
    kept = {key: value for key, value in (given or {}).items() if key in ("dtype", "max_model_len", "vllm_args")}
    run = evidence.task_run(evidence.gather(source.folder), source.candidate.name)
    if run is not None and run.conditions.dtype in ("float32", "bfloat16", "float16"):
        kept["dtype"] = run.conditions.dtype
    return ServeSpec.model_validate({**kept, "engine": "auto", "cache": False})


def _copy(made: Whole, into: Path) -> None:
    """The model's own files, as they are; caches and hidden files stay behind."""
    into.mkdir(exist_ok=True)
    for file in sorted(made.model.path.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            shutil.copyfile(file, into / file.name)
    (into / "generation_config.json").unlink(missing_ok=True)


def _prompt(source: Source, into: Path) -> None:
    """The prompt and decoding that it was judged under, for whoever asks it."""
    who = source.candidate
    (into / PROMPT_FILE).write_text(who.prompt.model_dump_json(indent=1), encoding="utf-8")
    (into / "decoding.json").write_text(who.decoding.model_dump_json(indent=1), encoding="utf-8")


def _generation(source: Source, model: LocalModel, into: Path) -> None:
    """Decoding for servers that read it from here; the tokens that end a turn, all of them."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(str(model.path), **model.safely)
    ends = sorted(turns.end_tokens(tokenizer, AutoConfig.from_pretrained(str(model.path), **model.safely)))
    told: dict[str, Any] = {"eos_token_id": ends, "max_new_tokens": source.candidate.decoding.max_tokens}
    decoding = source.candidate.decoding
    if decoding.temperature:
        told |= {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
    GenerationConfig(**told).save_pretrained(str(into))


def _beyond(source: Source) -> tuple[str, ...]:
    """What of the prompt no file of a model can carry: whoever asks has to do it."""
    prompt, found = source.candidate.prompt, []
    if prompt.retrieval is not None:
        found.append("what is looked up for each question has to be put into the prompt by whoever asks")
    if prompt.turn is not None:
        found.append(f"each question has to be put into its form by whoever asks: {prompt.turn!r}")
    if prompt.answer_after is not None:
        found.append(f"the answer is what follows {prompt.answer_after!r}; whoever asks has to cut it out")
    if source.candidate.decoding.constraint is not None:
        found.append("the constraint on the answer has to be sent with each request")
    return tuple(found)


def _system_note(source: Source) -> str:
    prompt = source.candidate.prompt
    if prompt.instruction or prompt.demonstrations:
        return f"the system message and worked examples of {PROMPT_FILE} have to be sent with each request"
    return ""


def _told(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(note for note in notes if note)


def _transformers() -> str:
    return f"transformers {importlib.metadata.version('transformers')}"


def prompts(source: Source, asked: Questions) -> tuple[tuple[Message, ...], ...]:
    """The turns of the questions that are asked again, as the prompt writes them."""
    prompt, items, library = source.candidate.prompt, asked.items, asked.library
    found = library.look_up(prompt.retrieval, items) if prompt.retrieval and library else [Found()] * len(items)
    return tuple(chat(prompt, item, seen) for item, seen in zip(items, found, strict=True) if item.messages)


def check(format: ExportFormat, source: Source, quantization: str) -> None:
    """Refuse before anything is made: what a form cannot hold."""
    if format not in ("gguf", "ollama"):
        return
    if quantization not in gguf.QUANTIZATIONS:
        known = f"One of {', '.join(gguf.QUANTIZATIONS)}"
        raise UsageError(Problem("--quantization", f"unknown quantization {quantization!r}", known))
    gguf.check(source.model.path)  # an adapter changes no architecture


FORMS: Final[Mapping[ExportFormat, Callable[[Making], Made]]] = {
    "merged": merged_form,
    "gguf": gguf_form,
    "ollama": ollama_form,
    "vllm": vllm_form,
    "docker": docker_form,
}
"""Every form and who makes it."""
