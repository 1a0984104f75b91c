from decimal import Decimal

import pytest

from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.meter import EventTimeWindow
from streamgauge.engine.ports.control_store import Page

from ..contract import faults_of_answer
from ..control_edge import TEST_MODE, ControlEdge, document, error_of

TEMPLATE = "/v1/billing/meters/{id}/event_summaries"
URL = TEMPLATE.replace("{id}", "mtr_1")
GIVEN = {"customer": "cus_1", "start_time": "1717243200", "end_time": "1717246800"}


def test_summaries_are_a_list_with_every_documented_member(edge: ControlEdge) -> None:
    edge.summaries.values = [Decimal("0.3"), Decimal(25)]
    page = document(edge.get(URL, GIVEN))
    assert faults_of_answer(page, "get", TEMPLATE) == []
    assert (page["url"], page["has_more"]) == (URL, False)
    assert page["data"][0] == {
        "id": "mtrusg_0",
        "object": "billing.meter_event_summary",
        "aggregated_value": 0.3,
        "end_time": 1_717_246_800,
        "livemode": False,
        "meter": "mtr_1",
        "start_time": 1_717_243_200,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.1", "0.1"),
        ("25.000000000000000", "25"),
        ("-0", "0"),
        ("1E+3", "1000"),
        ("1E-12", "0.000000000001"),
        ("123456789012345678901234.000000000001", "123456789012345678901234.000000000001"),
    ],
)
def test_an_aggregated_value_is_a_json_number_with_every_digit(edge: ControlEdge, value: str, text: str) -> None:
    edge.summaries.values = [Decimal(value)]
    assert f'"aggregated_value":{text},' in edge.get(URL, GIVEN).text


def test_the_question_reaches_the_service_as_it_was_asked(edge: ControlEdge) -> None:
    document(edge.get(URL, GIVEN | {"value_grouping_window": "hour", "limit": "3", "starting_after": "mtrusg_9"}))
    document(edge.get(URL, GIVEN))
    asked = (TEST_MODE, "mtr_1", "cus_1", 1_717_243_200, 1_717_246_800)
    assert edge.summaries.asked == [
        (*asked, EventTimeWindow.HOUR, Page(limit=3, starting_after="mtrusg_9")),
        (*asked, None, Page()),
    ]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"customer": None}, "customer", "parameter_missing"),
        ({"start_time": None}, "start_time", "parameter_missing"),
        ({"end_time": None}, "end_time", "parameter_missing"),
        ({"customer": ""}, "customer", "parameter_invalid_empty"),
        ({"start_time": "2024-06-01"}, "start_time", "parameter_invalid_integer"),
        ({"end_time": "1717246800.0"}, "end_time", "parameter_invalid_integer"),
        ({"end_time": "9" * 30}, "end_time", "parameter_invalid_integer"),
        ({"value_grouping_window": "minute"}, "value_grouping_window", None),
        ({"value_grouping_windw": "day"}, "value_grouping_windw", "parameter_unknown"),
        ({"limit": "1000"}, "limit", "parameter_invalid_integer"),
    ],
)
def test_a_question_that_is_not_as_documented_is_refused_by_name(
    edge: ControlEdge, change: dict[str, str | None], param: str, code: str | None
) -> None:
    error = error_of(edge.get(URL, {n: v for n, v in (GIVEN | change).items() if v is not None}), 400)
    assert (error["param"], error.get("code")) == (param, code)
    assert edge.summaries.asked == []


def test_a_range_that_is_not_aligned_is_refused_with_the_service_s_reason(edge: ControlEdge) -> None:
    edge.summaries.fails_with = InvalidRequest("Invalid start_time: must be aligned.", param="start_time")
    error = error_of(edge.get(URL, GIVEN), 400)
    assert error == {
        "type": "invalid_request_error",
        "message": "Invalid start_time: must be aligned.",
        "param": "start_time",
    }
