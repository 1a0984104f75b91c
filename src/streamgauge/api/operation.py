"""Operations: what stands behind one method and URL, and the way of a request to it and back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from types import UnionType
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streamgauge.api.credentials import refuse_other_accounts, secret_of
from streamgauge.api.errors import ErrorStyle, render, style_of
from streamgauge.api.request_id import current_request_id
from streamgauge.api.services import Services
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import BodyTooLarge, InvalidRequest, Rejected
from streamgauge.domain.notification import Cause
from streamgauge.domain.permission import Permission
from streamgauge.domain.request_key import IDEMPOTENCY_KEY_LENGTH_MAX, RequestKey, request_key

BODY_BYTES_MAX = 2**20
REPLAYED_HEADER = {"idempotent-replayed": "true"}

Answer = TypeVar("Answer", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """What a request brings besides its path and credential, not yet looked at."""

    query: bytes
    body: bytes
    content_type: str | None


class Takes(Protocol):
    """What an operation takes: `Parameters` of version 1, or a `JsonBody` of version 2."""

    @classmethod
    def read(cls, raw: RawRequest) -> Self:
        """Raises InvalidRequest or UnsupportedMediaType for the first fault."""


Given = TypeVar("Given", bound=Takes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request with a valid credential and the permission that its operation needs."""

    principal: Principal
    secret: str = field(repr=False)
    path: Mapping[str, str]
    key: RequestKey | None

    @property
    def tenant(self) -> Tenant:
        return self.principal.tenant

    @property
    def cause(self) -> Cause:
        """What is to be told of this request as the cause of what it does."""
        return Cause(request_id=current_request_id() or "")

    def object_id(self, name: str) -> str:
        """The id that stands in the URL. Raises InvalidRequest for text that no database would take."""
        given = self.path[name]
        if "\0" in given:
            raise InvalidRequest(f"The {name} in the URL contains a NUL character.", param=name)
        return given


@dataclass(frozen=True, slots=True)
class Replayed(Generic[Answer]):
    """The answer to a request that was answered before, from an operation that looks after its request keys."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Secrets(Generic[Answer]):
    """How an answer with a secret in it is kept for a replay: without the secret, which is then made again."""

    without: Callable[[Answer], Answer]
    restored: Callable[[Services, Call, Answer], Answer]


# A function blocks and is run on a worker thread; a coroutine function only waits. The answer is whatever struct
# msgspec encodes.
Perform: TypeAlias = Callable[[Services, Call, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is done, what it takes and answers, and what a key must be permitted.

    `keeps_request_keys`: the operation itself sees to it that one key has one effect, because its effect is not in
    the control store.
    """

    perform: Perform
    needs: Permission
    takes: type[Takes]
    answers: tuple[type[msgspec.Struct], ...]
    keeps_request_keys: bool
    secrets: Secrets[Any] | None


def operation(
    *, needs: Permission, keeps_request_keys: bool = False, secrets: Secrets[Any] | None = None
) -> Callable[[Perform], Operation]:
    """Make an operation of a function; what it takes and answers stands in its annotations."""

    def declare(perform: Perform) -> Operation:
        hints = get_type_hints(perform)
        returned = hints["return"]
        union = get_args(returned) if get_origin(returned) in (Union, UnionType) else (returned,)
        return Operation(
            perform=perform,
            needs=needs,
            takes=hints["given"],
            answers=tuple(each for each in union if get_origin(each) is not Replayed),
            keeps_request_keys=keeps_request_keys,
            secrets=secrets,
        )

    return declare


Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def endpoint(services: Services, operations: Mapping[str, Operation]) -> Endpoint:
    """One endpoint for all methods of a URL: read the body, authenticate, operate."""

    async def answer(request: Request) -> Response:
        operation = operations["GET" if request.method == "HEAD" else request.method]
        body = await read_body(request)
        if not iscoroutinefunction(operation.perform):
            return await run_in_threadpool(_perform, services, operation, request, body)
        secret = secret_of(request.headers.get("authorization"))
        principal = services.keys.seen(secret, operation.needs)
        if principal is None:
            principal = await run_in_threadpool(services.keys.authenticate, secret, operation.needs)
        call, given = _call(operation, principal, secret, request, body)
        return _answer(await operation.perform(services, call, given))

    return answer


