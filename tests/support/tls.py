"""Certificates made for a test by the openssl command, and a server that uses one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.server import SECRET_KEY

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")


@dataclass(frozen=True)
class Certificate:
    """Of 127.0.0.1, signed by an authority of its own."""

    authority: Path
    certificate: Path
    key: Path


def certificate_in(folder: Path) -> Certificate:
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    signs = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    _openssl(*new, *signs, "-subj", "/CN=test authority", "-keyout", folder / "ca.key", "-out", made.authority)
    of_host = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    by = ["-CA", str(made.authority), "-CAkey", str(folder / "ca.key")]
    _openssl(*new, *by, *of_host, "-subj", "/CN=streamgauge", "-keyout", made.key, "-out", made.certificate)
    return made


def encrypted(key: Path, into: Path) -> Path:
    _openssl("openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", into)
    return into


def _openssl(*command: str | Path) -> None:
    subprocess.run([str(each) for each in command], check=True, capture_output=True, timeout=30)


@contextmanager
def https_server(data_dir: Path, served: Certificate) -> Iterator[str]:
    """`streamgauge serve` with that certificate; yields its URL."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
    command = [sys.executable, "-m", "streamgauge", "serve", "--data-dir", str(data_dir), "--port", "0"]
    command += ["--tls-cert", str(served.certificate), "--tls-key", str(served.key)]
    with open(data_dir.with_suffix(".stderr"), "a") as errors:
        process = subprocess.Popen(
            command,
            env={**inherited, "STREAMGAUGE_SECRET_KEY": SECRET_KEY},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout as out:
            line = out.readline()
            try:
                assert "https://" in line, line
                yield line.split()[-1]
            finally:
                process.terminate()
                assert process.wait(timeout=60) == 0
