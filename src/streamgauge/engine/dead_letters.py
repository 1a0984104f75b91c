"""Dead letters: acknowledged events that could not be counted, to be looked at."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.redrive import DeadLetter, place_of_letter
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.dead_letters import DeadLetters, LetterFilter, Places

_ANY: Final = LetterFilter(is_open=None)


class DeadLetterBook:
    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def list(self, tenant: Tenant, page: Page, wanted: LetterFilter) -> Listed[DeadLetter]:
        """Newest receipt first. Raises InvalidRequest for a cursor that is no dead letter's id."""
        if page.ending_before is not None:
            places = Places(first_offset=_place(page.ending_before, "ending_before") + 1)
        elif page.starting_after is not None:
            places = Places(below_offset=_place(page.starting_after, "starting_after"), newest_first=True)
        else:
            places = Places(newest_first=True)
        found = self._letters.find(tenant, wanted, places, limit=page.limit + 1)
        items = tuple(found[: page.limit])
        return Listed(items if places.newest_first else items[::-1], has_more=len(found) > page.limit)

    def get(self, tenant: Tenant, wanted: str) -> DeadLetter:
        """By its id, or by its identifier: then an open one if there is one, and the newest of those.

        Raises NotFound when no event with it was ever rejected.
        """
        place = place_of_letter(wanted)
        found: Sequence[DeadLetter] = ()
        if place is not None:
            found = self._letters.find(tenant, _ANY, Places(place, place + 1), limit=1)
        for is_open in (True, False):
            if not found:
                by_identifier = replace(_ANY, identifier=wanted, is_open=is_open)
                found = self._letters.find(tenant, by_identifier, Places(newest_first=True), limit=1)
        if not found:
            raise NotFound(f"No such dead letter: '{wanted}'", param="id")
        return found[0]


def _place(cursor: str, param: str) -> int:
    place = place_of_letter(cursor)
    if place is None:
        raise InvalidRequest(f"'{cursor}' is not the id of a dead letter.", param=param)
    return place
