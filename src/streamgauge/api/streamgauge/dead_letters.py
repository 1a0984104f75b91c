"""/streamgauge/dead_letters: acknowledged events that could not be counted, and counting them after a repair."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.forms import Params
from streamgauge.api.operation import Call, RawRequest, operation
from streamgauge.api.parameters import FormParameters, Parameters, Text, parse
from streamgauge.api.services import Services
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.permission import METER_EVENTS_READ, METER_EVENTS_WRITE
from streamgauge.domain.redrive import DeadLetter
from streamgauge.engine.ports.dead_letters import LetterFilter, Places
from streamgauge.engine.redrive import REDRIVE_EVENTS_MAX, TRIAL_EVENTS_MAX, Redriven

URL = "/streamgauge/dead_letters"

Unset = msgspec.UnsetType
# Where a redrive goes on, and where it ends: places in the log.
_CURSOR: Final = re.compile(r"dlc_([0-9]{1,18})_([0-9]{1,19})")
_JSON_TYPES: Final = "application/json"


class Shown(StrEnum):
    """Which dead letters a list has."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


_IS_OPEN: Final[Mapping[Shown, bool | None]] = {Shown.OPEN: True, Shown.CLOSED: False, Shown.ALL: None}


class DeadLetterObject(msgspec.Struct, frozen=True, kw_only=True):
    """`code` says why it could not be counted when it was judged last, at `judged_at`. `closed`: an event with its
    identifier has counted since. Times are RFC 3339, UTC."""

    object: Literal["dead_letter"] = "dead_letter"
    id: str
    identifier: str
    event_name: str
    status: Literal["open", "closed"]
    code: str
    meter: str | None
    customer: str | None
    timestamp: str
    payload: Mapping[str, str]
    received_at: str
    judged_at: str
    key: str
    session: str | None
    livemode: bool


class RedriveObject(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the dead letters that were selected; with `dry_run`, what would have. `rejected` counts by code.

    With `has_more`, the same request with this `cursor` goes on.
    """

    object: Literal["redrive"] = "redrive"
    dry_run: bool
    selected: int
    counted: int
    duplicates: int
    rejected: Mapping[str, int]
    has_more: bool
    cursor: str | None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of `received_at`, Unix seconds."""

    gt: int | Unset = msgspec.UNSET
    gte: int | Unset = msgspec.UNSET
    lt: int | Unset = msgspec.UNSET
    lte: int | Unset = msgspec.UNSET


class DeadLettersParameters(ListParameters, frozen=True, kw_only=True):
    """`status` is `open` unless it is given."""

    code: RejectionCode | Unset = msgspec.UNSET
    event_name: Text | Unset = msgspec.UNSET
    customer: Text | Unset = msgspec.UNSET
    identifier: Text | Unset = msgspec.UNSET
    received_at: Received | Unset = msgspec.UNSET
    status: Shown | Unset = msgspec.UNSET


class RedriveParameters(FormParameters, frozen=True, kw_only=True):
    """Which dead letters: those that are like all of what is given. `limit` bounds how many are taken at once."""

    code: RejectionCode | Unset = msgspec.UNSET
    event_name: Text | Unset = msgspec.UNSET
    customer: Text | Unset = msgspec.UNSET
    identifier: Text | Unset = msgspec.UNSET
    dry_run: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_EVENTS_MAX)] | Unset = msgspec.UNSET
    cursor: Annotated[str, msgspec.Meta(max_length=100)] | Unset = msgspec.UNSET

    @classmethod
    def read(cls, raw: RawRequest) -> Self:
        """A form, as everywhere in version 1, or a JSON object of the same members."""
        if (raw.content_type or "").partition(";")[0].strip().lower() != _JSON_TYPES:
            return super().read(raw)
        try:
            members = msgspec.json.decode(raw.body, type=dict[str, str | int | bool | None])
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"The request body is not a JSON object of plain values: {error}") from error
        params: Params = {name: _as_text(value) for name, value in members.items() if value is not None}
        return parse(cls, params)


@operation(needs=METER_EVENTS_READ)
def list_page(services: Services, call: Call, given: DeadLettersParameters) -> ListObject[DeadLetterObject]:
    """Dead letters, newest first."""
    received = given.received_at or Received()
    from_s = [each for each in (received.gte, _after(received.gt)) if each is not msgspec.UNSET]
    before_s = [each for each in (received.lt, _after(received.lte)) if each is not msgspec.UNSET]
    wanted = LetterFilter(
        codes=_one(given.code),
        event_names=_one(given.event_name),
        customers=_one(given.customer),
        identifier=given.identifier or None,
        received_from_ms=max(from_s) * 1000 if from_s else None,
        received_before_ms=min(before_s) * 1000 if before_s else None,
        is_open=_IS_OPEN[given.status or Shown.OPEN],
    )
    return listed(services.dead_letters.list(call.tenant, given.page(), wanted), dead_letter_object, URL)


@operation(needs=METER_EVENTS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> DeadLetterObject:
    """One dead letter, by its id or by its event's identifier."""
    return dead_letter_object(services.dead_letters.get(call.tenant, call.path["id"]))


# A repeated request redrives what is left, so it needs no memory of its key.
@operation(needs=METER_EVENTS_WRITE, keeps_request_keys=True)
def redrive(services: Services, call: Call, given: RedriveParameters) -> RedriveObject:
    """Judge dead letters anew, by the meters and customers of now and the time when each was received. What can be
    counted is; again changes nothing."""
    wanted = LetterFilter(
        codes=_one(given.code),
        event_names=_one(given.event_name),
        customers=_one(given.customer),
        identifier=given.identifier or None,
    )
    places = _places(given.cursor) if given.cursor else None
    if given.dry_run:
        found = services.redrives.trial(call.tenant, wanted, places, limit=given.limit or TRIAL_EVENTS_MAX)
    else:
        limit = min(given.limit or REDRIVE_EVENTS_MAX, REDRIVE_EVENTS_MAX)
        found = services.redrives.redrive(call.tenant, wanted, places, limit=limit)
    return redrive_object(found, dry_run=given.dry_run)


def dead_letter_object(letter: DeadLetter) -> DeadLetterObject:
    return DeadLetterObject(
        id=letter.id,
        identifier=letter.identifier,
        event_name=letter.event_name,
        status="open" if letter.is_open else "closed",
        code=letter.code,
        meter=letter.meter or None,
        customer=letter.customer or None,
        timestamp=rfc3339(letter.timestamp_ms),
        payload=dict(letter.payload),
        received_at=rfc3339(letter.received_at_ms),
        judged_at=rfc3339(letter.judged_at_ms),
        key=letter.key_id,
        session=letter.session_id or None,
        livemode=letter.tenant.livemode,
    )


def redrive_object(redriven: Redriven, *, dry_run: bool) -> RedriveObject:
    rest = redriven.rest
    return RedriveObject(
        dry_run=dry_run,
        selected=redriven.selected,
        counted=redriven.counted,
        duplicates=redriven.duplicates,
        rejected=redriven.rejected,
        has_more=rest is not None,
        cursor=None if rest is None else f"dlc_{rest.first_offset}_{rest.below_offset}",
    )


def _places(cursor: str) -> Places:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequest("The cursor is not one of an earlier answer.", param="cursor")
    return Places(int(match[1]), int(match[2]))


def _one(value: str | Unset) -> frozenset[str] | None:
    return frozenset({str(value)}) if value else None


def _after(second: int | Unset) -> int | Unset:
    return second if isinstance(second, Unset) else second + 1


def _as_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
