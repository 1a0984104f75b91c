"""The official client's connections to a server whose certificate is at hand, and may be of any name and authority."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgauge.adapters.system.tls import trusting

if TYPE_CHECKING:
    import requests


def session_trusting(certificate: Path) -> "requests.Session":
    """One that trusts who holds this certificate's key, and nobody else."""
    import requests
    from requests.adapters import HTTPAdapter

    class Pinned(HTTPAdapter):
        def init_poolmanager(self, *given: Any, **named: Any) -> None:
            context: ssl.SSLContext = trusting(certificate)
            super().init_poolmanager(*given, **named, ssl_context=context, assert_hostname=False)

        def send(self, *given: Any, **named: Any) -> requests.Response:
            # Without this the client's own list of authorities would be trusted, too.
            return super().send(*given, **{**named, "verify": str(certificate)})

    session = requests.Session()
    session.mount("https://", Pinned())
    return session
