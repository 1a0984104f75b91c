"""When a delivery that failed is tried again, and when it is given up."""

import hashlib
from dataclasses import dataclass
from typing import Final

SPAN_MS: Final = 3 * 24 * 3_600_000
DELAY_MS_MAX: Final = 6 * 3_600_000
# How far a delay may lie beside its mean, as a part of it.
JITTER: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Exponential backoff: each delay is twice the one before, up to `delay_ms_max`, until `span_ms` have passed.

    Jitter keeps deliveries that failed together from coming back together. It is made of the delivery's id and the
    number of the attempt, not of chance: a restart comes to the same times.
    """

    first_delay_ms: int
    delay_ms_max: int = DELAY_MS_MAX
    span_ms: int = SPAN_MS

    def next_attempt_ms(self, delivery_id: str, *, failures: int, first_ms: int, now_ms: int) -> int | None:
        """When to try again after so many failures (1 and more), the last one now; None: given up.

        Units: milliseconds since the epoch. `first_ms` is when the first attempt was due: what the span counts from.
        The last attempt is at the end of the span.
        """
        last_ms = first_ms + self.span_ms
        if now_ms >= last_ms:
            return None
        # Beyond 2**40 every delay is at its maximum, and a number of attempts must not become a huge integer.
        delay_ms = min(self.first_delay_ms << min(failures - 1, 40), self.delay_ms_max)
        due_ms = now_ms + round(delay_ms * (1 - JITTER + 2 * JITTER * _fraction(delivery_id, failures)))
        return min(due_ms, last_ms)


def _fraction(delivery_id: str, failures: int) -> float:
    """Evenly spread over [0, 1), always the same for the same arguments."""
    digest = hashlib.blake2b(f"{failures} {delivery_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32
