"""GET /openapi.json and GET /docs: made once when the server starts, served to anyone, the same for everyone."""

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
    described = document(operations)
    return [
        Route(URL, _served(msgspec.json.encode(described), "application/json", _HEADERS)),
        Route(PAGE_URL, _served(page(described).encode(), "text/html", _HEADERS | _PAGE_HEADERS)),
    ]


def _served(body: bytes, media_type: str, headers: dict[str, str]) -> Endpoint:
    async def serve(request: Request) -> Response:
        return Response(body, media_type=media_type, headers=headers)

    return serve
