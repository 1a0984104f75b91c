"""Every official client plays one scenario against one server, told of it by a base address and nothing else.

README.md beside this file has the scenario, and what a client's folder has to hold.
"""

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.matrix import CLIENTS, STEPS, OfficialClient, Row, played
from tests.clients.programs import BUILDS, NOT_ON_THIS_MACHINE, PREPARE_SECONDS_MAX, ended, prepared
from tests.support.server import SECRET_KEY, Client, Server

RUN_SECONDS_MAX = 240  # six waits of at most 20 s, and a slow machine


@dataclass(frozen=True)
class Ground:
    """Where the clients play: a server that has a session which is past its time."""

    url: str
    expired_token: str

    def settings(self, folder: str) -> dict[str, str]:
        return {
            "STREAMGAUGE_URL": self.url,
            "STREAMGAUGE_KEY": SECRET_KEY,
            "STREAMGAUGE_EXPIRED_TOKEN": self.expired_token,
            "STREAMGAUGE_RUN": f"{folder}_{secrets.token_hex(4)}",
        }


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("clients") / "data"
    with Server(folder, session_lifetime_seconds=1) as brief, Client(brief.url) as client:
        token = client.session()
        wait_until_expired(client, token)
    with Server(folder) as server:
        yield Ground(server.url, token)


def wait_until_expired(client: Client, token: str) -> None:
    """An empty batch is refused in either case, so that asking leaves nothing behind."""
    deadline = time.monotonic() + 10
    headers = {"Authorization": f"Bearer {token}"}
    while client.http.post("/v2/billing/meter_event_stream", json={"events": []}, headers=headers).status_code != 401:
        assert time.monotonic() < deadline, "a session of one second is still good after ten"
        time.sleep(0.02)


def test_every_folder_is_in_the_matrix_and_has_what_it_takes() -> None:
    here = Path(__file__).parent
    assert {path.parent.name for path in here.glob("*/run")} == {client.folder for client in CLIENTS}
    for client in CLIENTS:
        for program in ("prepare", "run"):
            assert os.access(here / client.folder / program, os.X_OK), f"{client.folder}/{program} cannot be executed"
        assert set(client.not_offered) <= set(STEPS)


@pytest.mark.timeout(PREPARE_SECONDS_MAX + RUN_SECONDS_MAX + 60)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.folder)
def test_an_official_client_plays_the_scenario(client: OfficialClient, ground: Ground, matrix: list[Row]) -> None:
    found = prepared(client.folder)
    if found.code == NOT_ON_THIS_MACHINE:
        (absent,) = found.out.splitlines()
        matrix.append(Row(folder=client.folder, note=absent))
        if os.environ.get("CI") == "true" and client.has_all_it_needs():
            pytest.fail(f"{client.folder} says {absent!r}, but this machine has what the matrix says it needs")
        pytest.skip(f"{client.folder}: {absent}")
    if found.code:
        matrix.append(Row(folder=client.folder, note="prepare failed"))
        pytest.fail(f"{client.folder}/prepare ended with {found.code}:\n{found.out}\n{found.err}")

    run = Path(__file__).parent / client.folder / "run"
    done = ended(run, BUILDS / client.folder, RUN_SECONDS_MAX, ground.settings(client.folder))
    said = f"{client.folder}/run ended with {done.code}:\n{done.out}\n{done.err}"
    try:
        result = played(done.out)
    except ValueError as error:
        matrix.append(Row(folder=client.folder, note=str(error)))
        pytest.fail(f"{error}\n{said}")
    matrix.append(Row(folder=client.folder, played=result))

    assert result.with_outcome("failed") == {}, said
    assert tuple(result.outcomes) == STEPS, said
    # Word for word: a reason that is no longer the one given here is to be read again.
    assert result.with_outcome("not offered") == client.not_offered, said
    assert done.code == 0, said
