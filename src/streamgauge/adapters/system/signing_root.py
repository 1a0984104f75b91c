"""The root of all signing secrets: a file of the data folder, made once."""

import secrets
from pathlib import Path
from typing import Final

from streamgauge.adapters.system.durable_files import write
from streamgauge.domain.errors import StartRefused
from streamgauge.domain.event_destination import SIGNING_ROOT_BYTES

SIGNING_ROOT_FILE: Final = "signing.key"


def signing_root(folder: Path, *, may_be_made: bool) -> bytes:
    """What stands in the folder's file, as 64 hex digits. If there is none, one is made, unless it was lost.

    Raises StartRefused when it is damaged, or missing though it may not be made: other secrets than those that
    receivers know would make them refuse every delivery.
    """
    path = folder / SIGNING_ROOT_FILE
    try:
        root = bytes.fromhex(path.read_text())
    except FileNotFoundError:
        if not may_be_made:
            raise StartRefused(
                f"{path}: is missing, and the signing secrets of the event destinations are made of it; "
                "restore it from a backup"
            ) from None
        root = secrets.token_bytes(SIGNING_ROOT_BYTES)
        write(path, root.hex() + "\n")
    except (OSError, ValueError) as error:
        raise StartRefused(f"{path}: cannot be read: {error}; restore it from a backup") from error
    if len(root) != SIGNING_ROOT_BYTES:
        raise StartRefused(f"{path}: is damaged; restore it from a backup")
    return root
