"""Operations: what stands behind one method and URL, and the way of a request to it and back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streamgauge.api.credentials import secret_of
from streamgauge.api.forms import Params, decode_body
from streamgauge.api.services import Services
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import BodyTooLarge, InvalidRequest

BODY_BYTES_MAX = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request with a valid credential, its body complete and not yet looked at."""

    principal: Principal
    path: Mapping[str, str]
    query: bytes
    body: bytes
    content_type: str | None

    @property
    def tenant(self) -> Tenant:
        return self.principal.tenant

    def object_id(self, name: str) -> str:
        """The id that stands in the URL. Raises InvalidRequest for text that no database would take."""
        given = self.path[name]
        if "\0" in given:
            raise InvalidRequest(f"The {name} in the URL contains a NUL character.", param=name)
        return given

    def params(self) -> Params:
        """Parameters of the query and of the form body together. Raises InvalidRequest like `forms.decode_body`."""
        return decode_body(self.body, self.content_type, self.query)


# Blocking; the answer is whatever struct msgspec encodes.
Operation: TypeAlias = Callable[[Services, Call], msgspec.Struct]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def endpoint(services: Services, operations: Mapping[str, Operation]) -> Endpoint:
    """One endpoint for all methods of a URL: read the body, then authenticate and operate on a worker thread."""

    async def answer(request: Request) -> Response:
        operation = operations["GET" if request.method == "HEAD" else request.method]
        body = await read_body(request)
        return JsonAnswer(await run_in_threadpool(_perform, services, operation, request, body))

    return answer


class JsonAnswer(Response):
    """A struct as JSON. What an account sees is for its eyes only, so nothing between may keep it."""

    media_type = "application/json"

    def __init__(self, content: msgspec.Struct, status_code: int = 200) -> None:
        super().__init__(msgspec.json.encode(content), status_code, {"cache-control": "no-store"})


async def read_body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is known to be, without keeping what came until then."""
    too_large = BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > bytes_max:
        raise too_large
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > bytes_max:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def _perform(services: Services, operation: Operation, request: Request, body: bytes) -> msgspec.Struct:
    # Authentication comes before a look at the body: nobody learns anything from errors without a key.
    principal = services.keys.authenticate(secret_of(request.headers.get("authorization")))
    call = Call(
        principal=principal,
        path=request.path_params,
        query=request.scope["query_string"],
        body=body,
        content_type=request.headers.get("content-type"),
    )
    return operation(services, call)
