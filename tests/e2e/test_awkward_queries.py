"""Text that means something to SQL, to shells or to parsers, in every parameter of every query of the document."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.server import SECRET_KEY, Client, Server

AWKWARD = (
    "'", '"', "\\", "\\'", "`", "';DROP TABLE events;--", "' OR '1'='1", "') OR 1=1 --", "{name:String}", "%(x)s",
       "a\0b", "\r\nx: y", "%00", "\U0010ffff", "x" * 5_000,
)  # fmt: skip
AUTHORIZED = {"Authorization": f"Bearer {SECRET_KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("awkward") / "data") as running:
        yield running


def test_no_text_in_any_parameter_of_a_query_is_more_than_a_text(server: Server) -> None:
    asked, listed = 0, 0
    with Client(server.url) as client:
        meter, customer = client.meter("calls"), client.customer(name="A")
        event = {"event_name": "calls", "identifier": "one", "payload": {"stripe_customer_id": customer, "value": "1"}}
        lost = {"event_name": "none", "identifier": "two", "payload": {"stripe_customer_id": customer, "value": "1"}}
        client.stream(client.session(), [event, lost])
        client.wait_until_applied()
        needed = {"customer": customer, "start_time": "0", "end_time": "60", "id": meter}
        for path, operations in client.http.get("/openapi.json").json()["paths"].items():
            parameters = operations.get("get", {}).get("parameters", [])
            for parameter in (each for each in parameters if _is_text(each)):
                for text in AWKWARD:
                    values = {
                        each["name"]: needed.get(each["name"], "x") for each in parameters if each.get("required")
                    }
                    values[parameter["name"]] = text
                    url, query = path, {}
                    for each in parameters:
                        if each["in"] == "path":
                            url = url.replace("{" + each["name"] + "}", quote(values[each["name"]], safe=""))
                        elif each["in"] == "query" and each["name"] in values:
                            query[each["name"]] = values[each["name"]]
                    answer = client.http.get(url, params=query, headers=AUTHORIZED)
                    asked += 1
                    assert answer.status_code in (200, 400, 404, 414), (url, query, answer.text)
                    if answer.status_code == 200:
                        listed += 1
                        assert answer.json()["data"] == [], (url, query)
        assert client.total(meter, customer) == 1
    assert asked > 500 and listed > 50
    assert "Traceback" not in server.said()


def _is_text(parameter: dict[str, Any]) -> bool:
    schema = parameter.get("schema", {})
    return schema.get("type") == "string" and "enum" not in schema
