"""Bodies are taken as they are: nothing is unpacked, so no small request can become a large one."""

from streamgauge.domain.errors import UnsupportedMediaType


def refuse_packed(content_encoding: str | None) -> None:
    """Raises UnsupportedMediaType when the header names anything but `identity`."""
    named = (content_encoding or "").strip().lower()
    if named not in ("", "identity"):
        raise UnsupportedMediaType(
            f"The body must not be packed (Content-Encoding: {named[:100]}): send it as it is, without that header."
        )
