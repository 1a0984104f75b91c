"""What the HTTP server of our edge could do if nothing were behind it: `python -m benchmarks.ceiling_server PORT KIND`.

answer   reads the same bytes and answers `{}`
decode   the same, and decodes the body strictly into the structs of our stream

Both run on the server of the edge, with its connection class, its loop and its settings.
"""

import gc
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import uvicorn

from streamgauge.api.connection import BoundedConnection
from streamgauge.api.v2.stream_body import StreamRequest

READY_PATH = "/readyz"
GC_ALLOCATIONS = 200_000
Message = MutableMapping[str, Any]

_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
_BODY: Message = {"type": "http.response.body", "body": b"{}"}


def app_of(decode: Callable[[bytes], object] | None) -> Callable[..., Awaitable[None]]:
    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if decode is not None and body:
            decode(body)
        await send(_START)
        await send(_BODY)

    return app


def main() -> None:
    port, kind = int(sys.argv[1]), sys.argv[2]
    decode = {"answer": None, "decode": msgspec.json.Decoder(StreamRequest).decode}[kind]
    gc.set_threshold(GC_ALLOCATIONS)
    os.environ.pop("UVICORN_LOG_LEVEL", None)
    uvicorn.run(
        app_of(decode),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http=BoundedConnection,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=2_048,
    )


if __name__ == "__main__":
    main()
