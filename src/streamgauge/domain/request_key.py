"""Request keys: what an `Idempotency-Key` becomes inside. One request has one effect, however often it is sent."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
# From the first use on; after that the same key is a new one.
KEPT_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class RequestKey:
    """`digest` names the key within its account and mode, `fingerprint` what was asked with it. SHA-256, as hex.

    The key itself is not kept: callers put customers' names and worse into theirs.
    """

    digest: str
    fingerprint: str


def request_key(key: str, method: str, path: str, params: Mapping[str, Any]) -> RequestKey:
    """The order of parameters makes no difference to what was asked; their text does."""
    asked = json.dumps([method, path, params], sort_keys=True, separators=(",", ":"))
    return RequestKey(_digest(key), _digest(asked))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
