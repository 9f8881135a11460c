"""One engine for an experiment: opened when the first question is asked, closed for training, never left behind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness import artifacts, parity
from harness.engines import ServeSpec, check_adapter_acts, open_engine
from harness.engines.base import Adapter, Engine
from harness.engines.beside import Beside
from harness.engines.cached import FILE, Answers, CachedEngine
from harness.errors import NotComparableError, Problem, StoreError
from harness.models import LocalModel
from harness.models.labelling import is_classifier
from harness.progress import Progress
from harness.records import AdapterRef, Conditions, ParityRecord, SeedTraining
from harness.store import ExperimentStore


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
    ) -> None:
        self._spec = spec
        self._model = model
        self._max_adapters = max_adapters
        self._rank = rank
        self._folder = folder
        self._progress = progress
        self._adapters: dict[str, Adapter] = {}
        self._names: dict[str, str] = {}
        self._engine: Engine | None = None
        self._asked: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The running engine, started now if it is not, behind the cache of answers where the spec allows it."""
        if self._engine is None or self._asked is None:
            log = self._folder.log_path("engine.log")
            main = open_engine(
                self._spec,
                self._model,
                max_adapters=self._max_adapters,
                adapter_rank=self._rank,
                log=log,
                note=self._progress.note,
            )
            self._engine = Beside(main, self._model)
            self._pin_conditions(self._engine.conditions)
            self._asked = self._remembering(self._engine)
            for adapter in self._adapters.values():
                self._load(adapter)
        return self._asked

    def _remembering(self, engine: Engine) -> Engine:
        """The engine behind the cache of answers.

        Not for a server that runs elsewhere: its weights cannot be seen, and answers are kept by weights alone.
        """
        if not self._spec.cache or self._model.remote_name is not None or engine.conditions.engine == "openai":
            return engine
        return CachedEngine(engine, self._model.ref.digest, Answers(artifacts.home() / FILE, self._progress.note))

    def _pin_conditions(self, conditions: Conditions) -> None:
        """All answers of an experiment come under one set of conditions, over all its sittings."""
        begun = self._folder.read(Conditions)
        if begun is None:
            self._folder.write(conditions)
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

    def _load(self, adapter: Adapter) -> None:
        """Load it and prove that it changes something: an inert adapter would be the base model judged twice."""
        assert self._engine is not None  # noqa: S101  callers started it
        assert self._asked is not None  # noqa: S101
        self._asked.load_adapter(adapter)
        if is_classifier(Path(adapter.path)):
            return  # it writes no text of its own, and whether it learned is what its answers say
        check_adapter_acts(self._engine, adapter.name)  # the engine itself, never what the cache remembers of it

    def add(self, name: str, adapter: AdapterRef) -> None:
        """Serve one more adapter beside the base model. Its weights must lie under HARNESS_HOME."""
        path = artifacts.folder("adapters", adapter.digest)
        if not path.is_dir():
            hint = "Delete training.json of the experiment to train it again"
            raise StoreError(Problem(str(path), f"the adapter of {name} is gone", next=hint))
        if artifacts.digest_folder(path) != adapter.digest:
            hint = "Delete it and training.json of the experiment to train it again"
            raise StoreError(Problem(str(path), f"the adapter of {name} was changed after training", next=hint))
        self._adapters[name], self._names[adapter.digest] = Adapter(name, str(path)), name
        if self._engine is not None:
            self._load(self._adapters[name])

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
