"""Judging events: what each one found when it was received, and whether its value can be counted.

Everything here works on whole columns; loops run over records, event names and distinct customers, never over events.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.catalogue import NEVER_ENDS_MS, Catalogue
from streamgauge.domain.decimals import VALUE_DIGITS_MAX, ParsedValues, numbers_of, parse_values, values_of
from streamgauge.domain.fate import CODE_NUMBER, NO_REJECTION, RejectionCode
from streamgauge.domain.meter import Formula, Meter, resolve
from streamgauge.domain.meter_event import TIMESTAMP_FUTURE_MAX_MS, TIMESTAMP_PAST_MAX_MS
from streamgauge.domain.payload_text import needs_escapes, payload_forms
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.texts import words_of

NO_METER = -1
_ONE = np.array([[10**VALUE_DIGITS_MAX, 0]], np.uint64)  # as `numbers_of` has it


@dataclass(frozen=True, slots=True)
class Judgement:
    """One entry per event. `code` is a number of `fate.REJECTION_CODES`; 0: it counts, if it is no duplicate.

    `meter` indexes `meters` (NO_METER: none). `customer` is null where there is none; `value` is any number where
    it could not be read, and 1 of an event of a `count` meter. `form` indexes `forms`: how the payload is told by
    customer and value alone (`payload_text.py`); 0 where it cannot be.
    """

    meters: tuple[Meter, ...]
    meter: NDArray[np.int32]
    customer: pa.DictionaryArray
    value: pa.Decimal128Array
    code: NDArray[np.uint8]
    forms: tuple[str, ...]
    form: NDArray[np.int32]


def judge(events: ReceivedEvents, catalogue: Catalogue) -> Judgement:
    """A pure function of the events and of the catalogue as it stood when each of them was received.

    One that is redriven finds the catalogue as it stands then, and its timestamp is compared with its first receipt.
    """
    meters, meter, code = _resolve_meters(events, catalogue)
    _judge_timestamps(events, code)
    customer_at = _payload_entries(events, meter, [each.customer_key for each in meters])
    value_at = _payload_entries(events, meter, [each.value_key for each in meters])
    customer = words_of(events.payload.items, customer_at)
    _judge_customers(events, catalogue, customer, code)
    value, is_canonical = _judge_values(parse_values(events.payload.items, value_at), meters, meter, code)
    forms, form = _payload_forms(events, meters, meter, customer_at, value_at, customer, is_canonical)
    return Judgement(meters, meter, customer, value, code, forms, form)


def _resolve_meters(
    events: ReceivedEvents, catalogue: Catalogue
) -> tuple[tuple[Meter, ...], NDArray[np.int32], NDArray[np.uint8]]:
    names = events.event_name
    # One number for each (tenant, event name) pair: few, however many events there are.
    pair = events.tenant.astype(np.int64) * len(names.dictionary) + names.indices.to_numpy()
    pairs, pair = _distinct(pair, len(events.tenants) * len(names.dictionary))
    meters: dict[str, int] = {}
    found: list[Meter] = []
    # (pair, record) -> meter and code: an event's record says when it was received.
    meter_at = np.full((len(pairs), len(events.records_at_ms)), NO_METER, np.int32)
    code_at = np.full(meter_at.shape, CODE_NUMBER[RejectionCode.NO_METER], np.uint8)
    for row, number in enumerate(pairs):
        tenant, name = divmod(int(number), len(names.dictionary))
        named = catalogue.meters_named(events.tenants[tenant], names.dictionary[name].as_py())
        if not named:
            continue
        for column, at_ms in enumerate(events.records_at_ms):
            hit = resolve(named, int(at_ms))
            if hit.meter is None:
                continue
            if hit.meter.id not in meters:
                meters[hit.meter.id] = len(found)
                found.append(hit.meter)
            meter_at[row, column] = meters[hit.meter.id]
            code_at[row, column] = CODE_NUMBER[RejectionCode.ARCHIVED_METER] if hit.archived else NO_REJECTION
    at = pair * len(events.records_at_ms)
    at += events.record
    return tuple(found), meter_at.ravel().take(at), code_at.ravel().take(at)


def _judge_timestamps(events: ReceivedEvents, code: NDArray[np.uint8]) -> None:
    age_ms = events.first_received_at_ms - events.timestamp_ms
    _reject(code, age_ms > TIMESTAMP_PAST_MAX_MS, RejectionCode.TIMESTAMP_TOO_FAR_IN_PAST)
    _reject(code, age_ms < -TIMESTAMP_FUTURE_MAX_MS, RejectionCode.TIMESTAMP_IN_FUTURE)


def _judge_customers(
    events: ReceivedEvents, catalogue: Catalogue, customer: pa.DictionaryArray, code: NDArray[np.uint8]
) -> None:
    ids: list[str] = customer.dictionary.to_pylist()
    missing = len(ids)
    at = customer.indices.fill_null(missing).to_numpy().astype(np.int64)
    # An empty string names nobody.
    blank = np.array([*(not each for each in ids), True])
    _reject(code, blank[at], RejectionCode.NO_CUSTOMER_DEFINED)

    width = missing + 1
    pairs, pair = _distinct(events.tenant.astype(np.int64) * width + at, len(events.tenants) * width)
    begins = np.full(len(pairs), NEVER_ENDS_MS, np.int64)
    ends = np.zeros(len(pairs), np.int64)
    for number, tenant in enumerate(events.tenants):
        rows = np.flatnonzero((pairs // width == number) & (pairs % width != missing))
        bounds = catalogue.customer_bounds(tenant, [ids[each] for each in pairs[rows] % width])
        if bounds:
            begins[rows], ends[rows] = np.array(bounds, np.int64).T
    received_at_ms = events.received_at_ms
    known = (begins[pair] <= received_at_ms) & (received_at_ms < ends[pair])
    accepts = catalogue.rules.accepts_unknown_customers(events.records_at_ms)
    if accepts.any():
        known |= accepts.take(events.record)
    _reject(code, ~known, RejectionCode.CUSTOMER_NOT_FOUND)


def _judge_values(
    parsed: ParsedValues, meters: tuple[Meter, ...], meter: NDArray[np.int32], code: NDArray[np.uint8]
) -> tuple[pa.Decimal128Array, NDArray[np.bool_]]:
    """The values, and whether each would be written as it was sent."""
    counts = np.array([*(each.formula is Formula.COUNT for each in meters), False]).take(meter)
    judged = (code == NO_REJECTION) & ~counts
    code[judged] = parsed.code[judged]
    numbers = numbers_of(parsed.value).copy()
    numbers[np.flatnonzero(counts)] = _ONE
    return values_of(numbers), parsed.is_canonical & ~counts


def _payload_forms(
    events: ReceivedEvents,
    meters: tuple[Meter, ...],
    meter: NDArray[np.int32],
    customer_at: NDArray[np.int64],
    value_at: NDArray[np.int64],
    customer: pa.DictionaryArray,
    is_canonical: NDArray[np.bool_],
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """See `Judgement`: the payload has a customer, perhaps a value, and nothing else."""
    has_customer, has_value = customer_at >= 0, value_at >= 0
    sizes = np.diff(events.payload.offsets.to_numpy())
    told = (sizes == has_customer.astype(np.int32) + has_value) & has_customer & (is_canonical | ~has_value)
    if needs_escapes(customer.dictionary):
        told[:] = False
    # Of each meter: with the customer alone, with the value behind it, with the value before it.
    forms = ["", *(each for one in meters for each in payload_forms(one.customer_key, one.value_key))]
    form = 1 + 3 * meter
    form += has_value
    form += has_value & (value_at < customer_at)
    form *= told
    distinct = list(dict.fromkeys(forms))
    number = np.array([distinct.index(each) for each in forms], np.int32)
    return tuple(distinct), number.take(form)


def _payload_entries(events: ReceivedEvents, meter: NDArray[np.int32], key_of_meter: list[str]) -> NDArray[np.int64]:
    """For each event the payload's entry under its meter's key; -1 where there is no meter or no such key."""
    keys = events.payload.keys
    if native.compiled is not None:
        number = {key: at for at, key in enumerate(keys.dictionary.to_pylist())}
        wanted_key = np.array([number.get(each, -1) for each in key_of_meter], np.int32)
        at = np.empty(len(events), np.int64)
        offsets = np.ascontiguousarray(events.payload.offsets.to_numpy())
        native.compiled.entries(offsets, _numbers(keys), meter, wanted_key, at)
        return at
    at = np.full(len(events), -1, np.int64)
    starts = events.payload.offsets.to_numpy().astype(np.int64)
    row_of_entry = np.repeat(np.arange(len(events)), np.diff(starts))
    for key in set(key_of_meter):
        # A key of a payload is there once: it was a JSON object.
        entries = np.flatnonzero(pc.equal(keys, key).to_numpy(zero_copy_only=False))
        entry_of_row = np.full(len(events), -1, np.int64)
        entry_of_row[row_of_entry[entries]] = entries
        wanted = np.array([*(each == key for each in key_of_meter), False])[meter]
        at[wanted] = entry_of_row[wanted]
    return at


def _numbers(words: pa.DictionaryArray) -> NDArray[np.int32]:
    return np.asarray(words.indices.to_numpy(), np.int32)


def _reject(code: NDArray[np.uint8], where: NDArray[np.bool_], why: RejectionCode) -> None:
    """The first code that was given stands."""
    code[where & (code == NO_REJECTION)] = CODE_NUMBER[why]


def _distinct(numbers: NDArray[np.int64], below: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct numbers in order, and each number's place among them. All are in [0, below)."""
    if below > 4 * len(numbers) + 1024:  # a table as long as `below` would cost more than sorting
        distinct, places = np.unique(numbers, return_inverse=True)
        return distinct, places
    present = np.zeros(below, np.bool_)
    present[numbers] = True
    distinct = np.flatnonzero(present)
    place = np.zeros(below, np.int64)
    place[distinct] = np.arange(len(distinct))
    return distinct, place[numbers]
