"""What must be so once all of the log is applied, whichever way it came there."""

from collections.abc import Iterator

from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.meter import EventTimeWindow, Meter
from streamgauge.domain.span import Span
from streamgauge.domain.summary import Range
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.usage_store import SummaryQuery, UsageStore
from tests.support.oracle import MINUTE_MS, KnownMeter, Oracle
from tests.support.service import Service

ALL_OF_TIME_S = (0, 4_102_444_800)  # to the year 2100, whole days
GROUPINGS = (None, EventTimeWindow.HOUR, EventTimeWindow.DAY)
LIMIT = 100_000


def check_service(service: Service, oracle: Oracle) -> None:
    """Nothing waits, every event has the oracle's fate, in the store and as it is told, and every total is exact."""
    checkpoint = service.progress.checkpoint()
    intent, end = service.progress.intent(), len(oracle.entries)
    assert (checkpoint.next_offset, intent) == (end, None), (checkpoint, intent, end)
    applied, accepted = service.progress.applied(), service.log.accepted()
    assert applied == accepted, (applied, accepted)
    check_store(service.store, oracle)
    check_summaries(service, oracle)
    for tenant, identifier in sorted({(each.tenant, each.sent.identifier) for each in oracle.events()}):
        receipt = service.receipts.find(tenant, identifier)
        expected = oracle.receipt(tenant, identifier, len(oracle.entries))
        found = {name: getattr(receipt, name) for name in expected}
        assert found == expected, (identifier, found, expected)


def check_summaries(service: Service, oracle: Oracle) -> None:
    """A caller's summaries of the minute of each meter's first counted event: its end is exclusive."""
    for meter in oracle.meters.values():
        event = next((each for each in oracle.events() if each.fate == "counted" and each.meter == meter.id), None)
        if event is None:
            continue
        for start_s in (event.timestamp_ms // MINUTE_MS * 60, event.timestamp_ms // MINUTE_MS * 60 - 60):
            asked = (meter.tenant, meter.id, event.customer, start_s, start_s + 60, None)
            found = {row.start_s: row.value for row in service.summaries.query(*asked, Page()).items}
            expected = oracle.totals(meter, event.customer, start_s, start_s + 60, None)
            assert found == expected, (asked, found, expected)


def check_store(store: UsageStore, oracle: Oracle) -> None:
    check_fates(store, oracle)
    for meter in oracle.meters.values():
        counted = {each.customer for each in oracle.events() if each.fate == "counted" and each.meter == meter.id}
        for customer in sorted(counted):
            for start_s, end_s, grouping in _ranges(oracle, meter, customer):
                found = store.totals(
                    SummaryQuery(
                        meter=_described(meter),
                        customer_id=customer,
                        range=Range(start_s, end_s),
                        grouping=grouping,
                        limit=LIMIT,
                    )
                )
                expected = oracle.totals(meter, customer, start_s, end_s, grouping)
                told = [(each.window.start_s, each.value) for each in found]
                assert told == sorted(expected.items(), reverse=True), (meter, customer, start_s, end_s, grouping)


def check_fates(store: UsageStore, oracle: Oracle) -> None:
    end = len(oracle.entries)
    known_events = sum(1 for _ in oracle.events())
    assert store.count_events() == known_events, (store.count_events(), known_events)
    for tenant, identifier in {(each.tenant, each.sent.identifier) for each in oracle.events()}:
        stored = store.events_of(tenant, identifier, int(hash_names([(tenant, identifier)])[0]))
        found = [
            (each.log_offset, str(each.status), each.code, each.timestamp_ms, each.received_at_ms) for each in stored
        ]
        expected = oracle.of(tenant, identifier)
        assert found == [
            (each.offset, each.status(end), each.code, each.timestamp_ms, each.received_at_ms) for each in expected
        ], identifier
        for event, known in zip(stored, expected, strict=True):
            assert dict(event.payload) == dict(known.sent.payload), (event, known)
            if known.fate == "counted":
                found_worth = (event.meter, event.customer, event.value)
                assert found_worth == (known.meter, known.customer, known.value), (event, known)


def _ranges(oracle: Oracle, meter: KnownMeter, customer: str) -> Iterator[tuple[int, int, EventTimeWindow | None]]:
    """All of time in every grouping, and around the first and the last event a minute, and a good hour."""
    for grouping in GROUPINGS:
        yield *ALL_OF_TIME_S, grouping
    of_both = [each.timestamp_ms for each in oracle.events() if (each.meter, each.customer) == (meter.id, customer)]
    for timestamp_ms in {min(of_both), max(of_both)}:
        minute_s = timestamp_ms // MINUTE_MS * 60
        yield minute_s, minute_s + 60, None
        yield minute_s - 7 * 60, minute_s + 58 * 60, None


def _described(meter: KnownMeter) -> Meter:
    return Meter(
        id=meter.id,
        tenant=meter.tenant,
        display_name="",
        event_name=meter.event_name,
        formula=meter.formula,
        event_time_window=meter.window,
        created_ms=meter.created_ms,
        updated_ms=meter.created_ms,
        active_spans=tuple(Span(*span) for span in meter.active),
    )
