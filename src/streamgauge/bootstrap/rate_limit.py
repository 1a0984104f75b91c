"""Rate limits, by a clock that nobody sets."""

import time

from streamgauge.engine.rate_limit import Levels, Limited, RateLimit


def rate_limit(per_second: int | None, limited: Limited, levels: Levels | None = None) -> RateLimit | None:
    """`levels` that processes share need a clock that they share: the machine's, since it was started."""
    return None if per_second is None else RateLimit(per_second, limited, time.monotonic, levels)
