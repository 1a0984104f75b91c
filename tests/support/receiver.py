"""A webhook receiver on loopback: it answers as it is told, and keeps what it got."""

import json
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Posted:
    """One request, as it came."""

    body: bytes
    signature: str

    @property
    def event(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """As a context it listens on a free port. `answers` are statuses, in order; the last one stays. 0 never answers."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers) or [200]
        self.posted: list[Posted] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver._received(Posted(body, self.headers["Stripe-Signature"]))
                if status == 0:
                    receiver._ended.wait()
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> "Receiver":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, count: int, of: Callable[[Posted], bool] = lambda posted: True) -> list[Posted]:
        """Everything it got of that kind, as soon as that is so many."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found := [each for each in self.posted if of(each)]) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} came: {self.posted}"
            time.sleep(0.01)
        return found

    def wait_for_all(self, event_ids: Collection[str]) -> None:
        """Until each of these events came."""
        deadline = time.monotonic() + WAIT_SECONDS
        while missing := set(event_ids) - {each.event["id"] for each in self.posted}:
            assert time.monotonic() < deadline, f"{missing} did not come"
            time.sleep(0.01)

    def _received(self, posted: Posted) -> int:
        with self._lock:
            self.posted.append(posted)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
