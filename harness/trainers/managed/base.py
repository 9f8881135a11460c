"""What every fine-tuning service is asked, what it says of a job, and the protocol of those who speak to one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from harness.errors import Problem, TrainingError
from harness.records import CurvePoint, TrainingPoint

RETRIES: Final = 6
"""How often a call that changes nothing is tried again by the service's own package, with growing pauses."""
SHOWN: Final = 500
"""Characters of a service's own words in an error."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One job, as it is asked for."""

    model: str
    """Name of the base model at the service."""
    objective: Literal["sft", "dpo"]
    seed: int
    mark: str
    """By what the job is known again: a digest over everything that makes it."""
    suffix: str | None
    """Put into the tuned model's name."""
    hyperparameters: dict[str, Any]
    beta: float | None
    """Strength of the tie to the base model (dpo), where it is stated."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Files as the service knows them."""

    train: str
    validation: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """What the service says of a job."""

    state: Literal["running", "succeeded", "failed", "cancelled"]
    """`running` until it has ended, queues and checks of files included."""
    words: str
    """The service's own word for it, or why it failed."""
    model: str | None = None
    """Name of the tuned model, when there is one."""
    step: int | None = None
    steps: int | None = None
    """Steps done, and in all."""
    percent: int | None = None
    """How much of it is done, from a service that tells no steps."""
    loss: float | None = None
    """Last training loss."""
    tokens: int | None = None
    """Tokens that were trained, or will be paid for."""
    cost: float | None = None
    """The service's own figure, in its currency."""
    seconds: float | None = None
    """From its creation to its end."""

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1, as far as that is told."""
        if self.state == "succeeded":
            return 1.0
        if self.percent is not None:
            return self.percent / 100
        return (self.step or 0) / self.steps if self.steps else 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What is worth keeping of a job that succeeded."""

    curve: tuple[TrainingPoint, ...] = ()
    validation: tuple[CurvePoint, ...] = ()
    """Loss on the validation file."""


class Service(Protocol):
    """Speaks to one service through its own package. Every method raises `Away` or TrainingError."""

    def upload(self, file: Path, name: str) -> str:
        """Send a file of rows and return how the service knows it. name: unique to the job."""
        ...

    def start(self, asked: Asked, sent: Sent) -> str:
        """Start a job, asking once, and return its id. After `Away` it may run or not: `find` tells."""
        ...

    def find(self, asked: Asked, sent: Sent) -> str | None:
        """The id of a job that was started with this mark, or None."""
        ...

    def price(self, asked: Asked, sent: Sent) -> float | None:
        """The service's own estimate of what it will cost, in its currency; None where it gives none."""
        ...

    def look(self, job: str) -> Look:
        """How the job stands."""
        ...

    def ended(self, job: str) -> Ended:
        """Curves of a job that succeeded."""
        ...

    def cancel(self, job: str) -> None:
        """Ask the service to end the job."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class Told(TrainingError):
    """An answer of a service that is a fault. status: of HTTP; None where there was no answer."""

    def __init__(self, problem: Problem, status: int | None) -> None:
        super().__init__(problem)
        self.status = status


class Refused(Told):
    """The service will not, and would not the next time."""


class Away(Told):
    """The service did not answer, or not to the point: what it was asked for may have happened or not."""


@dataclass(frozen=True, slots=True)
class Line:
    """How a service is reached."""

    service: str
    url: str
    key: str
    """Never shown."""
    key_env: str
    account: str = ""

    @contextmanager
    def telling(self, package: Any, doing: str) -> Iterator[None]:
        """Faults of a service's package, whose exceptions all have one form, as errors that do not show the key.

        Raises Away for what may be otherwise next time, Refused in the service's own words, TrainingError for a key
        that is not accepted and for what is no answer of such a service.
        """
        import httpx

        where = f"{self.service}, {doing}"
        try:
            yield
        except package.APIStatusError as fault:
            status, words = fault.status_code, self.hidden(_words(fault))
            if status in (401, 403):  # its words can hold parts of the key
                what = f"the key in {self.key_env} is not accepted (status {status})"
                raise TrainingError(Problem(where, what, next="Put a key that may fine-tune into it")) from None
            if (status in (408, 409, 429) or status >= 500) and status != 501:
                raise Away(Problem(where, f"status {status}: {words}"), status) from None
            raise Refused(Problem(where, f"refused with status {status}: {words}"), status) from None
        except (package.APIConnectionError, httpx.HTTPError) as fault:
            what = f"{self.url} does not answer ({type(fault).__name__})"
            raise Away(Problem(where, what), None) from None
        except (package.APIError, ValueError, TypeError) as fault:  # an answer that its own package cannot read
            raise TrainingError(Problem(where, self.hidden(str(fault))[:SHOWN])) from None

    def hidden(self, text: str) -> str:
        """A text without the key."""
        return text.replace(self.key, "***") if self.key else text


def _words(fault: Any) -> str:
    """What the service says of a fault: its message where there is one, else the start of the body."""
    body = fault.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        told = inner.get("message") if isinstance(inner, dict) else inner
        body = told or body.get("message") or body
    return str(body or fault.message).strip()[:SHOWN]
