"""A small OpenAI-compatible server as a process: answers slowly enough to be killed in between, and logs every call.

    python answering_server.py PORT LOG

A line of the log is one answered question. It may itself be killed and started again on the same port.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions with the question's last word."""

    protocol_version = "HTTP/1.1"
    log_to = -1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        time.sleep(random.uniform(0.002, 0.02))
        message = {"role": "assistant", "content": question.split()[-1]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
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
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
