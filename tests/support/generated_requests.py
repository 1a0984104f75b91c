"""Requests made of a server's own OpenAPI document: valid ones, broken ones, and those at every bound.

Schemathesis runs as a program of its own. Its pytest plugin would be loaded in every run, and the settings of this
repository (warnings are errors) are not made for it.
"""

import os
import re
import subprocess
import sys
import tempfile
from enum import Enum
from pathlib import Path
from typing import Final

from streamgauge.api.openapi.document import URL
from streamgauge.api.v2.meter_event_stream import PATH as STREAM_PATH
from tests.support.server import Client, Server

HOOKS: Final = Path(__file__).with_name("schemathesis_hooks.py")
CONFIGURATION: Final = Path(__file__).with_name("schemathesis.toml")
# Not among them: that every request which fits the schema succeeds. Whether a customer exists, an identifier is new
# or a time lies on a minute is more than a schema can say.
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


class Part(Enum):
    """The two parts of the API that take different credentials."""

    STREAM = f"--include-path={STREAM_PATH}"
    ALL_ELSE = f"--exclude-path={STREAM_PATH}"


def faults(server: Server, part: Part, *options: str, seconds_max: float) -> str:
    """What Schemathesis has to say of the answers to its requests; nothing when each is as the document says."""
    with Client(server.url) as client:
        secret = client.session() if part is Part.STREAM else client.key
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")}
    environment |= {"SCHEMATHESIS_HOOKS": str(HOOKS), "NO_PROXY": "*"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIGURATION}"),
                *("run", server.url + URL),
                *(part.value, f"--header=Authorization: Bearer {secret}", f"--checks={','.join(CHECKS)}"),
                *("--continue-on-failure", "--warnings=missing_auth", "--no-color", *options),
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds_max,
        )
    # Nothing is found in an empty selection, nor where every request was refused for its credential.
    tested = re.search(r"Tested: [1-9]", done.stdout) and "Authentication failed" not in done.stdout
    return "" if done.returncode == 0 and tested else done.stdout + done.stderr
