import pytest

from ..contract import faults_of_answer
from ..control_edge import ControlEdge, document, error_of

LISTS = ["/v1/billing/meters", "/v1/customers"]


def fill(edge: ControlEdge, url: str, count: int) -> list[str]:
    """Ids, newest first."""
    made = [
        (edge.customer(name=f"c{at}") if url == "/v1/customers" else edge.meter(event_name=f"e{at}"))["id"]
        for at in range(count)
    ]
    return made[::-1]


@pytest.mark.parametrize("url", LISTS)
def test_an_empty_list_is_a_list(edge: ControlEdge, url: str) -> None:
    assert document(edge.get(url)) == {"object": "list", "data": [], "has_more": False, "url": url}


@pytest.mark.parametrize("url", LISTS)
def test_a_list_is_newest_first_and_ten_at_a_time(edge: ControlEdge, url: str) -> None:
    ids = fill(edge, url, 12)
    page = document(edge.get(url))
    assert [each["id"] for each in page["data"]] == ids[:10]
    assert page["has_more"] is True
    assert faults_of_answer(page, "get", url) == []


@pytest.mark.parametrize("url", LISTS)
def test_cursors_page_through_a_list_in_both_directions(edge: ControlEdge, url: str) -> None:
    ids = fill(edge, url, 5)
    older = document(edge.get(url, {"limit": "2", "starting_after": ids[1]}))
    assert ([each["id"] for each in older["data"]], older["has_more"]) == (ids[2:4], True)
    last = document(edge.get(url, {"limit": "2", "starting_after": ids[3]}))
    assert ([each["id"] for each in last["data"]], last["has_more"]) == (ids[4:], False)
    newer = document(edge.get(url, {"limit": "2", "ending_before": ids[3]}))
    assert ([each["id"] for each in newer["data"]], newer["has_more"]) == (ids[1:3], True)


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1.5", ""])
def test_a_limit_is_a_whole_number_from_1_to_100(edge: ControlEdge, url: str, limit: str) -> None:
    assert error_of(edge.get(url, {"limit": limit}), 400)["param"] == "limit"


@pytest.mark.parametrize("url", LISTS)
def test_both_cursors_at_once_are_refused(edge: ControlEdge, url: str) -> None:
    (cursor,) = fill(edge, url, 1)
    error = error_of(edge.get(url, {"starting_after": cursor, "ending_before": cursor}), 400)
    assert error["type"] == "invalid_request_error"
    assert "starting_after" in error["message"] and "ending_before" in error["message"]


@pytest.mark.parametrize("url", LISTS)
def test_an_unknown_cursor_and_one_of_another_list_are_refused_by_name(edge: ControlEdge, url: str) -> None:
    other = edge.meter()["id"] if "customers" in url else edge.customer()["id"]
    for cursor in ("none", other):
        error = error_of(edge.get(url, {"starting_after": cursor}), 400)
        assert (error["code"], error["param"]) == ("resource_missing", "starting_after")


@pytest.mark.parametrize("url", LISTS)
def test_an_unknown_parameter_of_a_list_is_refused(edge: ControlEdge, url: str) -> None:
    assert error_of(edge.get(url, {"limits": "3"}), 400)["message"].endswith("Did you mean limit?")
