"""CPU time and memory of a process and its descendants, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_NAME_LENGTH_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUse:
    """One process. `cpu_seconds` since its start, user and system; memory as resident bytes, now and at the peak."""

    pid: int
    name: str
    cpu_seconds: float
    rss_bytes: int
    rss_peak_bytes: int


def measure(root_pid: int) -> tuple[ProcessUse, ...]:
    """The process and all that descend from it, parents first. One that ends while we look is left out."""
    children: dict[int, list[int]] = {}
    for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[_PARENT]), []).append(pid)
    found: list[ProcessUse] = []
    waiting = [root_pid]
    while waiting:
        pid = waiting.pop(0)
        use = _use(pid)
        if use is not None:
            found.append(use)
        waiting += sorted(children.get(pid, []))
    return tuple(found)


# Places in /proc/PID/stat after the name, which is in parentheses and may hold blanks.
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _use(pid: int) -> ProcessUse | None:
    fields = _stat(pid)
    if fields is None:
        return None
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = {name: value for name, _, value in (line.partition(":") for line in status.splitlines())}
    return ProcessUse(
        pid=pid,
        name=_name(arguments),
        cpu_seconds=(int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_SECOND,
        rss_bytes=_bytes(sizes.get("VmRSS", "0 kB")),
        rss_peak_bytes=_bytes(sizes.get("VmHWM", "0 kB")),
    )


def _name(arguments: list[str]) -> str:
    """What the process runs: the module and its first word (`streamgauge serve`), without options and paths."""
    words = [word for word in arguments[1:] if word and not word.startswith("-") and "/" not in word]
    return " ".join(words[:2])[:_NAME_LENGTH_MAX] or "python"


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.split()[0]) * 1024
