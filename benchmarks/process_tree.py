"""CPU time and memory of a process and its descendants, and of their threads, from /proc."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_NAME_LENGTH_MAX = 40
_ENDED = "threads that have ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUse:
    """One process. `cpu_seconds` since its start, user and system; memory as resident bytes, now and at the peak.

    `threads`: CPU seconds by thread id and name. The first thread is called `main`; Python gives its threads no names
    that the system knows, so that those are called after the program and told apart by their order.
    """

    pid: int
    name: str
    cpu_seconds: float
    rss_bytes: int
    rss_peak_bytes: int
    threads: Mapping[str, float] = field(default_factory=dict)


def measure(root_pid: int) -> tuple[ProcessUse, ...]:
    """The process and all that descend from it, parents first. One that ends while we look is left out."""
    children: dict[int, list[int]] = {}
    for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
        fields = _stat(Path(f"/proc/{pid}"))
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


def proportional_bytes(uses: Sequence[ProcessUse]) -> int:
    """Resident memory of the processes together: a page that several share is divided among them."""
    total = 0
    for use in uses:
        try:
            lines = Path(f"/proc/{use.pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(_bytes(line.removeprefix("Pss:")) for line in lines if line.startswith("Pss:"))
    return total


def cpu_between(before: Sequence[ProcessUse], after: Sequence[ProcessUse]) -> dict[str, float]:
    """CPU seconds by process; the key starts with its place in the tree, as names may repeat."""
    spent = {use.pid: use.cpu_seconds for use in before}
    return {
        f"{place}. {use.name}": use.cpu_seconds - spent.get(use.pid, 0.0) for place, use in enumerate(after, start=1)
    }


def thread_cpu_between(before: Sequence[ProcessUse], after: Sequence[ProcessUse]) -> dict[str, float]:
    """CPU seconds by process and thread name, most first; threads of one name are added up, and those that used
    nothing left out. What a process used beyond its living threads is that of threads that have ended.
    """
    spent = {use.pid: use for use in before}
    found: dict[str, float] = {}
    for place, use in enumerate(after, start=1):
        earlier = spent.get(use.pid)
        living = 0.0
        for thread, seconds in use.threads.items():
            seconds -= earlier.threads.get(thread, 0.0) if earlier else 0.0
            living += seconds
            name = f"{place}. {use.name}: {thread.partition(' ')[2]}"
            found[name] = found.get(name, 0.0) + seconds
        ended = use.cpu_seconds - (earlier.cpu_seconds if earlier else 0.0) - living
        found[f"{place}. {use.name}: {_ENDED}"] = ended
    tick = 1 / _TICKS_PER_SECOND
    return {name: seconds for name, seconds in sorted(found.items(), key=lambda each: -each[1]) if seconds > tick}


def busiest_thread_between(before: Sequence[ProcessUse], after: Sequence[ProcessUse]) -> dict[str, float]:
    """By process, the CPU seconds of the one thread that used most: what more cores do not make faster."""
    spent = {use.pid: use.threads for use in before}
    return {
        f"{place}. {use.name}": max(
            (seconds - spent.get(use.pid, {}).get(thread, 0.0) for thread, seconds in use.threads.items()), default=0.0
        )
        for place, use in enumerate(after, start=1)
    }


# Places in /proc/PID/stat after the name, which is in parentheses and may hold blanks.
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12


def _stat(folder: Path) -> list[str] | None:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _cpu_seconds(fields: Sequence[str]) -> float:
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_SECOND


def _use(pid: int) -> ProcessUse | None:
    folder = Path(f"/proc/{pid}")
    fields = _stat(folder)
    if fields is None:
        return None
    try:
        status = (folder / "status").read_text()
        arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        threads = _threads(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = {name: value for name, _, value in (line.partition(":") for line in status.splitlines())}
    return ProcessUse(
        pid=pid,
        name=_name(arguments),
        cpu_seconds=_cpu_seconds(fields),
        rss_bytes=_bytes(sizes.get("VmRSS", "0 kB")),
        rss_peak_bytes=_bytes(sizes.get("VmHWM", "0 kB")),
        threads=threads,
    )


def _threads(pid: int) -> dict[str, float]:
    """CPU seconds by `id name`, in the order in which the threads were started."""
    program = Path(f"/proc/{pid}/comm").read_text().strip()
    threads: dict[str, float] = {}
    unnamed = 0
    for thread in sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()):
        folder = Path(f"/proc/{pid}/task/{thread}")
        fields = _stat(folder)
        if fields is None:
            continue
        try:
            name = (folder / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if thread == pid:
            name = "main"
        elif name == program:
            unnamed += 1
            name = f"{program} {unnamed}"
        threads[f"{thread} {name}"] = _cpu_seconds(fields)
    return threads


def _name(arguments: list[str]) -> str:
    """What the process runs: the module and its first word (`streamgauge serve`), without options and paths."""
    words = [word for word in arguments[1:] if word and not word.startswith("-") and "/" not in word]
    return " ".join(words[:2])[:_NAME_LENGTH_MAX] or "python"


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.split()[0]) * 1024