class JsonAnswer(Response):
    """A struct, or bytes that one was encoded to, as JSON. What an account sees is for its eyes only, so nothing
    between may keep it."""

    media_type = "application/json"

    def __init__(self, content: msgspec.Struct | bytes, status_code: int = 200, *, replayed: bool = False) -> None:
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        super().__init__(body, status_code, {"cache-control": "no-store"} | (REPLAYED_HEADER if replayed else {}))


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


def _perform(services: Services, operation: Operation, request: Request, body: bytes) -> Response:
    # Authentication comes before a look at the body: nobody learns anything from errors without a key.
    secret = secret_of(request.headers.get("authorization"))
    principal = services.keys.authenticate(secret, operation.needs)
    call, given = _call(operation, principal, secret, request, body)
    if call.key is not None and not operation.keeps_request_keys:
        return _once(services, operation, call, call.key, given, style_of(request.url.path))
    return _answer(operation.perform(services, call, given))


def _call(operation: Operation, principal: Principal, secret: str, request: Request, body: bytes) -> tuple[Call, Takes]:
    refuse_other_accounts(request.headers, principal.tenant)
    raw = RawRequest(query=request.scope["query_string"], body=body, content_type=request.headers.get("content-type"))
    given = operation.takes.read(raw)
    key = _request_key(operation, principal, request, given)
    return Call(principal=principal, secret=secret, path=request.path_params, key=key), given


def _answer(answer: msgspec.Struct | Replayed[Any]) -> JsonAnswer:
    return JsonAnswer(answer.answer, replayed=True) if isinstance(answer, Replayed) else JsonAnswer(answer)


def _request_key(operation: Operation, principal: Principal, request: Request, given: Takes) -> RequestKey | None:
    """What the `Idempotency-Key` of a POST comes to; other methods repeat without one."""
    key = request.headers.get("idempotency-key")
    if not key or request.method != "POST":
        return None
    if len(key) > IDEMPOTENCY_KEY_LENGTH_MAX:
        raise InvalidRequest(f"The Idempotency-Key is longer than {IDEMPOTENCY_KEY_LENGTH_MAX} characters.")
    if operation.secrets is not None:
        # A secret can only be made again for the key that it was made with.
        key = f"{principal.key_id} {key}"
    return request_key(key, request.method, request.url.path, msgspec.to_builtins(given))


def _once(
    services: Services, operation: Operation, call: Call, key: RequestKey, given: Takes, style: ErrorStyle
) -> Response:
    """Perform what this key asks for, or answer as the first time.

    Version 1 keeps refusals too, version 2 only what was done: there a failed request is performed anew.
    """
    shown: msgspec.Struct | None = None

    def perform() -> tuple[int, bytes]:
        nonlocal shown
        try:
            shown = operation.perform(services, call, given)
        except Rejected as error:
            if style is ErrorStyle.V2:
                raise
            status, _, body = render(error, style)
            return status, body
        return 200, msgspec.json.encode(operation.secrets.without(shown) if operation.secrets else shown)

    kept, replayed = services.idempotency.once(call.tenant, key, perform)
    # A refusal that was kept has no secret in it, and is no answer.
    if operation.secrets is None or shown is not None or kept.status != 200:
        return JsonAnswer(shown if shown is not None else kept.body, kept.status, replayed=replayed)
    answer = msgspec.json.decode(kept.body, type=operation.answers[0])
    return JsonAnswer(operation.secrets.restored(services, call, answer), kept.status, replayed=replayed)
