"""The operating system's wall clock and its random source."""

import secrets
import string
import time

# 62 characters, so that a token can stand in a URL, a header and a shell without quoting.
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


class SystemClock:
    """Implements `Clock`."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SystemEntropy:
    """Implements `Entropy`."""

    def token(self, length: int) -> str:
        return "".join(secrets.choice(ALPHABET) for _ in range(length))
