"""Lists of version 1: the object around the items, and the parameters that page through them."""

from collections.abc import Callable
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from streamgauge.api.parameters import ObjectId, Parameters
from streamgauge.domain.errors import InvalidRequest
from streamgauge.engine.ports.control_store import Listed, Page

LIMIT_MAX = 100
LIMIT_DEFAULT = 10

Item = TypeVar("Item")
T = TypeVar("T")


class ListParameters(Parameters, frozen=True, kw_only=True):
    """What every list takes. Cursors are ids of objects and exclude that object."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    starting_after: ObjectId | msgspec.UnsetType = msgspec.UNSET
    ending_before: ObjectId | msgspec.UnsetType = msgspec.UNSET

    def page(self) -> Page:
        """Raises InvalidRequest when both cursors are given."""
        if self.starting_after and self.ending_before:
            raise InvalidRequest(
                "Received both ending_before and starting_after parameters. Pass in only one.", param="ending_before"
            )
        return Page(
            limit=self.limit, starting_after=self.starting_after or None, ending_before=self.ending_before or None
        )


class ListObject(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One page, newest first."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    url: str


def listed(page: Listed[T], shown: Callable[[T], Item], url: str) -> ListObject[Item]:
    """`page` as a list object, each item as `shown` shows it."""
    return ListObject(data=[shown(item) for item in page.items], has_more=page.has_more, url=url)
