"""Marks on a relational database."""

from sqlalchemy import delete, insert, select

from streamgauge.adapters.relational.notification_tables import marks
from streamgauge.adapters.relational.store import RelationalControlStore


class RelationalMarks:
    """Implements `Marks`."""

    def __init__(self, control: RelationalControlStore) -> None:
        self._control = control

    def get(self, name: str) -> int | None:
        with self._control.reading() as connection:
            return connection.execute(select(marks.c.value).where(marks.c.name == name)).scalar_one_or_none()

    def put(self, name: str, value: int) -> None:
        with self._control.writing() as connection:
            connection.execute(delete(marks).where(marks.c.name == name))
            connection.execute(insert(marks).values(name=name, value=value))
