"""A request that arrived whole and by itself, written as programs write one: read without a parser's many calls.

Nothing is refused here. What is unusual in any way is left to the parser, and what is read here must be just what the
parser reads (tests/unit/api/test_plain_request.py).
"""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from streamgauge import native

# Names in lower case, and values.
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_HEAD_BYTES_MAX: Final = 8_192
_HEADERS_MAX: Final = 64
_LENGTH_DIGITS_MAX: Final = 9
_END: Final = b"\r\n\r\n"
# Names are tokens; values are printable ASCII without blanks around them; between them stands one blank.
_LINES: Final = re.compile(rb"(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [!-~](?:[ -~]*[!-~])?)+")
# They change where a request ends, or what follows it.
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"})
_KEEP_ALIVE: Final = b"keep-alive"


def read_plain(data: bytes, line: bytes) -> tuple[Headers, bytes] | None:
    """Headers and body of the one request with this line (without its end) that is all of the data; None: ask the
    parser."""
    return _read_here(data, line) if native.compiled is None else native.compiled.plain_request(data, line)


def _read_here(data: bytes, line: bytes) -> tuple[Headers, bytes] | None:
    end = data.find(_END, 0, _HEAD_BYTES_MAX)
    lines = data[len(line) : end]
    if end < 0 or not data.startswith(line) or _LINES.fullmatch(lines) is None:
        return None
    pairs = [each.partition(b": ") for each in lines.split(b"\r\n")[1:]]
    headers = [(name.lower(), value) for name, _, value in pairs]
    lengths = [value for name, value in headers if name == b"content-length"]
    connections = {value.lower() for name, value in headers if name == b"connection"}
    if len(headers) > _HEADERS_MAX or len(lengths) != 1 or connections - {_KEEP_ALIVE}:
        return None
    if any(name in _NOT_PLAIN for name, _ in headers):
        return None
    if not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS_MAX:
        return None
    body = data[end + len(_END) :]
    return (headers, body) if len(body) == int(lengths[0]) else None
