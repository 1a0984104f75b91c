from .control_edge import ControlEdge, document


def test_a_living_process_says_so_without_a_credential(edge: ControlEdge) -> None:
    assert document(edge.get("/healthz", secret="")) == {"status": "alive"}


def test_a_server_is_ready_when_it_would_accept_events(edge: ControlEdge) -> None:
    assert document(edge.get("/readyz", secret="")) == {"status": "ready"}


def test_a_server_that_is_not_ready_gives_the_reason_with_503(edge: ControlEdge) -> None:
    edge.status.not_ready = "the disk has no room"
    assert document(edge.get("/readyz", secret=""), 503) == {"status": "not_ready", "reason": "the disk has no room"}
    assert document(edge.get("/healthz", secret="")) == {"status": "alive"}
