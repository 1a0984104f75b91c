"""Secrets nowhere: one long run with everything that can happen, and then every byte that is left is looked through.

What counts as a secret: secret and restricted keys, session tokens, and the Idempotency-Key that a caller chose. Each
is looked for as it is, and as the base64 of HTTP Basic. A key that the server makes is shown on one line, this once.
"""

import base64
import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.bootstrap.keys import open_keys
from streamgauge.config import Config, load
from streamgauge.domain.account import Tenant
from streamgauge.domain.permission import Access, Resource
from tests.support.program import children_of, files_in
from tests.support.raw_http import Header, Reply, ask, request
from tests.support.server import Client, Server

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
OWNER_ONLY = 0o077


class Run:
    """Calls on one server, with every answer and every secret kept."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.secrets: list[str] = []
        self.answers: list[Reply] = []
        self.requests = 0

    def secret(self, text: str) -> str:
        self.secrets.append(text)
        return text

    def call(self, method: str, path: str, secret: str | None, body: bytes | None = None, *headers: Header) -> Reply:
        """With an Idempotency-Key of its own on each POST, unless one is given."""
        sent = list(headers)
        if secret is not None:
            sent.append((b"Authorization", f"Bearer {secret}".encode()))
        if method == "POST" and not any(name == b"Idempotency-Key" for name, _ in sent):
            self.requests += 1
            key = self.secret(f"idempotency-key-of-request-{self.requests}-7c1f")
            sent.append((b"Idempotency-Key", key.encode()))
        answer = ask(self.server.url, request(method.encode(), path.encode(), sent, body))
        self.answers.append(answer)
        return answer

    def form(self, path: str, secret: str | None, body: str = "", *headers: Header) -> Reply:
        return self.call("POST", path, secret, body.encode(), FORM, *headers)

    def json(self, path: str, secret: str | None, body: Any, *headers: Header) -> Reply:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, secret, encoded, (b"Content-Type", b"application/json"), *headers)

    def session(self, secret: str) -> str:
        return self.secret(
            json.loads(self.json("/v2/billing/meter_event_session", secret, {}).body)["authentication_token"]
        )


def everything_that_works(run: Run, key: str) -> str:
    """All calls, well. The session's token."""
    meter = "display_name=Calls&event_name=calls&default_aggregation[formula]=sum"
    meter_id = json.loads(run.form("/v1/billing/meters", key, meter).body)["id"]
    customer = json.loads(run.form("/v1/customers", key, "name=Ada&email=ada@example.com").body)["id"]
    payload = {"stripe_customer_id": customer, "value": "1"}
    token = run.session(key)
    events = [{"event_name": "calls", "identifier": f"e{number}", "payload": payload} for number in range(100)]
    assert run.json("/v2/billing/meter_event_stream", token, {"events": events}).status == 200
    single = {"event_name": "calls", "payload": payload}
    assert run.json("/v2/billing/meter_events", key, {**single, "identifier": "single"}).status == 200
    fields = f"event_name=calls&payload[stripe_customer_id]={customer}&payload[value]=3&identifier=v1"
    assert run.form("/v1/billing/meter_events", key, fields).status == 200
    cancel = "event_name=calls&type=cancel&cancel[identifier]=v1"
    assert run.form("/v1/billing/meter_event_adjustments", key, cancel).status == 200
    run.call("GET", f"/v1/billing/meters/{meter_id}/event_summaries?customer={customer}&start_time=0&end_time=60", key)
    for path in ("/v1/customers", "/v1/billing/meters", "/streamgauge/status", "/streamgauge/meter_events/e1"):
        assert run.call("GET", path, key).status == 200
    repeated = (b"Idempotency-Key", run.secret("idempotency-key-repeated-51d0").encode())
    for _ in range(2):
        answer = run.json("/v2/billing/meter_event_session", key, {}, repeated)
        run.secret(json.loads(answer.body)["authentication_token"])
    assert answer.headers["idempotent-replayed"] == "true"
    assert run.form("/v1/customers", key, "name=Other", repeated).status == 200
    assert run.form("/v1/customers", key, "name=Another", repeated).status == 400
    return token


