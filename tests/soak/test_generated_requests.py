"""Requests made of the OpenAPI document for as long as one likes, other ones in every run.

`make soak` runs this, `make test` does not. The seed is printed; STREAMGAUGE_TEST_SEED takes one, and
STREAMGAUGE_SOAK_SECONDS says how long each part lasts.
"""

from collections.abc import Iterator

import pytest

from tests.soak.bounds import SECONDS, new_seed, report
from tests.support.generated_requests import Part, faults
from tests.support.server import Server

# One failing request is made small before it is reported, which may take longer than what was asked for.
SECONDS_MAX = SECONDS + 900


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # The token of a session must last as long as the soak.
    with Server(tmp_path_factory.mktemp("soak") / "data", session_lifetime_seconds=86_400) as running:
        yield running


@pytest.mark.timeout(SECONDS_MAX + 60)
@pytest.mark.parametrize("part", Part, ids=lambda part: part.name)
def test_every_answer_to_generated_requests_is_as_the_document_says(server: Server, part: Part) -> None:
    seed = new_seed()
    phases = "--phases=coverage,fuzzing" if part is Part.STREAM else "--phases=coverage,fuzzing,stateful"
    found = faults(server, part, phases, f"--max-time={SECONDS}", f"--seed={seed}", seconds_max=SECONDS_MAX)
    assert not found, found
    report(f"generated_requests, {part.name.lower()}", seed, f"{SECONDS} s, every answer as the document says")
