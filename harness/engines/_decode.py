"""Generation with a pool of rows: a row whose answer is finished makes room for the next request.

A pool never decodes a finished row and never waits for a straggler: rows join and
leave between two steps. Each request's tokens depend on its own content and seed only.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.engines._forward import Capture, Forward, Prefix
from harness.engines._tokens import Codec, cut_at_stop
from harness.engines.base import Answer
from harness.engines.constrain import consume
from harness.records import Decoding


@dataclass(slots=True)
class Job:
    """One request on its way."""

    index: int
    prompt: list[int]
    """All prompt tokens."""
    decoding: Decoding
    out: list[int] = field(default_factory=list)
    """Tokens generated so far."""
    started: float = 0.0
    dice: Any = None
    """Random generator of a sampled request."""
    matcher: Any = None
    """Where a constrained answer stands in its grammar."""

    @property
    def slots(self) -> int:
        """Tokens of prompt and answer together, at most."""
        return len(self.prompt) + self.decoding.max_tokens


class Pool:
    """Keys and values of the rows in flight, in one block a layer; rows 0 to n-1 are in use.

    A token of a row lies in the slot of its position (counted after the shared prefix).
    """

    is_compileable = False

    def __init__(self, rows: int, slots: int) -> None:
        self._shape = (rows, slots)
        self._keys: dict[int, Any] = {}
        self._values: dict[int, Any] = {}
        self._rows: Any = None
        self._at: Any = None
        self._width = 0

    def admit(self, first: int, cache: Capture) -> None:
        """Take in the rows of a finished prompt pass, from row `first` on."""
        for layer, new in cache.layers.items():
            for store, states in zip((self._keys, self._values), new, strict=True):
                if layer not in store:
                    rows, slots = self._shape
                    store[layer] = states.new_zeros((rows, states.shape[1], slots, states.shape[3]))
                store[layer][first : first + states.shape[0], :, : states.shape[2]] = states

    def move(self, source: int, target: int) -> None:
        """Overwrite one row with another."""
        for store in (*self._keys.values(), *self._values.values()):
            store[target] = store[source]

    def place(self, at: Any, width: int) -> None:
        """State where the next token of each row goes: slots (rows,), all below `width`."""
        self._rows = torch.arange(len(at), device=at.device)
        self._at, self._width = at, width

    def update(self, keys: Any, values: Any, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Called by each attention layer with one new token a row."""
        seen = []
        for store, states in ((self._keys[layer_idx], keys), (self._values[layer_idx], values)):
            store[self._rows, :, self._at] = states[:, :, 0]
            seen.append(store[: len(self._rows), :, : self._width])
        return seen[0], seen[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots in use before this step, at most."""
        return self._width - 1


class Generation:
    """Answers a list of jobs that share a prefix, `rows` at a time."""

    def __init__(self, forward: Forward, codec: Codec, adapter: str | None, rows: int, budget: int) -> None:
        self._forward = forward
        self._codec = codec
        self._adapter = adapter
        self._rows = rows
        self._budget = budget
        """Most prompt tokens in one pass."""

    def run(self, jobs: list[Job], prefix: Prefix) -> Iterator[tuple[int, Answer]]:
        """Yield (index, answer) as answers finish. Jobs are taken in the order given."""
        waiting, active = deque(jobs), list[Job]()
        pool = Pool(min(self._rows, len(jobs)), max(job.slots for job in jobs) - prefix.tokens)
        while waiting or active:
            # A prompt pass for a few rows at once is much cheaper than one for each.
            if waiting and self._rows - len(active) >= max(1, self._rows // 8 if active else 1):
                joining = self._join(waiting, self._rows - len(active))
                logits = self._prompts(joining, len(active), pool, prefix)
                fresh = len(active)
                active += joining
            else:
                fresh = 0
                logits = self._step(active, pool, prefix)
            choose(active[fresh:], self._narrowed(active[fresh:], logits))
            for row in range(len(active) - 1, fresh - 1, -1):
                answer = self._finished(active[row])
                if answer is None:
                    continue
                yield active[row].index, answer
                last = active.pop()
                if row < len(active):
                    active[row] = last
                    pool.move(len(active), row)

    def _join(self, waiting: deque[Job], free: int) -> list[Job]:
        joining = [waiting.popleft()]
        longest = len(joining[0].prompt)
        while waiting and len(joining) < free:
            longest = max(longest, len(waiting[0].prompt))
            if longest * (len(joining) + 1) > self._budget:
                break
            joining.append(waiting.popleft())
        now = time.perf_counter()
        for job in joining:
            job.started = now
            if job.decoding.temperature > 0:
                job.dice = dice(job)
            if job.decoding.constraint is not None:
                job.matcher = self._codec.masks.matcher(job.decoding.constraint)
        return joining

    def _narrowed(self, jobs: list[Job], logits: Any) -> Any:
        """The logits without what the jobs' constraints forbid."""
        matchers = {row: job.matcher for row, job in enumerate(jobs) if job.matcher is not None}
        return self._codec.masks.narrow(matchers, logits) if matchers else logits

    def _prompts(self, jobs: list[Job], first: int, pool: Pool, prefix: Prefix) -> Any:
        """Run the prompts of joining jobs and return the logits (jobs, vocabulary) after each."""
        own = [job.prompt[prefix.tokens :] for job in jobs]
        longest, device = max(map(len, own)), self._forward.device
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in own], device=device)
        slots = torch.arange(longest, device=device)
        allowed = (slots[None, :] <= slots[:, None])[None]
        wanted = torch.tensor([row * longest + len(ids) - 1 for row, ids in enumerate(own)], device=device)
        cache = Capture()
        logits = self._forward(self._adapter, tokens, prefix.length + slots[None], allowed, wanted, cache, prefix)
        pool.admit(first, cache)
        return logits

    def _step(self, jobs: list[Job], pool: Pool, prefix: Prefix) -> Any:
        """Run the newest token of each job and return the logits (jobs, vocabulary) after it."""
        device = self._forward.device
        places = [len(job.prompt) + len(job.out) - 1 - prefix.tokens for job in jobs]
        width = max(places) + 1
        at = torch.tensor(places, device=device)
        tokens = torch.tensor([job.out[-1:] for job in jobs], device=device)
        slots = torch.arange(width, device=device)[None]
        allowed = (slots <= at[:, None])[:, None]
        pool.place(at, width)
        wanted = torch.arange(len(jobs), device=device)
        positions, places = prefix.length + at[:, None], prefix.length + slots
        return self._forward(self._adapter, tokens, positions, allowed, wanted, pool, prefix, places)

    def _finished(self, job: Job) -> Answer | None:
        """The answer, when the newest token has ended it."""
        ended = job.out[-1] in self._codec.ends
        stops = job.decoding.stop
        if job.matcher is not None and (fault := consume(job.matcher, job.out[-1])):
            return Answer(error=f"constraint: {fault}", latency_s=time.perf_counter() - job.started)
        # Where nothing more may follow, the end of the turn need not be computed.
        complete = job.matcher is not None and job.matcher.is_stopped()
        text = cut_at_stop(self._codec.text(job.out), stops) if stops and not ended else None
        if not (ended or complete) and text is None and len(job.out) < job.decoding.max_tokens:
            return None
        finish = "stop" if ended or complete or text is not None else "length"
        return Answer(
            text=self._codec.text(job.out[:-1] if ended else job.out) if text is None else text,
            finish=finish,
            tokens_in=len(job.prompt),
            tokens_out=len(job.out),
            latency_s=time.perf_counter() - job.started,
        )


