"""A wall clock that is set back and forward by hours while the server runs."""

from pathlib import Path

from tests.support.faults import FaultyServer, Shim, event
from tests.support.server import Client

HOUR_S = 3_600


def test_receipt_never_goes_backwards_and_every_event_finds_the_catalogue_as_it_stood(
    tmp_path: Path, shim: Shim
) -> None:
    """Between two settings of the clock a meter is renamed away and an event comes before and after: by the clock
    alone some of them would find another catalogue than the one they were sent into."""
    shifts_s = (0, -5 * HOUR_S, 3 * HOUR_S, -30 * HOUR_S, HOUR_S, 0)
    with FaultyServer(tmp_path / "data", environment=shim.environment) as server, Client(server.url) as client:
        meter, customer = client.meter("calls"), client.customer(name="A")
        received: list[str] = []
        for turn, shift_s in enumerate(shifts_s):
            shim.shift_clock(shift_s)
            # A session of an earlier time may have ended by this one.
            token = client.session()
            client.stream(token, [event(f"before {turn}", customer)])
            client.post(f"/v1/billing/meters/{meter}/deactivate")
            client.stream(token, [event(f"between {turn}", customer)])
            client.post(f"/v1/billing/meters/{meter}/reactivate")
            client.stream(token, [event(f"after {turn}", customer), event("the same", customer)])
            client.wait_until_applied()
            for when, fate in (("before", "counted"), ("between", "rejected"), ("after", "counted")):
                receipt = client.receipt(f"{when} {turn}")
                assert receipt["status"] == fate, (when, shift_s, receipt)
                received.append(receipt["received_at"])
        assert received == sorted(received)
        assert len(set(received)) == len(received)
        assert client.total(meter, customer) == 2 * len(shifts_s) + 1
        assert client.receipt("the same")["repeats"] == len(shifts_s) - 1
    assert server.process.returncode == 0


def test_a_session_ends_by_the_clock_whichever_way_it_was_set(tmp_path: Path, shim: Shim) -> None:
    with FaultyServer(tmp_path / "data", environment=shim.environment) as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("now", customer)])
        shim.shift_clock(2 * HOUR_S)
        answer = client.stream(token, [event("late", customer)], expect=401)
        assert answer["error"]["type"] == "temporary_session_expired"
        later = client.session()
        client.stream(later, [event("later", customer)])
        # Set back to the truth: both are of use, as no session is ended by a clock that was wrong for a while.
        shim.shift_clock(0)
        client.stream(token, [event("again", customer)])
        client.stream(later, [event("once more", customer)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 4
    assert server.process.returncode == 0
