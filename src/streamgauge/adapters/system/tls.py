"""The certificate and key that TLS is served with: tried before anything else is touched, and trusted by our own."""

import ssl
from pathlib import Path
from typing import NoReturn

from streamgauge.domain.errors import StartRefused


class _Encrypted(Exception):
    """The key asks for a passphrase."""


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises StartRefused in one line that names the file and what is wrong with it.

    Whoever serves loads the files again; without this the edge process would, and die of it over and over.
    """
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise StartRefused(f"{path}: cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a callback OpenSSL would ask the terminal, and a server started by a machine would wait for ever.
        context.load_cert_chain(certificate, key, password=_ask)
    except _Encrypted as error:
        raise StartRefused(f"{key}: is encrypted, and nobody is asked for its passphrase; decrypt it") from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartRefused(f"{key}: is not the key of the certificate in {certificate}") from error
        raise StartRefused(f"{_culprit(certificate, key)} ({error.reason or 'no reason given'})") from error


def trusting(certificate: Path) -> ssl.SSLContext:
    """For a client on the server's own machine: it trusts who holds this certificate's key, and nobody else.

    Names are not compared: the server is asked as 127.0.0.1, say, and its certificate names a host.
    Raises StartRefused when the file holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The server's own certificate is enough, without the authority that signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except OSError as error:
        raise StartRefused(f"{certificate}: cannot be read as a certificate: {error}") from error
    return context


def _ask() -> NoReturn:
    raise _Encrypted


def _culprit(certificate: Path, key: Path) -> str:
    """What to say of two files that do not load together and are not simply a pair of strangers."""
    if b"-----BEGIN CERTIFICATE-----" not in certificate.read_bytes():
        return f"{certificate}: holds no certificate in PEM"
    if b"PRIVATE KEY-----" not in key.read_bytes():
        return f"{key}: holds no private key in PEM"
    return f"{certificate} and {key}: cannot be used for TLS"
