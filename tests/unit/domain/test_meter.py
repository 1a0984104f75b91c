"""What an event finds by its name depends on when it was received and on the meters' history alone."""

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.meter import Formula, Found, Meter, resolve
from streamgauge.domain.span import Span


def meter(name: str, *spans: Span) -> Meter:
    return Meter(
        id=name,
        tenant=Tenant("acct_1", False),
        display_name=name,
        event_name="tokens",
        formula=Formula.SUM,
        created_ms=spans[0].start_ms,
        updated_ms=spans[0].start_ms,
        active_spans=spans,
    )


FIRST = meter("first", Span(100, 200), Span(300, 400))
SECOND = meter("second", Span(250, 260), Span(400))

HISTORY = [
    # at    finds     archived
    (99, None, False),
    (100, FIRST, False),
    (199, FIRST, False),
    (200, FIRST, True),  # a span is half-open
    (249, FIRST, True),
    (250, SECOND, False),
    (259, SECOND, False),
    (300, FIRST, False),  # reactivated: the older meter wins over the younger one, which is archived by now
    (399, FIRST, False),
    (400, SECOND, False),
    (10**15, SECOND, False),
]


@pytest.mark.parametrize(("at_ms", "found", "archived"), HISTORY)
def test_the_meter_active_at_that_moment_is_found_else_one_archived_by_then(
    at_ms: int, found: Meter | None, archived: bool
) -> None:
    assert resolve((FIRST, SECOND), at_ms) == Found(found, archived)


def test_no_meter_is_found_among_none() -> None:
    assert resolve((), 100) == Found(None)


def test_between_two_archived_meters_some_archived_meter_is_found() -> None:
    assert resolve((FIRST, SECOND), 270).archived


def test_deactivating_ends_the_open_span_and_reactivating_opens_another() -> None:
    fresh = meter("fresh", Span(100))
    assert fresh.is_active and fresh.deactivated_ms is None
    ended = fresh.deactivated(200)
    assert ended.active_spans == (Span(100, 200),)
    assert not ended.is_active and ended.deactivated_ms == ended.updated_ms == 200
    again = ended.reactivated(300)
    assert again.active_spans == (Span(100, 200), Span(300))
    assert again.is_active and again.updated_ms == 300


def test_a_meter_deactivated_in_the_moment_of_its_creation_never_took_events() -> None:
    ended = meter("fresh", Span(100)).deactivated(100)
    assert resolve((ended,), 100) == Found(ended, archived=True)


def test_renaming_changes_neither_the_event_name_nor_what_counts() -> None:
    renamed = FIRST.renamed("Tokens", 500)
    assert (renamed.display_name, renamed.updated_ms) == ("Tokens", 500)
    assert (renamed.event_name, renamed.active_spans) == (FIRST.event_name, FIRST.active_spans)
