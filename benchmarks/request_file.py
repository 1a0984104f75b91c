"""Rendered HTTP requests in anonymous memory, handed to the load generator as a file descriptor.

Memory and not a file on disk: writing hundreds of megabytes back to the disk would slow the server's fsyncs.

Layout: count (int64), count + 1 offsets into the file (int64, native), then the requests one after the other.
"""

import mmap
import os
import uuid
from array import array
from collections.abc import Iterable
from itertools import pairwise

USER_AGENT = "Stripe/v2 PythonBindings/16.1.0"
API_VERSION = "2026-10-28.endive"
WRITE_BUFFER_BYTES = 2**20
INT64_BYTES = 8


def write(
    bodies: Iterable[bytes],
    count: int,
    host: str,
    port: int,
    credential: str,
    *,
    path: str = "/v2/billing/meter_event_stream",
    content_type: str = "application/json",
) -> int:
    """Render `count` requests, to the stream or elsewhere, around as many `bodies`; return the descriptor, which the
    caller closes.

    The headers are the ones official clients send that a server may act upon; see README.md.
    """
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {credential}\r\n"
        f"User-Agent: {USER_AGENT}\r\nStripe-Version: {API_VERSION}\r\nAccept: */*\r\n"
        f"Content-Type: {content_type}\r\nIdempotency-Key: "
    ).encode()
    descriptor = os.memfd_create("streamgauge-bench")
    place = INT64_BYTES * (count + 2)
    offsets = array("q", [place])
    with open(descriptor, "wb", WRITE_BUFFER_BYTES, closefd=False) as file:
        file.seek(place)
        for body in bodies:
            request = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (head, str(uuid.uuid4()).encode(), len(body), body)
            place += file.write(request)
            offsets.append(place)
        assert len(offsets) == count + 1
        file.seek(0)
        file.write(array("q", [count]).tobytes())
        file.write(offsets.tobytes())
    return descriptor


def read(descriptor: int) -> list[memoryview]:
    """Every request as a view into shared memory, in order, without a copy."""
    whole = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    count: int = whole[:INT64_BYTES].cast("q")[0]
    offsets = whole[INT64_BYTES : INT64_BYTES * (count + 2)].cast("q").tolist()
    return [whole[start:end] for start, end in pairwise(offsets)]
