"""The document as the server serves it, and thousands of requests made of it.

The requests are the same in every run (`make soak` makes others): each bound of each parameter, names that are unknown,
kinds that are wrong, other methods, and no or a wrong credential.
"""

from html.parser import HTMLParser

import httpx
import msgspec
import pytest

from streamgauge.api.app import OPERATIONS
from streamgauge.api.openapi.document import PAGE_URL, URL, document
from tests.support.generated_requests import Part, faults
from tests.support.server import Server

# Attributes by which a page makes a browser fetch something.
FETCHING = frozenset({"src", "srcset", "data", "action", "poster", "background", "ping"})


def get(server: Server, path: str) -> httpx.Response:
    """Without a credential."""
    return httpx.get(server.url + path, trust_env=False, timeout=30)


@pytest.mark.parametrize("part", Part, ids=lambda part: part.name)
def test_every_answer_to_generated_requests_is_as_the_document_says(server: Server, part: Part) -> None:
    options = ("--phases=coverage,fuzzing", "--max-examples=5", "--generation-deterministic")
    found = faults(server, part, *options, seconds_max=240)
    assert not found, found


def test_the_document_is_served_to_anyone(server: Server) -> None:
    answer = get(server, URL)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == msgspec.json.decode(msgspec.json.encode(document(OPERATIONS)))


class Elements(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_fetches_nothing_and_runs_nothing(server: Server) -> None:
    answer = get(server, PAGE_URL)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    elements = Elements(answer.text).found
    assert {tag for tag, _ in elements}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    for tag, attributes in elements:
        assert not FETCHING & set(attributes), tag
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        assert (attributes.get("href") or "#").startswith(("#", URL)), attributes
    assert "url(" not in answer.text
    assert "@import" not in answer.text
