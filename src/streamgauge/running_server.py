"""What commands ask of a server that is running, over HTTP like any other client."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from streamgauge.config import load
from streamgauge.domain.errors import StartRefused

# A trial of a redrive looks at a million events before it answers.
_ANSWER_SECONDS: Final = 600
# A server that has too much to do is asked again.
_DELAYS_SECONDS: Final = (1, 2, 4, 8, 16)
_ASK_AGAIN: Final = (429, 503)


@dataclass(frozen=True, slots=True)
class RunningServer:
    client: httpx.Client

    def get(self, path: str) -> dict[str, Any]:
        return self._told("GET", path, None)

    def post(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        return self._told("POST", path, form)

    def _told(self, method: str, path: str, form: Mapping[str, str] | None) -> dict[str, Any]:
        """What it answers. Raises StartRefused when it does not, or refuses."""
        try:
            answer = self.client.request(method, path, data=form)
            for seconds in _DELAYS_SECONDS:
                if answer.status_code not in _ASK_AGAIN:
                    break
                time.sleep(seconds)
                answer = self.client.request(method, path, data=form)
            told: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise StartRefused(f"no answer from {self.client.base_url}: {error}; is the server running?") from error
        if answer.status_code != 200:
            raise StartRefused(f"{self.client.base_url} answered {answer.status_code}: {told['error']['message']}")
        return told


@contextmanager
def running_server(url: str | None, key: str | None) -> Iterator[RunningServer]:
    """The one at `url`, or that of the settings. Raises StartRefused without a key."""
    config = load(os.environ, {})
    secret = key or (None if config.secret_key is None else config.secret_key.reveal())
    if secret is None:
        raise StartRefused("give the secret key with --key or in STREAMGAUGE_SECRET_KEY")
    scheme = "http" if config.tls_cert is None else "https"
    base_url = (url or f"{scheme}://{config.host}:{config.port}").rstrip("/")
    verify: Any = True
    # A server that is named is asked like any other; that of these settings is known by its certificate.
    if url is None and config.tls_cert is not None:
        from streamgauge.adapters.system.tls import trusting

        verify = trusting(config.tls_cert)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=base_url, headers=headers, verify=verify, timeout=_ANSWER_SECONDS) as client:
        yield RunningServer(client)