def everything_that_fails(run: Run, key: str, restricted: str, token: str) -> None:
    wrong = [
        run.secret(each) for each in ("sk_test_wrong_9f8e7d6c5b4a", "rk_live_wrong_9f8e7d6c5b4a", "mest_test_9f8e7d")
    ]
    paths = (
        "/v1/customers",
        "/v2/billing/meter_events",
        "/v2/billing/meter_event_stream",
        "/nowhere",
        "/streamgauge/x",
    )
    for secret in (*wrong, token, restricted, key, None):
        for path in paths:
            run.form(path, secret, "name[=&&%zz")
            run.json(path, secret, b'{"broken')
            run.call("DELETE", path, secret)
        run.json("/v2/billing/meter_event_stream", secret, {"events": []})
    for odd in (b"Basic " + base64.b64encode(key.encode()) + b"!", b"Digest " + key.encode(), key.encode() * 100):
        run.call("GET", "/v1/customers", None, None, (b"Authorization", odd))
    long_key = run.secret("idempotency-key-too-long-" + "k" * 300)
    run.form("/v1/customers", key, "name=x", (b"Idempotency-Key", long_key.encode()))


def mistakes_of_ours(run: Run, key: str, restricted: str, folder: Path) -> None:
    """What the running server was never meant to meet: tables that are gone, and rows that make no sense."""
    unseen, repeated = run.session(key), run.secret("idempotency-key-of-a-torn-answer-08aa")
    again = (b"Idempotency-Key", repeated.encode())
    run.secret(json.loads(run.json("/v2/billing/meter_event_session", key, {}, again).body)["authentication_token"])
    with closing(sqlite3.connect(folder / "control.db", timeout=20, isolation_level=None)) as control:
        for table in ("customers", "meters", "secret_keys", "meter_event_sessions", "kept_answers"):
            control.execute(f"ALTER TABLE {table} RENAME TO away")
            run.form("/v1/customers", key, "name=Ada")
            run.json("/v2/billing/meter_event_session", key, {})
            run.json("/v2/billing/meter_event_stream", run.secret(f"mest_test_not_cached_{table}"), {"events": []})
            run.call("GET", "/v1/customers", key)
            control.execute(f"ALTER TABLE away RENAME TO {table}")
        control.execute("UPDATE customers SET metadata = '{'")
        control.execute("UPDATE secret_keys SET permissions = '[1]' WHERE permissions IS NOT NULL")
        control.execute("UPDATE meter_event_sessions SET expires_ms = 'soon'")
        control.execute("UPDATE kept_answers SET body = '{'")
        failed = (
            run.call("GET", "/v1/customers", key),
            run.call("GET", "/v1/billing/meters", restricted),
            run.json("/v2/billing/meter_event_stream", unseen, {"events": []}),
            run.json("/v2/billing/meter_event_session", key, {}, again),
        )
        assert [answer.status for answer in failed] == [500] * 4
        control.execute("UPDATE customers SET metadata = '{}'")
        control.execute("""UPDATE secret_keys SET permissions = '{"meters": "read"}' WHERE permissions IS NOT NULL""")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str, str]:
    """The run, the key that the server made, and all of its standard output."""
    folder = tmp_path_factory.mktemp("secrets") / "data"
    server = Server(folder, secret_key="").start()
    try:
        (line,) = [line for line in server.printed.splitlines() if "sk_test_" in line]
        run = Run(server)
        key = run.secret(line.split()[-1])
        with open_keys(DataFolder(folder)) as (keys, account):
            _, restricted = keys.create(Tenant(account.id, livemode=False), {Resource.METERS: Access.READ})
        run.secret(restricted)
        token = everything_that_works(run, key)
        everything_that_fails(run, key, restricted, token)
        mistakes_of_ours(run, key, restricted, folder)
        for path in ("/metrics", "/docs", "/openapi.json", "/healthz", "/readyz"):
            run.answers.append(ask(server.url, request(b"GET", path.encode())))
        printed = server.printed
        server.kill()  # -wal and -shm files stay
        look_through(run, folder)
        server.start()
        printed += server.printed
        everything_that_fails(run, key, restricted, token)
        token = run.session(key)
        with Client(server.url, key) as client:
            client.wait_until_applied()
        server.process.terminate()
        assert server.process.stdout is not None
        printed += server.process.stdout.read()
        assert server.ended() == 0
    except BaseException:
        if server.process.poll() is None:
            server.kill()
        raise
    return run, key, printed


