"""The look through what the suite left finds what it is there to find."""

import base64
from pathlib import Path

import pytest

from tests.support.left_secrets import secrets_left_in
from tests.support.server import SECRET_KEY


@pytest.mark.parametrize(
    "content",
    [
        SECRET_KEY.encode(),
        b"\0" * 70_000 + b"sk_test_ sk_test_" + b"rk_live_0123456789ab",
        b'{"authentication_token": "mest_test_0123456789ab"}',
        b"whsec_" + b"0f" * 32,
        b"Authorization: Basic " + base64.b64encode(SECRET_KEY.encode() + b":"),
    ],
)
def test_a_file_with_a_secret_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "deep" / "file"
    file.parent.mkdir()
    file.write_bytes(content)
    (found,) = secrets_left_in(tmp_path)
    file.unlink()  # or the look after all tests finds it too
    assert found.startswith(f"{file}, byte ")


def test_prefixes_and_what_is_too_short_for_a_secret_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"sk_test_..., mest_test_, whsec_short, sk_test_0123")
    (tmp_path / "empty").touch()
    assert list(secrets_left_in(tmp_path)) == []
