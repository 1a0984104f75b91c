"""The programs of a client's folder, and bringing them to their end."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.program import Ended

BUILDS: Final = Path(__file__).parents[2] / ".clients"  # git-ignored; a folder for each client, and the matrix
PREPARE_SECONDS_MAX: Final = 900  # the Go client and Stripe's command line are built from their sources
NOT_ON_THIS_MACHINE: Final = 77


def prepared(folder: str) -> Ended:
    """What it takes is fetched and built, unless it is there; whoever else wants the same waits."""
    BUILDS.mkdir(parents=True, exist_ok=True)
    with open(BUILDS / f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return ended(Path(__file__).parent / folder / "prepare", BUILDS / folder, PREPARE_SECONDS_MAX)


def ended(program: Path, build: Path, seconds: float, settings: Mapping[str, str] | None = None) -> Ended:
    """One of the two programs of a folder, brought to its end, with all that it started, after so many seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
    # A proxy is for what `prepare` fetches. The Python client is the one of the environment that runs the tests.
    environment |= {"PYTHON": sys.executable, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **(settings or {})}
    process = subprocess.Popen(
        [program, build],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        err += f"\n{program.name} was stopped after {seconds} s"
    return Ended(process.returncode, out, err)
