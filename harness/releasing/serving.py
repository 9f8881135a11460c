"""Serving what was judged: model, adapter, chat template, prompt and decoding, proven before anyone is told to ask."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from pydantic import ValidationError

from harness import artifacts, evidence, models, parity
from harness.chat import Found, chat
from harness.engines import ServeSpec, public, vllm
from harness.errors import EngineError, Problem, StoreError, UsageError
from harness.models import LocalModel
from harness.models.folder import describe
from harness.records import Candidate, Item, Message, ParityRecord, ReleaseRecord, RunRecord, TrainingRecord
from harness.releasing.checking import weight_problems
from harness.releasing.judged import Judged, Repeated, ask_again, judged_questions
from harness.store import ExperimentStore, Store
from harness.trainers import folder_of, merged

KEY_VARIABLE: Final = "HARNESS_SERVE_KEY"
"""Environment variable with the key that askers must know; without it nobody is asked."""
LOCAL: Final = ("127.0.0.1", "localhost", "::1")
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Deployed:
    """What shall be served, found in the store."""

    folder: ExperimentStore
    candidate: Candidate
    run: RunRecord
    """The run by which it was judged on its task."""
    name: str
    """By which it is asked for: the alias, else the experiment's name."""
    move: ReleaseRecord | None
    """How the alias came to point to it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is served, and one judged question as a line for a shell."""

    deployed: Deployed
    served: public.Served
    questions: tuple[Judged, ...]
    why_none: str
    """Why there is no judged question; empty where there are some."""

    @property
    def url(self) -> str:
        """Where it is asked."""
        where = self.served.public
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(where.host, where.host)  # noqa: S104
        return f"http://{host}:{where.port}/v1"

    @property
    def command(self) -> str:
        """What starts the same by hand, its environment before it."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in public.environment(self.served).items()]
        if self.served.public.api_key:
            settings.append(f'{vllm.KEY_VARIABLE}="${KEY_VARIABLE}"')
        return " ".join([*settings, shlex.join(public.line(self.served))])

    def curl(self, ends: Sequence[int] | None = None) -> str:
        """A judged question as it was asked, prompt and decoding in it. ends: tokens that end an answer there."""
        told = self.deployed.run.conditions.flags.get("end_tokens", "")
        known = tuple(int(token) for token in told.split(",") if token) if ends is None else tuple(ends)
        one = self.questions[0] if self.questions else _blank(self.deployed.candidate)
        sent = public.body(self.served.public.name, one.messages, self.deployed.candidate.decoding, known)
        words = ["curl", "-s", f"{self.url}/chat/completions", "-H", "Content-Type: application/json"]
        key = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if self.served.public.api_key else ""
        return f"{shlex.join(words)}{key} -d {shlex.quote(json.dumps(sent, ensure_ascii=False))}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a caller must know beside the line."""
        prompt = self.deployed.candidate.prompt
        told = []
        if prompt.retrieval is not None:
            what = "train rows" if prompt.retrieval.source == "train" else "passages"
            told.append(
                f"for every question {what} are looked up first; the line shows one question as it was composed"
            )
        if prompt.turn is not None:
            told.append("questions stand in a form of their own; the line shows one question as it was composed")
        if prompt.answer_after is not None:
            told.append(f"what was judged is what follows {prompt.answer_after!r} in the answer")
        if self.why_none:
            told.append(f"the line asks a question that was not judged: {self.why_none}")
        return tuple(told)


@dataclass(frozen=True, slots=True)
class Ready:
    """A server that runs, and how it was proven."""

    engine: public.VllmEngine
    repeated: Repeated
    parity: ParityRecord | None
    """Against the training process; None where nothing was trained beside the base model, or no numbers were kept."""


def find(store: Store, wanted: str) -> Deployed:
    """An alias or an experiment. Raises UsageError for neither, StoreError for an alias that is broken."""
    folder, candidate, move = evidence.deployed(store, wanted)
    run = evidence.task_run(evidence.gather(folder), candidate.name)
    if run is None or run.candidate != candidate:
        raise StoreError(Problem(folder.id, f"the run of {candidate.name} is gone", next="Restore the folder `runs/`"))
    return Deployed(folder, candidate, run, wanted if move is not None else folder.name, move)


def plan(deployed: Deployed, host: str, port: int, key: str, note: Note) -> Plan:
    """How to serve it. Makes what must be there first: the base model is fetched, an adapter merged where it must be.

    Raises UsageError for what cannot be served so, with what to do; StoreError and ModelError for weights that are
    gone or others than those that were judged.
    """
    _refuse(deployed, host, key)
    problems, _ = weight_problems(deployed.folder, deployed.candidate)
    if problems:
        raise StoreError(problems)
    spec = _spec(deployed)
    model, adapter = _weights(deployed, spec, note)
    where = public.Public(deployed.name, adapter, host, port, key)
    questions, why = judged_questions(deployed.folder, deployed.run)
    return Plan(deployed, public.Served(spec, model, where), tuple(questions), why)


