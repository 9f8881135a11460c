"""Probing: what base model and adapter say of the fixed probe texts, in the process that trained them.

Serving is held against these numbers (`harness.parity`): the same weights, tokens and chat template give the same
log-likelihoods, whoever computes them. So nothing of an engine is used here: plain forward passes of the trained
model, one text at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.models import turns
from harness.probes import PROBES, PROBES_DIGEST, Probe
from harness.records import ProbeScores

Split = tuple[list[int], list[list[int]]]
"""Tokens of a context, and of each continuation after it."""

Scores = tuple[tuple[float, ...], ...]
"""One tuple a probe, one number a continuation."""


def read_probes(model: Any, tokenizer: Any, room: int, base: Scores | None = None) -> ProbeScores:
    """Score the probes with the model as it was trained, and with the base model.

    room: tokens that a text may take. base: the base model's scores, from `read_base`; None where switching the
    adapter off gives them. The arithmetic is the trainer's: its number type, its quantisation.
    """
    room -= virtual_tokens(model)
    split = [split_probe(probe, tokenizer, room) for probe in PROBES]
    with at_rest(model):
        tuned = tuple(_scores(model, one) for one in split)
        if base is None:
            with model.disable_adapter():
                base = tuple(_scores(model, one) for one in split)
    return ProbeScores(
        probes=PROBES_DIGEST,
        base=base,
        tuned=tuned,
        tokens=tuple(tuple(len(tokens) for tokens in one[1]) if one else () for one in split),
        quantized=any(type(module).__module__.startswith("bitsandbytes") for module in model.modules()),
    )


def read_base(model: Any, tokenizer: Any, room: int) -> Scores:
    """The base model's scores, for methods that change it."""
    with at_rest(model):
        return tuple(_scores(model, split_probe(probe, tokenizer, room)) for probe in PROBES)


def read_tokens(model: Any, tokenizer: Any, room: int) -> list[float]:
    """Log-probability (nats) of every token of every probe's continuations, one after the other."""
    with at_rest(model):
        split = [found for probe in PROBES if (found := split_probe(probe, tokenizer, room)) is not None]
        return [one for context, each in split for after in each for one in _told(model, context, after).tolist()]


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """No dropout and no gradients; afterwards the model is as it was."""
    import torch

    was_training = model.training
    model.eval()
    for module in model.modules():
        if type(module).__module__.startswith("bitsandbytes"):  # in eval, on some CPUs, it packs its weights otherwise
            module.training = True
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def virtual_tokens(model: Any) -> int:
    """Places of the context that a learned prompt or prefix takes."""
    configs = getattr(model, "peft_config", {}).values()
    return sum(config.num_virtual_tokens for config in configs if config.is_prompt_learning)


def split_probe(probe: Probe, tokenizer: Any, room: int) -> Split | None:
    """A probe's tokens by the rule of lm-eval; None where it cannot be asked.

    White space at the end of the context belongs to what follows, and both are encoded as one text.
    """
    if probe.text is None and tokenizer.chat_template is None:
        return None
    text = turns.render(tokenizer, probe.messages) if probe.text is None else probe.text
    body = text.rstrip()
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    special = not body.startswith(tokenizer.decode([first]))

    def encode(what: str) -> list[int]:
        return list(tokenizer(what, add_special_tokens=special)["input_ids"])

    context = encode(body)
    after = [encode(text + more)[len(context) :] for more in probe.continuations]
    fits = all(0 < len(tokens) <= room - len(context) for tokens in after)
    return (context, after) if fits else None


def _scores(model: Any, split: Split | None) -> tuple[float, ...]:
    """Summed log-likelihood of each continuation, in nats."""
    if split is None:
        return ()
    return tuple(_score(model, split[0], after) for after in split[1])


def _score(model: Any, context: list[int], after: list[int]) -> float:
    return float(_told(model, context, after).double().sum())


def _told(model: Any, context: list[int], after: list[int]) -> Any:
    """Log-probability of each token of a continuation."""
    import torch

    ids = torch.tensor([context + after], device=model.device)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
    told = logits[-len(after) - 1 : -1].float().log_softmax(dim=-1)  # from the end: a learned prompt comes before
    return told[torch.arange(len(after)), ids[0, len(context) :]]
