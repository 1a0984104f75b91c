"""Secrets in files: whatever tests leave on the disk (data folders, servers' logs, backups) must hold none."""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.program import files_in

# As they are, and as HTTP Basic carries a key. Fewer characters behind it than this are a prefix in a text.
_SECRET: Final = {
    beginning: re.compile(re.escape(beginning) + rb"[0-9A-Za-z]{12}")
    for beginning in (
        b"sk_test_", b"sk_live_", b"rk_test_", b"rk_live_", b"mest_test_", b"mest_live_", b"whsec_",
        b"c2tfdGVzdF", b"c2tfbGl2ZV", b"cmtfdGVzdF", b"cmtfbGl2ZV",
    )
}  # fmt: skip


def secrets_left_in(folder: Path) -> Iterator[str]:
    """Each file with a secret, the place, and how that begins."""
    for path in files_in(folder):
        if not path.is_file() or path.stat().st_size == 0:
            continue
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for beginning, secret in _SECRET.items():
                at = content.find(beginning)
                while at >= 0:
                    if secret.match(content, at):
                        yield f"{path}, byte {at}: {beginning.decode()}..."
                        break
                    at = content.find(beginning, at + 1)
