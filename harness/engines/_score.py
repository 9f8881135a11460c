"""Log-likelihoods of choices: an item's choices lie behind its context in one row, each blind to the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from harness.engines._forward import Forward, Prefix
from harness.engines.base import Answer

PADDING = 1 << 40
"""Position of padding: after everything, so that nothing sees it."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One choice request as tokens."""

    index: int
    context: list[int]
    choices: list[list[int]]

    @property
    def size(self) -> int:
        """Tokens that are run: a choice's last token is predicted, never read."""
        return len(self.context) + sum(len(choice) - 1 for choice in self.choices)


def score(
    forward: Forward, adapter: str | None, items: list[Scored], prefix: Prefix, rows: int, budget: int
) -> Iterator[tuple[int, Answer]]:
    """Yield (index, answer) for items that share a prefix; `budget` limits the tokens of one pass."""
    at = 0
    # Positions at which logits are wanted, so that they take at most 256 MiB.
    most = max(1, (1 << 26) // forward.config.vocab_size)
    while at < len(items):
        batch = [items[at]]
        for item in items[at + 1 : at + rows]:
            longest = max(other.size for other in (*batch, item)) - prefix.tokens
            wanted = sum(1 + other.size - len(other.context) for other in (*batch, item))
            if longest * (len(batch) + 1) > budget or wanted > most:
                break
            batch.append(item)
        at += len(batch)
        started = time.perf_counter()
        sums, likeliest = score_batch(forward, adapter, batch, prefix)
        seconds = time.perf_counter() - started
        for item, logprobs, greedy in zip(batch, sums, likeliest, strict=True):
            read = len(item.context) + sum(map(len, item.choices))
            yield (
                item.index,
                Answer(
                    logprobs=logprobs,
                    greedy=greedy[0] if len(greedy) == 1 else None,
                    tokens_in=read,
                    tokens_out=0,
                    latency_s=seconds,
                ),
            )


def score_batch(
    forward: Forward, adapter: str | None, items: list[Scored], prefix: Prefix
) -> tuple[list[tuple[float, ...]], list[tuple[bool, ...]]]:
    """Each item's choices, in one pass: summed log-likelihoods (nats), and whether every token is the likeliest."""
    longest = max(item.size for item in items) - prefix.tokens
    tokens, positions, branches = [], [], []
    wanted: list[int] = []
    targets: list[tuple[int, int]] = []  # index into wanted, token that follows there
    for row, item in enumerate(items):
        own, after = item.context[prefix.tokens :], prefix.learned + len(item.context)
        ids, place, branch = list(own), list(range(prefix.length, after)), [0] * len(own)
        wanted.append(row * longest + len(own) - 1)
        last_of_context = len(wanted) - 1
        for number, choice in enumerate(item.choices, 1):
            targets.append((last_of_context, choice[0]))
            for step, token in enumerate(choice[1:]):
                wanted.append(row * longest + len(ids) + step)
                targets.append((len(wanted) - 1, token))
            ids += choice[:-1]
            place += range(after, after + len(choice) - 1)
            branch += [number] * (len(choice) - 1)
        padding = longest - len(ids)
        tokens.append(ids + [0] * padding)
        positions.append(place + [PADDING] * padding)
        branches.append(branch + [-1] * padding)
    seen = visible(torch.tensor(positions), torch.tensor(branches)).to(forward.device)
    place = torch.tensor(positions, device=forward.device)
    place = place.masked_fill(place == PADDING, 0)
    logits = forward(
        adapter,
        torch.tensor(tokens, device=forward.device),
        place,
        seen,
        torch.tensor(wanted, device=forward.device),
        prefix=prefix,
    )
    where, token = torch.tensor(targets, device=forward.device).T
    gained = (logits[where, token] - logits.logsumexp(dim=-1)[where]).double().cpu()
    first = (logits.argmax(dim=-1)[where] == token).cpu()
    sizes = [len(choice) for item in items for choice in item.choices]
    sums, firsts = iter(gained.split(sizes)), iter(first.split(sizes))
    return (
        [tuple(float(next(sums).sum()) for _ in item.choices) for item in items],
        [tuple(bool(next(firsts).all()) for _ in item.choices) for item in items],
    )


def visible(positions: Any, branches: Any) -> Any:
    """Which keys each token sees, (rows, n, n) bool: its context and its own choice, up to itself."""
    earlier = positions[:, None, :] <= positions[:, :, None]
    together = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
    return earlier & together
