"""A chat server that answers at once: so cheap that what is measured is the client.

    python -m evaluating.instant

Speaks HTTP/1.1 with keep-alive and just enough of `/v1/chat/completions`, `/v1/models` and `/health`. It runs in a
process of its own, whose CPU time belongs to nobody's figure.
"""

from __future__ import annotations

import asyncio
import json

BODY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "instant",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": None,
                "message": {"role": "assistant", "content": "Paris"},
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
    }
).encode()
MODELS = json.dumps({"object": "list", "data": [{"id": "instant", "object": "model", "owned_by": "bench"}]}).encode()


def reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole HTTP answer."""
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


CHAT, LISTED, NOTHING = reply(BODY), reply(MODELS), reply(b'{"error": {"message": "not here"}}', b"404 Not Found")


class Instant(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.held = transport, b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            length = 0
            if (at := head.find(b"content-length:")) >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self.held) < end + 4 + length:
                return
            self.held = self.held[end + 4 + length :]
            path = head.split(b" ", 2)[1]
            answer = CHAT if path.endswith(b"/chat/completions") else LISTED if path.endswith(b"/models") else NOTHING
            self.transport.write(answer)


async def serve() -> None:
    """Serve on a free port until killed; says which one on stdout once it is ready."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
