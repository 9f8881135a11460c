"""How far an exported model is from the process that trained it, on the fixed probes: a number, and no rule."""

from __future__ import annotations

from harness.engines import Engine
from harness.engines.base import Request
from harness.errors import EngineError
from harness.exporting.source import Source
from harness.probes import PROBES, PROBES_DIGEST
from harness.records import Decoding, ProbeScores, TrainingRecord


def probe_drift(source: Source, engine: Engine, adapter: str | None) -> float | None:
    """Largest difference to the training process on the fixed probes, in nats per token.

    None without numbers of training, or from an engine that tells no log-likelihoods.
    """
    trained = _trained(source)
    if trained is None or trained.probes != PROBES_DIGEST:
        return None
    at = [index for index, tokens in enumerate(trained.tokens) if tokens]
    asked = [(PROBES[index].messages, PROBES[index].text, PROBES[index].continuations) for index in at]
    requests = [Request(Decoding(max_tokens=1), *one, adapter) for one in asked]
    worst = 0.0
    try:
        for place, answer in engine.answer(requests):
            if answer.logprobs is None:
                return None
            index = at[place]
            rows = zip(answer.logprobs, trained.tuned[index], trained.tokens[index], strict=True)
            worst = max(worst, *(abs(ours - theirs) / count for ours, theirs, count in rows))
    except EngineError:
        return None
    return worst


def _trained(source: Source) -> ProbeScores | None:
    """What the training process said of the probes, unless it held other weights than are served."""
    record, adapter = source.folder.read(TrainingRecord), source.candidate.adapter
    seeds = record.seeds if record is not None and adapter is not None else ()
    probes = next((seed.probes for seed in seeds if adapter and seed.adapter.digest == adapter.digest), None)
    return None if probes is None or probes.quantized else probes
