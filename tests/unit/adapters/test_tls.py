"""What TLS cannot be served with is said in one line, before a server starts."""

from pathlib import Path

import pytest

from streamgauge.adapters.system.tls import check_certificate
from streamgauge.domain.errors import StartRefused
from tests.support.tls import Certificate, certificate_in, encrypted, needs_openssl

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_in(tmp_path_factory.mktemp("tls"))


def refusal(certificate: Path, key: Path) -> str:
    with pytest.raises(StartRefused) as refused:
        check_certificate(certificate, key)
    assert "\n" not in refused.value.message
    return refused.value.message


def test_a_certificate_and_its_key_are_taken(served: Certificate, tmp_path: Path) -> None:
    check_certificate(served.certificate, served.key)
    both = tmp_path / "both.pem"
    both.write_bytes(served.certificate.read_bytes() + served.key.read_bytes())
    check_certificate(both, both)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(served: Certificate, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    assert refusal(nothing, served.key) == f"{nothing}: cannot be read: No such file or directory"
    assert refusal(served.certificate, nothing) == f"{nothing}: cannot be read: No such file or directory"
    assert refusal(tmp_path, served.key) == f"{tmp_path}: cannot be read: Is a directory"


def test_the_key_of_another_certificate_is_refused(served: Certificate, tmp_path: Path) -> None:
    stranger = certificate_in(tmp_path / "stranger")
    said = refusal(served.certificate, stranger.key)
    assert said == f"{stranger.key}: is not the key of the certificate in {served.certificate}"


def test_an_encrypted_key_is_refused_without_asking_anybody(served: Certificate, tmp_path: Path) -> None:
    locked = encrypted(served.key, tmp_path / "locked.pem")
    assert refusal(served.certificate, locked).startswith(f"{locked}: is encrypted")


def test_what_is_no_pem_is_refused_by_its_name(served: Certificate, tmp_path: Path) -> None:
    rubbish, torn = tmp_path / "rubbish.pem", tmp_path / "torn.pem"
    rubbish.write_bytes(b"\0rubbish\xff")
    torn.write_bytes(served.certificate.read_bytes()[:200])
    assert refusal(rubbish, served.key).startswith(f"{rubbish}: holds no certificate in PEM")
    assert refusal(served.certificate, rubbish).startswith(f"{rubbish}: holds no private key in PEM")
    assert refusal(torn, served.key).startswith(f"{torn} and {served.key}: cannot be used for TLS")
    assert refusal(served.key, served.certificate).startswith(f"{served.key}: holds no certificate in PEM")


def test_no_part_of_a_key_is_in_a_refusal(served: Certificate, tmp_path: Path) -> None:
    secret = served.key.read_text().splitlines()[1]
    assert secret not in refusal(served.key, served.key)
