"""The start-up probes find a server that answers as the wrong model, and an adapter that does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from harness.engines.base import Adapter, Answer, Engine, Request
from harness.engines.probe import check_adapter_acts, check_identity, fingerprint
from harness.errors import EngineError
from harness.records import Conditions

FLOAT32, BFLOAT16 = 1e-3, 0.1


class Table(Engine):
    """An engine whose models are numbers: every log-likelihood is the model's own number."""

    conditions = Conditions(
        engine="table", engine_version="0", dtype="float32", device="cpu", chat_template_digest=None
    )
    concurrent = False

    def __init__(self, **models: float) -> None:
        self.models: dict[str | None, float] = {None: 0.0, **models}
        self.broken = False

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for index, request in enumerate(requests):
            value = self.models[request.adapter]
            if self.broken:
                yield index, Answer(error="no answer")
            elif request.choices:
                yield index, Answer(logprobs=(value,) * len(request.choices))
            else:
                yield index, Answer(text=f"{value:.1f}")

    def load_adapter(self, adapter: Adapter) -> None:
        self.models[adapter.name] = 1.0

    def close(self) -> None: ...


def check(engine: Table, then: dict[str | None, float], noise: float) -> None:
    """Take fingerprints alone, then let the models answer as `then` says."""
    alone = {name: fingerprint(engine, name) for name in engine.models}
    engine.models |= then
    check_identity(engine, [name for name in engine.models if name], alone, noise)


def test_models_that_answer_as_themselves_pass() -> None:
    check(Table(a=1.0, b=2.0), {}, FLOAT32)


def test_a_base_request_answered_by_an_adapter_is_found() -> None:
    with pytest.raises(EngineError, match="requests for the base model with the adapter 'b' when both are in flight"):
        check(Table(a=1.0, b=2.0), {None: 2.0}, FLOAT32)


def test_two_adapters_that_swap_are_found() -> None:
    with pytest.raises(EngineError, match="requests for the adapter 'a' with the adapter 'b'"):
        check(Table(a=1.0, b=2.0), {"a": 2.0}, FLOAT32)


def test_the_noise_of_a_coarse_number_type_is_no_alarm() -> None:
    check(Table(a=0.04), {None: 0.03, "a": 0.01}, BFLOAT16)


def test_an_adapter_that_differs_acts() -> None:
    check_adapter_acts(Table(a=0.01), "a")


def test_an_adapter_that_differs_in_nothing_is_an_error() -> None:
    with pytest.raises(EngineError, match="the adapter 'a' changes nothing"):
        check_adapter_acts(Table(a=0.0), "a")


def test_a_probe_without_an_answer_is_an_error() -> None:
    engine = Table()
    engine.broken = True
    with pytest.raises(EngineError, match="probe of the base model failed: no answer"):
        fingerprint(engine, None)
