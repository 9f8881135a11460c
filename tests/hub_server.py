"""A stand-in for the Hugging Face Hub on the loopback: repositories, commits, large files, as its client sends them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of-a-test"


@dataclass
class Hub:
    """What it was sent."""

    url: str = ""
    visibility: dict[str, str] = field(default_factory=dict)
    """Repository to `private` or `public`."""
    commits: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """Path to content, of the last commit; of a large file the content that was put."""
    large: dict[str, bytes] = field(default_factory=dict)
    refuses_files: bool = False


@contextmanager
def running() -> Iterator[Hub]:
    """One hub, gone with the block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, body: Any, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def _known(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return True
            self._send({"error": "Invalid credentials in Authorization header"}, 401)
            return False

        def do_GET(self) -> None:
            if not self._known():
                return
            if "/commits/" not in self.path:
                self._send({"error": "Repository not found"}, 404)
                return
            told = [{"id": one["id"], "title": one["title"]} for one in reversed(hub.commits)]
            self._send([{**one, "authors": [], "date": "2026-01-15T12:00:00.000Z", "message": ""} for one in told])

        def do_PUT(self) -> None:
            data = self._body()
            if hub.refuses_files:
                self._send({"error": "storage is full"}, 400)
                return
            hub.large[self.path.rpartition("/")[2]] = data
            self._send({})

        def do_POST(self) -> None:
            data = self._body()
            if not self._known():
                return
            if self.path == "/api/repos/create":
                told = json.loads(data)
                repo = f"{told['organization']}/{told['name']}"
                new = repo not in hub.visibility
                hub.visibility.setdefault(repo, told.get("visibility", "public"))
                self._send({"url": f"{hub.url}/{repo}", "name": repo}, 200 if new else 409)
            elif self.path == "/api/validate-yaml":
                self._send({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                modes = [{"path": f["path"], "shouldIgnore": False,
                          "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                         for f in json.loads(data)["files"]]  # fmt: skip
                self._send({"files": modes})
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = [{"oid": o["oid"], "size": o["size"],
                            "actions": {"upload": {"href": f"{hub.url}/put/{o['oid']}", "header": {}}}}
                           for o in json.loads(data)["objects"]]  # fmt: skip
                self._send({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                self._send(self._committed([json.loads(line) for line in data.splitlines()]))

        def _committed(self, lines: list[dict[str, Any]]) -> dict[str, str]:
            number = f"{len(hub.commits) + 1:040x}"
            for line in lines:
                told = line["value"]
                if line["key"] == "header":
                    hub.commits.append({"id": number, "title": told["summary"]})
                elif line["key"] == "file":
                    hub.files[told["path"]] = base64.b64decode(told["content"])
                elif line["key"] == "lfsFile":
                    hub.files[told["path"]] = hub.large[told["oid"]]
            return {"commitUrl": f"{hub.url}/me/it/commit/{number}", "commitOid": number}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