def forms_of(secret: str) -> list[bytes]:
    """The secret as it is, and as HTTP Basic carries it (without the end, which depends on what follows)."""
    encoded = base64.b64encode(secret.encode())
    return [secret.encode(), encoded[: len(encoded) - 4]]


def look_through(run: Run, folder: Path) -> None:
    files = [path for path in files_in(folder) if path.is_file()]
    assert {"control.db", "log.db", "progress.db"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for secret in run.secrets:
            assert not any(form in content for form in forms_of(secret)), f"{secret[:12]} is in {path}"


def test_no_secret_is_in_any_file_of_the_data_folder(done: tuple[Run, str, str]) -> None:
    run, _, _ = done
    look_through(run, run.server.data_dir)


def test_no_secret_is_in_the_log_which_has_tracebacks(done: tuple[Run, str, str]) -> None:
    run, _, _ = done
    log = run.server.said()
    assert "Traceback" in log and "failed request_id=" in log
    assert not [secret for secret in run.secrets for form in forms_of(secret) if form.decode() in log]


def test_a_made_key_is_shown_on_one_line_once_and_no_other_secret_ever(done: tuple[Run, str, str]) -> None:
    run, key, printed = done
    assert [line for line in printed.splitlines() if key in line] == [
        f"Secret key of this folder, shown this once: {key}"
    ]
    assert not [secret for secret in run.secrets if secret != key and secret in printed]


def test_no_answer_holds_a_secret_but_the_one_that_opens_a_session(done: tuple[Run, str, str]) -> None:
    run, _, _ = done
    assert {200, 400, 401, 403, 404, 405, 415, 500} <= {answer.status for answer in run.answers}
    for answer in run.answers:
        told = answer.told
        # Clients read their own Idempotency-Key back in its header; a session's token is what they asked for.
        told = told.replace(answer.headers.get("idempotency-key", "\0"), "")
        if answer.status == 200 and answer.headers["content-type"] == "application/json":
            told = told.replace(json.loads(answer.body).get("authentication_token", "\0"), "")
        assert not [secret for secret in run.secrets if secret in told], told[:500]


def test_no_secret_of_the_settings_is_in_their_text_or_in_the_edge_s_environment(tmp_path: Path) -> None:
    secret = "sk_test_only_in_the_environment_1234"
    config = load({"STREAMGAUGE_SECRET_KEY": secret})
    assert isinstance(config, Config) and secret not in f"{config} {config!r}"
    with Server(tmp_path / "data", secret_key=secret) as server:
        (edge,) = children_of(server.process.pid)
        for name in ("environ", "cmdline"):
            assert secret.encode() not in Path(f"/proc/{edge}/{name}").read_bytes()
        assert secret.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


# Files of the owner alone


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    found = []
    for name, folders, files in os.walk(folder):  # passes over what is gone meanwhile
        for path in (name, *(os.path.join(name, each) for each in (*folders, *files))):
            with suppress(FileNotFoundError):
                mode = os.lstat(path).st_mode
                if mode & OWNER_ONLY and not stat.S_ISLNK(mode):
                    found.append(f"{path} {stat.filemode(mode)}")
    return found


@pytest.mark.parametrize("mask", [0o022, 0o000], ids=oct)
def test_files_are_their_owner_s_alone_at_every_moment_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    """Watched while events come in, are applied and merged; and no process may make a file that others can read."""
    folder = tmp_path / "data"
    open_ones: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):  # all the time, and yet the server gets to run
            open_ones.extend(open_to_others(folder))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with umask(mask):
            server = Server(folder).start()
        with server_stopped(server), Client(server.url) as client:
            client.meter("watched")
            customer, token = client.customer(name="Ada"), client.session()
            payload = {"stripe_customer_id": customer, "value": "1"}
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                client.stream(token, [{"event_name": "watched", "payload": payload}] * 100)
            client.wait_until_applied()
            for pid in (server.process.pid, *children_of(server.process.pid)):
                status = Path(f"/proc/{pid}/status").read_text()
                assert "Umask:\t0077" in status, pid
    finally:
        ended.set()
        watching.join()
    assert not open_ones
    assert not open_to_others(folder)


@contextmanager
def server_stopped(server: Server) -> Iterator[None]:
    try:
        yield
    finally:
        assert server.stop() == 0
