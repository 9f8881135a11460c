"""A local server that speaks the file and fine-tuning calls of OpenAI, Together and Fireworks, and serves what it made.

Written from their public API references, so that each service's own Python package works against it unmodified:

    OpenAI     platform.openai.com/docs/api-reference/files, .../fine-tuning, .../chat
    Together   docs.together.ai/reference/upload-file, .../post-fine-tunes, .../get-fine-tunes-id
    Fireworks  docs.fireworks.ai/api-reference/create-dataset, .../create-supervised-fine-tuning-job

A job moves on by one stage each time that it is looked at, so no test waits for a clock. The base model answers every
chat with `?`; a tuned one knows whether the last number of a question is odd.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-local-0123456789abcdef"
BASE = "base-model"
TOKENS = 12_000
STEPS = 4
WHEN = 1_700_000_000
DATE = "2023-11-14T22:13:20Z"
LATER = "2023-11-14T22:23:20Z"
"""Ten minutes after DATE."""

Reply = tuple[int, Any, dict[str, str]]


@dataclass
class Job:
    """A fine-tuning job."""

    id: str
    body: dict[str, Any]
    looks: int = 0
    cancelled: bool = False


@dataclass
class ManagedServer:
    """What the server knows, what it was asked, and how it is to behave."""

    dialect: str = "openai"
    url: str = ""
    outcome: str = "succeeded"
    """`succeeded`, `failed`, or `running`: a job that never ends."""
    faults: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, part of a path, status: each is answered once, in place of what was asked for."""
    lose: str = ""
    """`METHOD path` of a call that is done and then answered with 502, once."""
    files: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    """`METHOD path` of everything that was asked with the right key."""

    def count(self, call: str) -> int:
        """How often a call was made, retries and refusals included."""
        return sum(bool(re.fullmatch(call, one)) for one in self.calls)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of the file that was sent under a name that ends so."""
        (known,) = [key for key, given in self.names.items() if given.endswith(name)]
        return [json.loads(line) for line in self.files[known].decode().splitlines()]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes, form: str) -> Reply:
        """The reply to one call."""
        self.calls.append(f"{method} {path}")
        for fault in self.faults:
            if fault[0] == method and fault[1] in path:
                self.faults.remove(fault)
                message = {"error": {"message": f"planted fault {fault[2]}", "code": "planted"}}
                return fault[2], message, {"retry-after-ms": "1"}
        if path.startswith("/v1/chat/completions") or path == "/v1/models":
            return self._serve(path, body)
        reply = {"openai": self._openai, "together": self._together, "fireworks": self._fireworks}[self.dialect](
            method, path, body, form
        )
        if self.lose == f"{method} {path}":
            self.lose = ""
            return 502, {"error": {"message": "bad gateway"}}, {}
        return reply

    def _serve(self, path: str, body: bytes) -> Reply:
        tuned = [self.tuned(job) for job in self.jobs.values() if self.state(job) == "succeeded"]
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": one, "owned_by": "local"} for one in [BASE, *tuned]]}, {}
        asked = json.loads(body)
        if asked["model"] not in (BASE, *tuned):
            return 404, {"error": {"message": f"no model {asked['model']}"}}, {}
        number = int((re.findall(r"\d+", asked["messages"][-1]["content"]) or ["0"])[-1])
        text = "?" if asked["model"] == BASE else str(number % 2)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}, {}

    def state(self, job: Job) -> str:
        """Where a job stands: it moves with the looks at it."""
        if job.cancelled:
            return "cancelled"
        return self.outcome if job.looks > STEPS else "queued" if job.looks < 1 else "running"

    def tuned(self, job: Job) -> str:
        """The name of what a job makes."""
        if self.dialect == "fireworks":
            return f"accounts/me/models/{job.body.get('outputModel', job.id)}"
        return f"ft:{BASE}:{job.body.get('suffix') or 'me'}:{job.id}"

    def _new(self, id: str, body: dict[str, Any]) -> Job:
        self.jobs[id] = Job(id, body)
        return self.jobs[id]

    def _look(self, id: str) -> Job | None:
        job = self.jobs.get(id)
        if job is not None:
            job.looks += 1
        return job

    # ------------------------------------------------------------------------ OpenAI

    def _openai(self, method: str, path: str, body: bytes, form: str) -> Reply:
        match (method, path.removeprefix("/v1").strip("/").split("/")):
            case ("POST", ["files"]):
                return 200, self._keep(body, form), {}
            case ("POST", ["fine_tuning", "jobs"]):
                job = self._new(f"ftjob-{len(self.jobs)}", json.loads(body))
                return 200, self._openai_job(job), {}
            case ("GET", ["fine_tuning", "jobs"]):
                listed = [self._openai_job(job) for job in reversed(self.jobs.values())]
                return 200, {"object": "list", "data": listed, "has_more": False}, {}
            case ("GET", ["fine_tuning", "jobs", id]) if id in self.jobs:
                self._look(id)
                return 200, self._openai_job(self.jobs[id]), {}
            case ("GET", ["fine_tuning", "jobs", id, "events"]) if id in self.jobs:
                return 200, {"object": "list", "data": self._openai_events(self.jobs[id]), "has_more": False}, {}
            case ("POST", ["fine_tuning", "jobs", id, "cancel"]) if id in self.jobs:
                self.jobs[id].cancelled = True
                return 200, self._openai_job(self.jobs[id]), {}
        return 404, {"error": {"message": f"no such call: {method} {path}"}}, {}

    def _openai_job(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        error = {"code": "bad_file", "message": "Line 3 of the file is no chat.", "param": "training_file"}
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "created_at": WHEN,
            "finished_at": WHEN + 600 if state not in ("queued", "running") else None,
            "model": job.body["model"],
            "fine_tuned_model": self.tuned(job) if state == "succeeded" else None,
            "organization_id": "org-local",
            "status": state,
            "hyperparameters": {"n_epochs": 3},
            "training_file": job.body["training_file"],
            "validation_file": job.body.get("validation_file"),
            "result_files": [],
            "trained_tokens": TOKENS if state == "succeeded" else None,
            "error": error if state == "failed" else None,
            "seed": job.body.get("seed", 0),
            "metadata": job.body.get("metadata"),
        }

    def _openai_events(self, job: Job) -> list[dict[str, Any]]:
        """Newest first, as they are listed there."""
        events = []
        for step in range(1, min(job.looks, STEPS) + 1):
            figures = {"step": step, "total_steps": STEPS, "train_loss": 2.0 / step, "valid_loss": 2.5 / step}
            events.append(
                {
                    "object": "fine_tuning.job.event",
                    "id": f"e{step}",
                    "created_at": WHEN + step,
                    "level": "info",
                    "message": f"Step {step}/{STEPS}: training loss={2.0 / step:.2f}",
                    "type": "metrics",
                    "data": figures,
                }
            )
        return events[::-1]

    def _keep(self, body: bytes, form: str) -> dict[str, Any]:
        part = _parts(body, form)["file"]
        known = f"file-{len(self.files)}"
        self.files[known], self.names[known] = part.get_content(), part.get_filename() or ""
        return {
            "id": known, "object": "file", "bytes": len(self.files[known]), "created_at": WHEN,
            "filename": self.names[known], "purpose": "fine-tune", "status": "processed",
        }  # fmt: skip

    # ---------------------------------------------------------------------- Together

    def _together(self, method: str, path: str, body: bytes, form: str) -> Reply:
        match (method, path.removeprefix("/v1").strip("/").split("/")):
            case ("POST", ["files"]):
                known = f"file-{len(self.names)}"
                self.names[known] = _parts(body, form)["file_name"].get_content().strip()
                return 302, {}, {"Location": f"{self.url}/storage/{known}", "X-Together-File-Id": known}
            case ("POST", ["files", known, "preprocess"]):
                return 200, {
                    "id": known, "object": "file", "bytes": len(self.files[known]), "created_at": WHEN,
                    "filename": self.names[known], "purpose": "fine-tune", "FileType": "jsonl", "Processed": True,
                }, {}  # fmt: skip
            case ("GET", ["fine-tunes", "models", "limits"]):
                return 200, LIMITS, {}
            case ("POST", ["fine-tunes", "estimate-price"]):
                return 200, {"estimation_available": True, "allowed_to_proceed": True, "estimated_total_price": 4.0,
                             "estimated_train_token_count": TOKENS, "user_limit": 100.0}, {}  # fmt: skip
            case ("POST", ["fine-tunes"]):
                return 200, self._together_job(self._new(f"ft-{len(self.jobs)}", json.loads(body))), {}
            case ("GET", ["fine-tunes"]):
                return 200, {"data": [self._together_job(job) for job in self.jobs.values()]}, {}
            case ("GET", ["fine-tunes", id]) if id in self.jobs:
                self._look(id)
                return 200, self._together_job(self.jobs[id]), {}
            case ("GET", ["fine-tunes", id, "metrics"]) if id in self.jobs:
                steps = range(1, STEPS + 1)
                return 200, {"metrics": [{"train/global_step": n, "train/loss": 2.0 / n} for n in steps]}, {}
            case ("POST", ["fine-tunes", id, "cancel"]) if id in self.jobs:
                self.jobs[id].cancelled = True
                return 200, self._together_job(self.jobs[id]), {}
        return 404, {"error": {"message": f"no such call: {method} {path}"}}, {}

    def _together_job(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        words = {"succeeded": "completed", "failed": "error"}.get(state, state)
        event = {"object": "fine-tune-event", "created_at": DATE, "level": "info", "message": "on it", "hash": ""}
        events: list[dict[str, Any]] = [
            {**event, "type": "checkpoint_save", "step": step, "total_steps": STEPS}
            for step in range(1, min(job.looks, STEPS) + 1)
        ]
        if state == "failed":
            events.append({**event, "type": "job_error", "level": "error", "message": "Line 3 of the file is no chat."})
        return {
            **job.body,
            "id": job.id,
            "user_id": "me",
            "status": words,
            "created_at": DATE,
            "updated_at": LATER,
            "model_output_name": self.tuned(job),
            "adapter_output_name": None,
            "events": events,
            "token_count": TOKENS if state != "queued" else None,
            "total_price": 5_000_000_000 if state == "succeeded" else None,
        }

    # --------------------------------------------------------------------- Fireworks

    def _fireworks(self, method: str, path: str, body: bytes, form: str) -> Reply:
        account, _, rest = path.removeprefix("/v1/accounts/").partition("/")
        match (method, rest.replace(":", "/:").split("/")):
            case ("POST", ["datasets"]):
                known = json.loads(body)["datasetId"]
                if known in self.names:
                    return 409, {"code": 6, "message": "already exists"}, {}
                self.names[known] = f"{known}.jsonl"
                return 200, {"name": f"accounts/{account}/datasets/{known}", "state": "UPLOADING"}, {}
            case ("POST", ["datasets", known, ":upload"]):
                self.files[known] = _parts(body, form)["file"].get_content()
                return 200, {"id": known, "object": "file"}, {}
            case ("POST", ["supervisedFineTuningJobs"]):
                made = json.loads(body)
                return 200, self._fireworks_job(self._new(made.pop("query id"), made)), {}
            case ("GET", ["supervisedFineTuningJobs", id]) if id in self.jobs:
                self._look(id)
                return 200, self._fireworks_job(self.jobs[id]), {}
            case ("POST", ["supervisedFineTuningJobs", id, ":cancel"]) if id in self.jobs:
                self.jobs[id].cancelled = True
                return 200, {}, {}
        return 404, {"code": 5, "message": f"no such call: {method} {path}"}, {}

    def _fireworks_job(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        words = {"succeeded": "COMPLETED", "queued": "PENDING"}.get(state, state.upper())
        message = "Line 3 of the file is no chat." if state == "failed" else ""
        return {
            **job.body,
            "name": f"accounts/me/supervisedFineTuningJobs/{job.id}",
            "state": f"JOB_STATE_{words}",
            "status": {"code": "OK", "message": message},
            "createTime": DATE,
            "completedTime": LATER if state == "succeeded" else None,
            "jobProgress": {"percent": 25 * min(job.looks, STEPS)},
            "estimatedCost": {"currencyCode": "USD", "units": "3", "nanos": 500_000_000},
        }


LIMITS = {
    "model_name": BASE, "max_num_epochs": 20, "max_num_evals": 100, "max_learning_rate": 1.0, "min_learning_rate": 1e-7,
    "max_num_checkpoints": 10, "default_gradient_accumulation_steps": 1, "max_seq_length_sft": 8192,
    "max_seq_length_dpo": 8192, "min_max_seq_length": 64, "merge_output_lora": True, "supports_full_training": False,
    "supports_reasoning": False, "supports_tools": False, "supports_vision": False,
    "lora_training": {
        "default_rank": 8, "max_rank": 64, "max_batch_size": 64, "min_batch_size": 1, "max_batch_size_dpo": 32,
        "target_modules": ["q_proj"],
    },
}  # fmt: skip


def _parts(body: bytes, form: str) -> dict[str, EmailMessage]:
    """The parts of a form by name."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + form.encode() + b"\r\n\r\n" + body)
    return {str(part.get_param("name", header="content-disposition")): part for part in message.iter_parts()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    managed: ManagedServer

    def _any(self) -> None:
        parts = urlsplit(self.path)
        body = self._body()
        if parts.path.startswith("/storage/"):  # a signed address: no key is sent there, and none is asked for
            self.managed.files[parts.path.removeprefix("/storage/")] = body
            return self._reply(200 if "Authorization" not in self.headers else 400, {}, {})
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            words = f"Incorrect API key provided: {self.headers.get('Authorization')}"
            return self._reply(401, {"error": {"message": words}}, {})
        query = parse_qs(parts.query)
        if "supervisedFineTuningJobId" in query:
            body = json.dumps(json.loads(body) | {"query id": query["supervisedFineTuningJobId"][0]}).encode()
        form = self.headers.get("Content-Type", "")
        return self._reply(*self.managed.answer(self.command, parts.path, query, body, form))

    do_GET = do_POST = do_PUT = _any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Type": "application/json", "Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(dialect: str = "openai", **settings: Any) -> Iterator[ManagedServer]:
    """A server on a free port of this machine, in threads of its own."""
    managed = ManagedServer(dialect, **settings)
    handler = type("Handler", (_Handler,), {"managed": managed})
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        managed.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield managed
        server.shutdown()
        thread.join()
