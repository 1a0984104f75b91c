"""Marks on plain Python objects."""

from streamgauge.adapters.memory.control_store import MemoryControlStore


class MemoryMarks:
    """Implements `Marks`."""

    def __init__(self, control: MemoryControlStore) -> None:
        self._control = control
        values: dict[str, int] = {}
        self._values = control.table(values)

    def get(self, name: str) -> int | None:
        return self._values.get(name)

    def put(self, name: str, value: int) -> None:
        with self._control.lock:
            self._values[name] = value
