"""The command line: keys, status, help, and errors that are one line."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from streamgauge.cli import cli
from streamgauge.domain.permission import Access, Resource
from tests.support.program import Ended, run
from tests.support.server import SECRET_KEY, Client, Server


def keys(server: Server | Path, *arguments: str) -> Ended:
    folder = server if isinstance(server, Path) else server.data_dir
    return run("keys", *arguments, "--data-dir", str(folder))


def create(server: Server | Path, *arguments: str) -> tuple[str, str]:
    """The id and the secret of a new key."""
    made = keys(server, "create", *arguments)
    assert (made.code, made.err) == (0, "")
    key_id, secret = made.out.split()
    return key_id, secret


def assert_one_line(ended: Ended, says: str) -> None:
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.errors) == 1, ended.err
    assert re.search(says, ended.err), ended.err


@pytest.mark.parametrize(("arguments", "prefix", "livemode"), [([], "sk_test_", False), (["--live"], "sk_live_", True)])
def test_a_key_that_is_created_works_at_once_in_its_mode(
    server: Server, arguments: list[str], prefix: str, livemode: bool
) -> None:
    _, secret = create(server, *arguments)
    assert secret.startswith(prefix)
    with Client(server.url, secret) as client:
        assert client.get("/streamgauge/status")["livemode"] == livemode


def test_keys_are_listed_without_their_secrets(server: Server) -> None:
    test_id, test_secret = create(server)
    live_id, live_secret = create(server, "--live")
    listed = keys(server, "list").out
    for key_id, secret, mode in ((test_id, test_secret, "test"), (live_id, live_secret, "live")):
        (line,) = [line for line in listed.splitlines() if key_id in line]
        assert mode in line and secret[-4:] in line
        assert secret not in listed
    assert SECRET_KEY not in listed


def test_a_restricted_key_may_do_what_it_was_allowed_and_nothing_else(server: Server) -> None:
    _, secret = create(server, "--allow", "customers=write", "--allow", "meters=read")
    assert secret.startswith("rk_test_")
    with Client(server.url, secret) as client:
        customer = client.customer(name="Ada")
        client.get(f"/v1/customers/{customer}")
        client.get("/v1/billing/meters")
        assert "meter_events=read" in client.get("/streamgauge/status", 403)["error"]["message"]


def test_a_restricted_key_can_be_for_live_mode(server: Server) -> None:
    _, secret = create(server, "--live", "--allow", "meter_events=read")
    assert secret.startswith("rk_live_")
    with Client(server.url, secret) as client:
        assert client.get("/streamgauge/status")["livemode"] is True
    shown = run("status", "--url", server.url, "--key", secret)
    assert (shown.code, shown.err) == (0, "")


def test_the_list_of_keys_says_what_each_may_do(server: Server) -> None:
    everything, _ = create(server)
    restricted, secret = create(server, "--allow", "meters=read", "--allow", "meter_event_sessions=write")
    listed = keys(server, "list").out
    for key_id, may in ((everything, "everything"), (restricted, "meters=read meter_event_sessions=write")):
        (line,) = [line for line in listed.splitlines() if key_id in line]
        assert f"│ {may} " in line
    assert secret not in listed


WRONG_PERMISSIONS = [
    (["meter=read"], "--allow meter=read: the resource is one of meters, meter_events, .*customers"),
    (["=read"], "the resource is one of meters"),
    (["Meters=read"], "the resource is one of meters"),
    (["meters=delete"], "--allow meters=delete: the access is one of read, write"),
    (["meters"], "the access is one of read, write"),
    (["meters="], "the access is one of read, write"),
    (["meters=read=write"], "the access is one of read, write"),
    (["meters=read", "meters=write"], "meters is given twice"),
    (["meters=read", "customers=all"], "--allow customers=all: the access is one of read, write"),
]


@pytest.mark.parametrize(("allowed", "says"), WRONG_PERMISSIONS, ids=lambda each: str(each)[:40])
def test_a_permission_that_there_is_not_is_refused_with_those_there_are(
    tmp_path: Path, allowed: list[str], says: str
) -> None:
    folder = tmp_path / "data"
    assert_one_line(keys(folder, "create", *(word for each in allowed for word in ("--allow", each))), says)
    assert not folder.exists()  # nothing was begun


def test_the_help_of_creating_a_key_names_every_resource_and_access() -> None:
    shown = run("keys", "create", "--help").out
    assert "--allow RESOURCE=ACCESS" in shown
    for each in (*Resource, *Access):
        assert each in shown


def test_a_revoked_key_is_dead_at_once_and_its_sessions_within_five_seconds(server: Server) -> None:
    key_id, secret = create(server)
    with Client(server.url, secret) as client:
        token = client.session()
        client.stream(token, [{"event_name": "x", "payload": {}}])  # so that the session is known to the edge
        revoked = keys(server, "revoke", key_id)
        assert (revoked.code, revoked.err) == (0, "") and f"{key_id} is revoked since" in revoked.out
        began = time.monotonic()
        client.get("/streamgauge/status", 401)
        while _stream_status(client, token) != 401:
            assert time.monotonic() - began < 5
    (line,) = [line for line in keys(server, "list").out.splitlines() if key_id in line]
    assert line.count("UTC") == 2  # created and revoked
    assert keys(server, "revoke", key_id).code == 0  # again changes nothing


def _stream_status(client: Client, token: str) -> int:
    event = b'{"events": [{"event_name": "x", "identifier": "same", "payload": {}}]}'
    headers = {"Authorization": f"Bearer {token}"}
    return client.http.post("/v2/billing/meter_event_stream", content=event, headers=headers).status_code


def test_keys_can_be_made_before_the_server_ever_ran(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key_id, secret = create(folder)
    assert key_id in keys(folder, "list").out
    with Server(folder, secret_key="") as server, Client(server.url, secret) as client:
        assert "sk_" not in server.printed  # there is a key, so none is made
        client.session()


def test_status_shows_how_far_the_server_has_come(server: Server) -> None:
    with Client(server.url) as client:
        client.stream(client.session(), [{"event_name": "x", "payload": {}}] * 3)
        told = client.wait_until_applied()
    by_option = run("status", "--url", server.url, "--key", SECRET_KEY)
    by_environment = run("status", secret_key=SECRET_KEY, port=server.url.rpartition(":")[2])
    for shown in (by_option, by_environment):
        assert (shown.code, shown.err) == (0, "")
        rows = dict(re.findall(r"(\w+) +│ +(\S+)", shown.out))
        assert rows["accepted_events"] == rows["applied_events"] == str(told["accepted_events"])
        assert (rows["backlog_events"], rows["livemode"]) == ("0", "False")


def test_errors_are_one_line_that_says_what_to_do(server: Server, tmp_path: Path) -> None:
    assert_one_line(keys(server, "revoke", "key_none"), "No such secret key: 'key_none'.*keys list")
    assert_one_line(run("status"), "--key or in STREAMGAUGE_SECRET_KEY")
    assert_one_line(run("status", "--url", server.url, "--key", "sk_test_wrong_key"), "answered 401: Invalid API Key")
    assert_one_line(
        run("status", "--url", "http://127.0.0.1:1", "--key", SECRET_KEY), "no answer from http://127.0.0.1:1.*running"
    )
    (tmp_path / "file").touch()
    assert_one_line(keys(tmp_path / "file", "list"), "cannot be used as a data folder")
    (tmp_path / "stranger").touch()
    assert_one_line(keys(tmp_path, "list"), "not a Streamgauge data folder")


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"streamgauge, version \d+\.\d+\.\d+\n", run("--version").out)


COMMANDS = [
    (),
    ("serve",),
    ("keys",),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("status",),
    ("demo",),
    ("verify",),
    ("rebuild",),
    ("backup",),
    ("restore",),
    ("redrive",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_and_option_says_what_it_is_for(command: tuple[str, ...]) -> None:
    found: click.Command = cli
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    assert found.help and len(found.help) > 20
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    with click.Context(found, info_name="streamgauge") as context:
        shown = found.get_help(context)
    assert "Usage:" in shown and found.help.split("\n")[0][:40] in shown


def test_there_are_no_other_commands_than_these() -> None:
    def names(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                if not each.hidden:
                    yield from names(each, (*path, name))

    assert set(names(cli, ())) == set(COMMANDS)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed_and_shows_every_setting_with_its_variable(flag: str) -> None:
    shown = run("serve", flag)
    assert (shown.code, shown.err) == (0, "")
    for setting in ("data-dir", "port", "session-lifetime-seconds", "unknown-customers", "dedup-window-hours"):
        assert f"--{setting}" in shown.out
        assert f"STREAMGAUGE_{setting.upper().replace('-', '_')}" in "".join(shown.out.split())
