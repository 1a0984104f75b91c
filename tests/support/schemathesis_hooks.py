"""What Schemathesis finds and no code of ours can change. It loads this file by its path."""

import schemathesis

# The HTTP parser keeps places in a request's target as 16-bit numbers, and the server below ours refuses a longer one
# in words of its own, before there is a request that we could answer.
TARGET_BYTES_MAX = 2**16 - 1
# By the parser, and by the bound on a whole head (`api/connection.py`), whichever meets it first.
REFUSALS = (b"Invalid HTTP request received.", b"The request is too large.")


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: object, case: object, response: schemathesis.Response
) -> bool:
    """False drops the failure."""
    target = response.request.path_url
    return len(target) <= TARGET_BYTES_MAX or response.content not in REFUSALS
