"""GET /openapi.json and GET /docs: made when they are first asked for, served to anyone, the same for everyone."""

import asyncio
from collections.abc import Callable
from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamgauge.api.openapi.document import PAGE_URL, URL, Operations, document
from streamgauge.api.openapi.page import CONTENT_SECURITY_POLICY, page
from streamgauge.api.operation import Endpoint

# A server of another version may stand here tomorrow.
_HEADERS = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
_PAGE_HEADERS = {"content-security-policy": CONTENT_SECURITY_POLICY, "referrer-policy": "no-referrer"}


def openapi_routes(operations: Operations) -> list[Route]:
    """The routes of the document of `operations`, and of its page. Nothing of an account is in either."""
    described = cache(lambda: document(operations))
    as_json = cache(lambda: msgspec.json.encode(described()))
    as_page = cache(lambda: page(described()).encode())
    return [
        Route(URL, _served(as_json, "application/json", _HEADERS)),
        Route(PAGE_URL, _served(as_page, "text/html", _HEADERS | _PAGE_HEADERS)),
    ]


def _served(body: Callable[[], bytes], media_type: str, headers: dict[str, str]) -> Endpoint:
    async def serve(request: Request) -> Response:
        # Making it takes a fifth of a second, which nobody else must wait for.
        return Response(await asyncio.to_thread(body), media_type=media_type, headers=headers)

    return serve
