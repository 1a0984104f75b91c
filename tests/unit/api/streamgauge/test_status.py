from ..control_edge import ControlEdge, document, error_of


def test_status_tells_how_far_the_events_of_the_account_are_applied(edge: ControlEdge) -> None:
    assert document(edge.get("/streamgauge/status")) == {
        "object": "streamgauge.status",
        "livemode": False,
        "accepted_events": 12,
        "applied_events": 10,
        "backlog_events": 2,
        "refreshed_at": "2024-06-01T12:00:00.123Z",
        "failure": None,
    }


def test_status_takes_no_parameters(edge: ControlEdge) -> None:
    assert error_of(edge.get("/streamgauge/status", {"since": "1"}), 400)["code"] == "parameter_unknown"
