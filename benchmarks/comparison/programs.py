"""Where the servers and the Python environment of the comparisons are, and how they come onto a Debian machine."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.failure import BenchmarkFailed

PYTHON = Path(__file__).parent / ".venv" / "bin" / "python"
PACKAGES = {"postgres": "postgresql", "redis-server": "redis-server"}
WORK_DIR = Path(__file__).parents[1] / "results" / "tmp"
PASSABLE = 0o711
INSTALL_SECONDS_MAX = 600


def find(program: str) -> Path | None:
    """The program, also where Debian keeps those of PostgreSQL: beside those of other versions, not on the path."""
    on_path = shutil.which(program)
    if on_path is not None:
        return Path(on_path).resolve()
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda each: int(each.parts[-3]))
    return versions[-1] if versions else None


def missing(programs: Sequence[str]) -> list[str]:
    """What is not here of these programs and of the environment that `make bench-comparison` makes."""
    absent = [program for program in programs if find(program) is None]
    return absent if PYTHON.exists() else [*absent, "the Python environment (make bench-comparison)"]


def install(programs: Sequence[str]) -> None:
    """Install what is missing of these from Debian's packages. Raises BenchmarkFailed when we may not, or apt fails."""
    packages = [PACKAGES[program] for program in programs if find(program) is None]
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchmarkFailed(f"needed for the comparison: {' '.join(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for each in (["apt-get", "update"], command):
        done = subprocess.run(each, env=environment, capture_output=True, timeout=INSTALL_SECONDS_MAX, check=False)
        if done.returncode != 0:
            raise BenchmarkFailed(f"{' '.join(each)}:\n{done.stderr.decode(errors='replace')}")


def unprivileged(folder: Path, preferred: str) -> str | None:
    """Whom a server that refuses to be root shall run as, and make the folder theirs; None when we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = preferred if preferred in names else "nobody"
    shutil.chown(folder, user)
    for above in folder.parents:
        if not above.is_relative_to(WORK_DIR):
            break  # what is not ours stays closed, if it is
        above.chmod(PASSABLE)
    return user
