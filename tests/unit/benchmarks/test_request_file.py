"""What the load generator reads is what was rendered, request by request."""

import os

from benchmarks import request_file

BODIES = [b"{}", b'{"events":[]}', b"x" * 3_000_000]


def test_requests_come_back_in_order_with_their_own_lengths() -> None:
    descriptor = request_file.write(BODIES, len(BODIES), "127.0.0.1", 8420, "token")
    try:
        requests = [bytes(request) for request in request_file.read(descriptor)]
    finally:
        os.close(descriptor)
    heads, bodies = zip(*(request.split(b"\r\n\r\n", 1) for request in requests), strict=True)
    assert list(bodies) == BODIES
    for head, body in zip(heads, bodies, strict=True):
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /v2/billing/meter_event_stream HTTP/1.1"
        assert b"Authorization: Bearer token" in lines
        assert b"Content-Length: %d" % len(body) in lines


def test_each_request_has_an_idempotency_key_of_its_own() -> None:
    descriptor = request_file.write(BODIES, len(BODIES), "127.0.0.1", 8420, "token")
    try:
        heads = [bytes(request).split(b"\r\n\r\n", 1)[0].split(b"\r\n") for request in request_file.read(descriptor)]
    finally:
        os.close(descriptor)
    assert len({line for head in heads for line in head if line.startswith(b"Idempotency-Key: ")}) == len(BODIES)
