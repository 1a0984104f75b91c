"""HTTPS from the server itself: the official client through it end to end, and what is refused."""

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import stripe

from streamgauge.demo.pinned import session_trusting
from streamgauge.domain.errors import StartRefused
from tests.support.program import run
from tests.support.server import SECRET_KEY
from tests.support.tls import Certificate, certificate_in, https_server, needs_openssl

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("https") / "data"


@pytest.fixture(scope="module")
def url(folder: Path, served: Certificate) -> Iterator[str]:
    with https_server(folder, served) as url:
        yield url


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def client_for(credential: str, url: str, http_client: stripe.HTTPClient) -> stripe.StripeClient:
    return stripe.StripeClient(
        credential, base_addresses={"api": url, "meter_events": url}, http_client=http_client, max_network_retries=0
    )


def test_the_official_client_meters_through_https(
    url: str, served: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe, "ca_bundle_path", str(served.authority))
    with closing(stripe.RequestsClient(verify_ssl_certs=True)) as http_client:
        client = client_for(SECRET_KEY, url, http_client)
        meter = client.v1.billing.meters.create(
            {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
        )
        customer = client.v1.customers.create({"name": "Ada"}).id
        token = client.v2.billing.meter_event_session.create().authentication_token
        sent: Any = {"event_name": "calls", "payload": {"stripe_customer_id": customer, "value": "2.5"}}
        client_for(token, url, http_client).v2.billing.meter_event_stream.create({"events": [sent, sent]})
        start = int(time.time()) // 86_400 * 86_400
        around: Any = {"customer": customer, "start_time": start - 86_400, "end_time": start + 2 * 86_400}
        deadline = time.monotonic() + 30
        while not (rows := client.v1.billing.meters.event_summaries.list(meter.id, around).data):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert str(rows[0].aggregated_value) == "5"


def test_a_client_that_does_not_know_the_authority_sends_nothing(url: str) -> None:
    with (
        closing(stripe.RequestsClient(verify_ssl_certs=True)) as http_client,
        pytest.raises(stripe.APIConnectionError),
    ):
        client_for(SECRET_KEY, url, http_client).v1.customers.create()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(url: str, served: Certificate, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=served.authority)
    context.minimum_version = context.maximum_version = version
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_an_older_tls_is_refused_by_the_server(url: str, version: str) -> None:
    host, port = address_of(url)
    # The lowest level of security at the client, so that it is the server that says no.
    command = ["openssl", "s_client", version, "-cipher", "DEFAULT@SECLEVEL=0", "-connect", f"{host}:{port}"]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert said.returncode != 0
    assert (
        "alert protocol version" in said.stderr or "unexpected eof" in said.stderr
    )  # hung up on, with or without a word


@pytest.mark.parametrize("sent", [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 600, b"\r\n\r\n\r\n\r\n"])
def test_what_is_not_tls_is_hung_up_on_at_once(url: str, folder: Path, served: Certificate, sent: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(address_of(url), timeout=10) as plain:
        plain.sendall(sent)
        answered = b""
        try:
            while part := plain.recv(4096):
                answered += part
        except ConnectionResetError:
            pass
    assert b"HTTP" not in answered
    assert time.monotonic() - began < 5
    assert "Traceback" not in folder.with_suffix(".stderr").read_text()
    with httpx.Client(verify=ssl.create_default_context(cafile=served.authority), trust_env=False) as client:
        assert client.get(f"{url}/healthz").status_code == 200


def test_clients_that_leave_before_their_answer_leave_nothing_in_the_log(
    url: str, folder: Path, served: Certificate
) -> None:
    context = ssl.create_default_context(cafile=served.authority)
    before = folder.with_suffix(".stderr").read_text()
    for _ in range(20):
        with context.wrap_socket(socket.create_connection(address_of(url)), server_hostname="127.0.0.1") as opened:
            opened.sendall(b"GET /v1/customers HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
            opened.settimeout(10)
            with suppress(OSError):
                opened.unwrap()
        socket.create_connection(address_of(url)).close()
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"{url}/healthz").status_code == 200
    assert folder.with_suffix(".stderr").read_text() == before


def test_status_knows_the_server_of_its_settings_by_its_certificate(
    url: str, served: Certificate, tmp_path: Path
) -> None:
    """Of that file alone: its authority is nobody's that the machine trusts."""
    settings: dict[str, Any] = {"secret_key": SECRET_KEY, "port": urlsplit(url).port}
    told = run("status", **settings, tls_cert=served.certificate, tls_key=served.key)
    assert (told.code, told.err) == (0, "")
    assert "backlog_events" in told.out
    other = certificate_in(tmp_path)
    refused = run("status", **settings, tls_cert=other.certificate, tls_key=other.key)
    assert (refused.code, "certificate" in refused.err.lower()) == (2, True)
    unknown = run("status", "--url", url, **settings)
    assert (unknown.code, "certificate" in unknown.err.lower()) == (2, True)


def test_the_demo_goes_through_https(served: Certificate, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"tls_cert": served.certificate, "tls_key": served.key}
    done = run("demo", "--once", "--data-dir", str(tmp_path / "data"), "--port", "0", seconds=180, **settings)
    assert done.code == 0, done.out + done.err
    assert "All totals are equal" in done.out


def test_only_the_holder_of_the_certificate_is_trusted(url: str, served: Certificate, tmp_path: Path) -> None:
    with closing(session_trusting(served.certificate)) as session:
        assert session.get(f"{url}/healthz", timeout=10).status_code == 200
    with (
        closing(session_trusting(certificate_in(tmp_path).certificate)) as session,
        pytest.raises(requests.exceptions.SSLError),
    ):
        session.get(f"{url}/healthz", timeout=10)
    with pytest.raises(StartRefused, match="cannot be read as a certificate"):
        session_trusting(served.key)


def test_what_cannot_be_served_is_refused_at_the_start_in_one_line(tmp_path: Path, served: Certificate) -> None:
    stranger = certificate_in(tmp_path / "stranger")
    options = ("--data-dir", str(tmp_path / "data"), "--tls-cert", str(served.certificate))
    ended = run("serve", *options, tls_key=stranger.key, port=0)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.errors
    assert line.startswith(f"streamgauge: {stranger.key}: is not the key of the certificate in")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "TLS_KEY"), ("tls_key", "TLS_CERT")])
def test_one_of_the_two_settings_alone_is_refused(tmp_path: Path, given: str, missing: str) -> None:
    settings: dict[str, Any] = {given: tmp_path / "x.pem"}
    ended = run("serve", "--data-dir", str(tmp_path / "data"), **settings)
    assert ended.code == 2
    assert f"STREAMGAUGE_{missing}: is needed too, as {given} is given" in ended.err
    assert not (tmp_path / "data").exists()
