"""Pages of version 2: a list, and the URLs of the pages before and after it."""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from streamgauge.api.v2.query import QueryParameters
from streamgauge.domain.errors import InvalidRequest
from streamgauge.engine.ports.control_store import Listed, Page

LIMIT_MAX = 100
LIMIT_DEFAULT = 20

Item = TypeVar("Item")
T = TypeVar("T")

_FORWARD, _BACKWARD = "after", "before"


class PageParameters(QueryParameters, frozen=True, kw_only=True):
    """What every list takes. `page` is opaque: it comes from the URLs of an earlier page."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    page: Annotated[str, msgspec.Meta(max_length=500)] | msgspec.UnsetType = msgspec.UNSET

    def wanted(self) -> Page:
        """Raises InvalidRequest for a token that no page had."""
        if not self.page:
            return Page(limit=self.limit)
        try:
            direction, _, object_id = base64.urlsafe_b64decode(self.page + "==").decode("ascii").partition(" ")
        except (binascii.Error, ValueError):
            direction, object_id = "", ""
        if direction not in (_FORWARD, _BACKWARD) or not object_id:
            raise InvalidRequest("The page token is not one of a next_page_url or previous_page_url.", param="page")
        if direction == _FORWARD:
            return Page(limit=self.limit, starting_after=object_id)
        return Page(limit=self.limit, ending_before=object_id)


class PageObject(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One page, newest first. The URLs are null where the list ends."""

    data: list[Item]
    next_page_url: str | None
    previous_page_url: str | None


def paged(
    listed: Listed[T],
    wanted: Page,
    shown: Callable[[T], Item],
    id_of: Callable[[T], str],
    url: str,
    query: list[tuple[str, str]],
) -> PageObject[Item]:
    """`listed` as an object; `query` is what else its URLs must carry, limit and filters."""
    items = listed.items
    has_older = listed.has_more or wanted.ending_before is not None
    # Whoever came here from a newer page can go back; coming from an older one, the store has looked for more.
    has_newer = listed.has_more if wanted.ending_before is not None else wanted.starting_after is not None
    return PageObject(
        data=[shown(each) for each in items],
        next_page_url=_page_url(url, query, _FORWARD, id_of(items[-1])) if items and has_older else None,
        previous_page_url=_page_url(url, query, _BACKWARD, id_of(items[0])) if items and has_newer else None,
    )


def _page_url(url: str, query: list[tuple[str, str]], direction: str, object_id: str) -> str:
    token = base64.urlsafe_b64encode(f"{direction} {object_id}".encode()).decode().rstrip("=")
    return f"{url}?{urlencode([*query, ('page', token)], quote_via=quote)}"
