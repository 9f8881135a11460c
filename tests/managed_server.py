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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from managed_words import BASE, KEY, STEPS, TOKENS, WHEN, FireworksWords, Job, Reply, TogetherWords, parts


@dataclass
class ManagedServer(TogetherWords, FireworksWords):
    """What the server knows, what it was asked, and how it is to behave."""

    faults: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, part of a path, status: each is answered once, in place of what was asked for."""
    lose: str = ""
    """`METHOD path` of a call that is done and then answered with 502, once."""
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

    # ------------------------------------------------------------------------ OpenAI

    def _openai(self, method: str, path: str, body: bytes, form: str) -> Reply:
        match (method, path.removeprefix("/v1").strip("/").split("/")):
            case ("POST", ["files"]):
                return 200, self._keep(body, form), {}
            case ("POST", ["fine_tuning", "jobs"]):
                job = self.begin(f"ftjob-{len(self.jobs)}", json.loads(body))
                return 200, self._openai_job(job), {}
            case ("GET", ["fine_tuning", "jobs"]):
                listed = [self._openai_job(job) for job in reversed(self.jobs.values())]
                return 200, {"object": "list", "data": listed, "has_more": False}, {}
            case ("GET", ["fine_tuning", "jobs", id]) if id in self.jobs:
                self.look(id)
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
        part = parts(body, form)["file"]
        known = f"file-{len(self.files)}"
        self.files[known], self.names[known] = part.get_content(), part.get_filename() or ""
        return {
            "id": known, "object": "file", "bytes": len(self.files[known]), "created_at": WHEN,
            "filename": self.names[known], "purpose": "fine-tune", "status": "processed",
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    managed: ManagedServer

    def _any(self) -> None:
        asked = urlsplit(self.path)
        body = self._body()
        if asked.path.startswith("/storage/"):  # a signed address: no key is sent there, and none is asked for
            self.managed.files[asked.path.removeprefix("/storage/")] = body
            return self._reply(200 if "Authorization" not in self.headers else 400, {}, {})
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            words = f"Incorrect API key provided: {self.headers.get('Authorization')}"
            return self._reply(401, {"error": {"message": words}}, {})
        query = parse_qs(asked.query)
        if "supervisedFineTuningJobId" in query:
            body = json.dumps(json.loads(body) | {"query id": query["supervisedFineTuningJobId"][0]}).encode()
        form = self.headers.get("Content-Type", "")
        return self._reply(*self.managed.answer(self.command, asked.path, query, body, form))

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
