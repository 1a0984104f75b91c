"""The socket of the folder's owner: one question, lines of progress, one answer."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamgauge.api.upkeep import UpkeepServer, server_at
from streamgauge.domain.errors import StartRefused, Unavailable
from streamgauge.engine.ports.rebuild import OnProgress


def count_to_three(on_progress: OnProgress) -> int:
    for done in (1, 2, 3):
        on_progress(done, 3)
    return 3


def refuse(_: OnProgress) -> None:
    raise Unavailable("not now")


LEFT: list[object] = []


def serving(path: Path, caller: Callable[[], Any]) -> Any:
    """What `caller` returns, in a thread beside a server."""

    async def run() -> Any:
        LEFT.clear()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        listening.listen()
        server = UpkeepServer({"count": count_to_three, "refuse": refuse}, on_left={"count": LEFT.append})
        await server.start(listening)
        try:
            return await asyncio.to_thread(caller)
        finally:
            await server.stop()

    return asyncio.run(run())


def asked(path: Path, what: str, told: list[tuple[int, int]] | None = None) -> Any:
    with server_at(str(path)) as server:
        assert server is not None
        answer = server.ask(what, None if told is None else lambda done, total: told.append((done, total)))
        assert not LEFT
        return answer


def test_progress_and_an_answer_come_back_and_the_server_hears_of_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    assert serving(tmp_path / "s", lambda: asked(tmp_path / "s", "count", told)) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert LEFT == [3]


@pytest.mark.parametrize(("what", "why"), [("refuse", "not now"), ("dance", "does not know how to dance")])
def test_a_refusal_is_told_with_its_reason(what: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=why):
        serving(tmp_path / "s", lambda: asked(tmp_path / "s", what))


def test_where_nobody_listens_there_is_no_server(tmp_path: Path) -> None:
    with server_at(str(tmp_path / "nobody")) as server:
        assert server is None
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left"))
    left.close()
    with server_at(str(tmp_path / "left")) as server:
        assert server is None


def test_a_server_that_dies_before_it_has_answered_is_told(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()

    def die() -> None:
        connection, _ = listening.accept()
        connection.recv(100)
        connection.close()

    dying = threading.Thread(target=die)
    dying.start()
    with pytest.raises(StartRefused, match="ended before it could count"):
        asked(tmp_path / "s", "count")
    dying.join()
    listening.close()


@pytest.mark.parametrize("question", [b"\n", b"[]\n", b'{"do": 1}\n', b"x" * 5_000, b""])
def test_what_is_no_question_is_hung_up_on(question: bytes, tmp_path: Path) -> None:
    def caller() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "s"))
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    said = serving(tmp_path / "s", caller)
    assert said == b"" or "error" in json.loads(said)
