"""One engine for an experiment: opened when the first question is asked, closed for training, never left behind.

Whatever a training made is served: adapters beside the base model, others merged into it where the engine cannot do
that, whole models by an engine like the base model's, label heads in process, and what only a server has by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness import artifacts, parity
from harness.engines import ServeSpec, check_adapter_acts, choose, open_engine
from harness.engines.base import Adapter, Engine
from harness.engines.beside import Beside
from harness.engines.cached import FILE, Answers, CachedEngine
from harness.errors import NotComparableError, Problem, StoreError
from harness.models import LocalModel
from harness.progress import Progress
from harness.records import AdapterRef, Conditions, ParityRecord, SeedTraining
from harness.store import ExperimentStore
from harness.trainers import folder_of, merged


class Serving:
    """Opens the engine on first use, with every adapter added so far."""

    def __init__(
        self,
        spec: ServeSpec,
        model: LocalModel,
        *,
        max_adapters: int,
        rank: int,
        folder: ExperimentStore,
        progress: Progress,
        counted: Callable[[Engine], Engine] = lambda engine: engine,
        pinned: type[Conditions] = Conditions,
    ) -> None:
        """counted: puts a counter of tokens around the engine, inside the cache of answers.

        pinned: the record that holds all its answers to one set of conditions; another for another side of a gate.
        """
        self._spec = spec
        self._model = model
        self._max_adapters = max_adapters
        self._rank = rank
        self._folder = folder
        self._progress = progress
        self._counted = counted
        self._pinned = pinned
        self._adapters: dict[str, Adapter] = {}
        self._kinds: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._engine: Engine | None = None
        self._asked: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The running engine, started now if it is not, behind the cache of answers where the spec allows it."""
        if self._engine is None or self._asked is None:
            main = self._open(self._model)
            # A server that runs elsewhere has whole models too, by their names there.
            another = None if main.conditions.engine == "openai" else self._open
            self._engine = Beside(main, self._model, another)
            self._pin_conditions(self._engine.conditions)
            self._asked = self._remembering(self._counted(self._engine))
            self._load(*self._adapters.values())
        return self._asked

    def _open(self, model: LocalModel) -> Engine:
        """An engine of the base model, or in the same way of a whole model that was trained."""
        own = "" if model is self._model else f"-{model.ref.digest[:8]}"
        return open_engine(
            self._spec,
            model,
            max_adapters=self._max_adapters,
            adapter_rank=self._rank,
            log=self._folder.log_path(f"engine{own}.log"),
            note=self._progress.note,
        )

    def _remembering(self, engine: Engine) -> Engine:
        """The engine behind the cache of answers.

        Not for a server that runs elsewhere: its weights cannot be seen, and answers are kept by weights alone.
        """
        if not self._spec.cache or self._model.remote_name is not None or engine.conditions.engine == "openai":
            return engine
        return CachedEngine(engine, self._model.ref.digest, Answers(artifacts.home() / FILE, self._progress.note))

    def _pin_conditions(self, conditions: Conditions) -> None:
        """All answers of an experiment come under one set of conditions, over all its sittings."""
        begun = self._folder.read(self._pinned)
        if begun is None:
            self._folder.write(self._pinned.model_validate(conditions.model_dump()))
            return
        got, wanted = conditions.model_dump(), begun.model_dump()
        problems = [
            Problem(
                f"{self._folder.id}: conditions.{field}", f"{got[field]!r} now, but it was begun with {wanted[field]!r}"
            )
            for field in wanted
            if got[field] != wanted[field]
        ]
        if problems:
            self.close()
            hint = "Go on with the engine it was begun with (serve.engine), or delete its folder to start over"
            raise NotComparableError([*problems, Problem(str(self._folder.path), "answers would be mixed", next=hint)])

    def _load(self, *adapters: Adapter) -> None:
        """Load them and prove that each changes something: an inert adapter would be the base model judged twice.

        Not of those whose likelihoods nobody tells: a label head writes no text of its own, and whether it learned is
        what its answers say; so it is with a model at a server that gives no likelihoods.
        """
        assert self._engine is not None  # noqa: S101  callers started it
        assert self._asked is not None  # noqa: S101
        for adapter in adapters:
            self._asked.load_adapter(adapter)
        told = [one.name for one in adapters if self._kinds[one.name] not in ("classifier", "remote")]
        if told:
            check_adapter_acts(self._engine, *told)  # the engine itself, never what the cache remembers of it

    def add(self, name: str, adapter: AdapterRef) -> None:
        """Serve one more of what a training made. Its weights must lie under HARNESS_HOME, unless it is remote.

        Raises StoreError where they do not; TrainingError for an adapter that the engine cannot serve beside the base
        model and that cannot be merged into it; EngineError for one that changes nothing.
        """
        made = self._found(name, adapter)
        self._adapters[name], self._names[adapter.digest], self._kinds[name] = made, name, adapter.kind
        if self._engine is not None:
            self._load(made)

    def _found(self, name: str, adapter: AdapterRef) -> Adapter:
        """Where it lies, as it is to be served."""
        if adapter.kind == "remote":
            return Adapter(name, "", adapter.remote or "")
        path, what = folder_of(adapter), "model" if adapter.kind == "model" else "adapter"
        if not path.is_dir():
            hint = "Delete training.json of the experiment to train it again"
            raise StoreError(Problem(str(path), f"the {what} of {name} is gone", next=hint))
        if artifacts.digest_folder(path) != adapter.digest:
            hint = "Delete it and training.json of the experiment to train it again"
            raise StoreError(Problem(str(path), f"the {what} of {name} was changed after training", next=hint))
        if adapter.kind != "peft" or choose(self._spec).name != "vllm":
            return Adapter(name, str(path))
        self.close()  # merging takes the memory of the base model
        whole = merged(adapter, self._model, None if self._spec.dtype == "auto" else self._spec.dtype)
        self._progress.note(
            f"{name}: vLLM cannot serve {adapter.method} beside the base model, so it is merged into it "
            f"({whole.dtype}; a token's log-probability moves by up to {whole.drift or 0.0:.2g} nats)"
        )
        return Adapter(name, str(whole.folder))

    def parity(self, trained: Mapping[str, SeedTraining]) -> ParityRecord:
        """Hold the engine itself, never the cache, against the trainings of adapters that were added, by their names.

        Raises EngineError when what it serves is not what was trained; see `harness.parity`.
        """
        asked = self.engine  # started now if it is not
        return parity.check(self._engine or asked, trained)

    def name_of(self, adapter: AdapterRef) -> str:
        """The name under which an adapter that was added is served: one, under however many prompts it is asked."""
        return self._names[adapter.digest]

    def close(self) -> None:
        """Stop the engine; the next use starts it again."""
        for engine in (self._asked, self._engine):
            if engine is not None:
                engine.close()
        self._asked = self._engine = None

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
