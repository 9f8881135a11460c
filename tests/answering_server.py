"""A small OpenAI-compatible server as a process: answers slowly enough to be killed in between, and logs every call.

    python answering_server.py PORT LOG [LAST]

A line of the log is one answered question. It may itself be killed and started again on the same port, and kills
itself when it has answered so many as LAST says.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def reserved() -> Iterator[int]:
    """A port that nobody else is given while the block lasts, whether or not a server of ours is on it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))  # and never listens, so who connects is refused while no server does
        yield int(held.getsockname()[1])


@contextmanager
def answering(port: int, log: Path, last: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The server, ready on a port that is reserved; it is ended with the block. last: answers after which it dies."""
    command = [sys.executable, __file__, str(port), str(log), *([] if last is None else [str(last)])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions with the question's last word."""

    protocol_version = "HTTP/1.1"
    log_to = -1
    left: threading.Semaphore | None = None
    """Answers that it still gives."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        time.sleep(random.uniform(0.002, 0.02))
        message = {"role": "assistant", "content": question.split()[-1]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
        if self.left is not None and not self.left.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self.log_to, question.encode() + b"\n")
        self._reply({"choices": [choice], "usage": usage, "model": "small"})

    def do_GET(self) -> None:
        self._reply({"object": "list", "data": [{"id": "small", "object": "model"}]})

    def _reply(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    Handler.log_to = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if len(sys.argv) > 3:
        Handler.left = threading.Semaphore(int(sys.argv[3]))
    ThreadingHTTPServer.allow_reuse_port = ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
