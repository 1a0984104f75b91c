"""The signature of a delivery: how a receiver knows that it comes from this server and was not changed on its way."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

SIGNATURE_HEADER: Final = "Stripe-Signature"
# The scheme that official clients look for; they pass over schemes that they do not know.
_SCHEME: Final = "v1"


def signature_header(body: bytes, secrets: Sequence[str], at_s: int) -> str:
    """The value of `SIGNATURE_HEADER` for a body that is sent at `at_s` (Unix seconds).

    Shape:  `t=1700000000,v1=<64 hex digits>`, with one `v1` for each secret, in their order. A receiver accepts the
            body when one of them is right, so while a secret is replaced both the new one and the old one sign.
    Raises: ValueError without a secret: what nobody signed must not be sent.
    """
    if not secrets:
        raise ValueError("a delivery needs a secret to sign it")
    return ",".join((f"t={at_s}", *(f"{_SCHEME}={_signature(body, secret, at_s)}" for secret in secrets)))


def _signature(body: bytes, secret: str, at_s: int) -> str:
    """HMAC-SHA256 over time and body, as hex. The time is signed too, so that an old delivery cannot be replayed."""
    return hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