@contextmanager
def serve(made: Plan, note: Note) -> Iterator[Ready]:
    """Start it, hold it against training and against judged answers, and hand it over; it ends with the block.

    Raises EngineError where it cannot start or answers otherwise than what was judged.
    """
    where = made.served.public
    log = artifacts.workspace("serving") / f"{where.name}-{where.port}.log"
    with public.start(made.served, log, note) as engine:
        name = where.name if where.adapter else None
        proven = _parity(made, engine)
        repeated = Repeated(0, 0, (), made.why_none)
        if made.questions:
            repeated = ask_again(engine, name, made.deployed.candidate, made.questions)
        if proven is None and repeated.asked and not repeated.same and not made.deployed.candidate.decoding.temperature:
            id_, then, now = repeated.differ[0]
            what = (
                f"none of {repeated.asked} judged questions is answered as it was judged ({id_}: {now!r}, was {then!r})"
            )
            raise EngineError(Problem(where.name, what, next=f"See {log}, and what has changed since it was judged"))
        yield Ready(engine, repeated, proven)


# ----------------------------------------------------------------------- parts


def _refuse(deployed: Deployed, host: str, key: str) -> None:
    adapter, where = deployed.candidate.adapter, f"{deployed.folder.id}: {deployed.candidate.name}"
    kind = adapter.kind if adapter is not None else ""
    if host not in LOCAL and not key:
        what = "others than this machine could ask it, and no key is set"
        raise UsageError(Problem(f"--host {host}", what, next=f"Put one into {KEY_VARIABLE}, or leave --host out"))
    if kind == "classifier":
        what = "is a label head, which writes no text, and vLLM serves none as it was judged"
        hint = "Load it with transformers from its folder, or deploy a candidate that writes"
        raise UsageError(Problem(where, what, next=f"{hint}: {folder_of(adapter)}" if adapter else hint))
    if kind == "remote" or deployed.run.conditions.engine == "openai":
        server = deployed.run.conditions.flags.get("server", "its server")
        name = adapter.remote if adapter is not None else deployed.run.conditions.flags.get("model")
        hint = f"Ask it there, by the name {name!r}" if name else "Ask it there"
        raise UsageError(Problem(where, f"was judged at {server}, which has it; nothing lies here", next=hint))
    if deployed.candidate.prompt.fixed_answer is not None:
        told = f"always answers {deployed.candidate.prompt.fixed_answer!r}, and asks no model"
        raise UsageError(Problem(where, told, next="There is nothing to serve"))


def _spec(deployed: Deployed) -> ServeSpec:
    """As it was judged: number type and context from the run's conditions, the rest from the spec."""
    conditions = deployed.run.conditions
    given = deployed.folder.spec().get("serve")
    try:
        spec = ServeSpec.model_validate(given if isinstance(given, dict) else {})
    except ValidationError as fault:
        at = ".".join(str(part) for part in fault.errors()[0]["loc"])
        raise UsageError(Problem(f"{deployed.folder.id}: serve.{at}", fault.errors()[0]["msg"])) from fault
    room = conditions.flags.get("max_model_len", "")
    judged = {"engine": "vllm", "dtype": conditions.dtype if conditions.dtype in get_args(Dtype) else spec.dtype}
    return spec.model_copy(update={**judged, "max_model_len": int(room) if room.isdecimal() else spec.max_model_len})


def _weights(deployed: Deployed, spec: ServeSpec, note: Note) -> tuple[LocalModel, str]:
    """The model that the server is started on, and the folder of an adapter beside it (empty for none)."""
    candidate, folder = deployed.candidate, deployed.folder
    adapter = candidate.adapter
    if adapter is not None and adapter.kind == "model":
        return describe(candidate.name, folder_of(adapter), None, candidate.model.remote_code), ""
    name = str(folder.spec().get("model") or candidate.model.name)
    base = models.resolve_judged(name, candidate.model, near=folder.path, note=note)
    base = replace(base, path=base.path.resolve())
    if adapter is None:
        return base, ""
    if adapter.kind == "lora":
        return base, str(folder_of(adapter))
    whole = merged(adapter, base, None if spec.dtype == "auto" else spec.dtype)
    note(f"{adapter.method} is merged into the base model ({whole.dtype}), as vLLM cannot serve it beside it")
    return describe(candidate.name, whole.folder, None, base.ref.remote_code), ""


def _parity(made: Plan, engine: public.VllmEngine) -> ParityRecord | None:
    """The adapter beside its base model, held against the process that trained it."""
    adapter, training = made.deployed.candidate.adapter, made.deployed.folder.read(TrainingRecord)
    if adapter is None or adapter.kind != "lora" or training is None:
        return None
    seed = next((one for one in training.seeds if one.adapter.digest == adapter.digest), None)
    if seed is None or seed.probes is None:
        return None
    proven = parity.check(engine, {made.served.public.name: seed})
    return proven if any(row.tuned is not None for row in proven.adapters) else None


def _blank(candidate: Candidate) -> Judged:
    """A question of nobody's, in the candidate's prompt, where no judged one can be shown."""
    item = Item(id="", messages=(Message(role="user", content="Your question"),), target="")
    return Judged("", chat(candidate.prompt, item, Found()), "")
