"""Credentials as requests carry them: `Authorization: Bearer`, or Basic with the key as the user name."""

import base64
import binascii
from collections.abc import Mapping

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import OtherAccount, Unauthenticated

HOW_TO_PASS_A_KEY = (
    "Pass your secret key as 'Authorization: Bearer sk_...', or as the user name of HTTP Basic with an empty password."
)

# With these the original API acts for another account, or names one of several.
ACCOUNT_HEADERS = ("stripe-account", "stripe-context")


def refuse_other_accounts(headers: Mapping[str, str], tenant: Tenant) -> None:
    """Raises OtherAccount when a header names an account that is not the key's own: the caller expects effects there,
    and would find them here."""
    for name in ACCOUNT_HEADERS:
        given = headers.get(name)
        if given and given != tenant.account_id:
            raise OtherAccount(
                f"The provided key does not have access to account '{given[:100]}' (header {name.title()}): a key acts "
                f"for its own account, {tenant.account_id}, alone. Leave the header out, or use a key of that account."
            )


def secret_of(authorization: str | None) -> str:
    """The secret in an Authorization header; whether it is any good is for `Keys` to say.

    Raises Unauthenticated when there is none, saying how to pass one. The message never repeats the header.
    """
    if authorization is None or not authorization.strip():
        raise Unauthenticated(f"No API key was given. {HOW_TO_PASS_A_KEY}")
    scheme, _, rest = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            secret = rest.strip()
        case "basic":
            secret = _user_name(rest.strip())
        case _:
            raise Unauthenticated(f"The Authorization header names neither Bearer nor Basic. {HOW_TO_PASS_A_KEY}")
    if not secret:
        raise Unauthenticated(f"The API key is empty. {HOW_TO_PASS_A_KEY}")
    return secret


def _user_name(encoded: str) -> str:
    try:
        pair = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Unauthenticated(f"The credentials are not valid base64 of UTF-8 text. {HOW_TO_PASS_A_KEY}") from None
    return pair.partition(":")[0]