def dice(job: Job) -> Any:
    """A random generator for one request: the same seed and prompt always give the same answer.

    The prompt is part of the seed, so that items do not all draw the same numbers.
    """
    content = f"{job.decoding.seed}:{job.prompt}".encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(content).digest()[:7], "big"))


def choose(jobs: list[Job], logits: Any) -> None:
    """Append to each job its next token, greedy or sampled, from logits (jobs, vocabulary)."""
    best = logits.argmax(dim=-1).tolist()
    for row, job in enumerate(jobs):
        decoding = job.decoding
        job.out.append(best[row] if decoding.temperature == 0 else sample(logits[row].cpu(), decoding, job.dice))


def sample(logits: Any, decoding: Decoding, generator: Any) -> int:
    """Draw one token from logits (vocabulary,) at a temperature from the smallest set with mass top_p."""
    odds, order = torch.softmax(logits.double() / decoding.temperature, dim=-1).sort(descending=True, stable=True)
    mass = odds.cumsum(dim=-1)
    # The first token always stays, and the one that crosses top_p does too.
    kept = int((mass - odds < decoding.top_p).sum())
    draw = torch.rand((), generator=generator, dtype=torch.float64) * mass[kept - 1]
    return int(order[min(int((mass[:kept] <= draw).sum()), kept - 1)])
