"""Rate limits, by a clock that nobody sets."""

import time

from streamgauge.engine.rate_limit import Limited, RateLimit


def rate_limit(per_second: int | None, limited: Limited) -> RateLimit | None:
    return None if per_second is None else RateLimit(per_second, limited, time.monotonic)
