"""How parts are merged is a setting of each table, and a store of an older program is given what is asked for now."""

from collections.abc import Callable

import pytest

from streamgauge.adapters.clickhouse.schema import MERGING
from streamgauge.adapters.clickhouse.store import ClickHouseStore


@pytest.fixture
def store(new_clickhouse_store: Callable[[], ClickHouseStore]) -> ClickHouseStore:
    return new_clickhouse_store()


def engine_of(store: ClickHouseStore, table: str) -> str:
    sql = f"SELECT engine_full FROM system.tables WHERE database = '{store._database}' AND name = '{table}'"
    return str(store._writer.query(sql).result_rows[0][0])


@pytest.mark.parametrize("table", MERGING)
def test_a_new_store_merges_as_is_asked_for(store: ClickHouseStore, table: str) -> None:
    assert f"{MERGING[table]}, fsync_after_insert = 1" in engine_of(store, table)


@pytest.mark.parametrize("table", MERGING)
def test_an_older_store_is_given_what_is_asked_for_now_and_keeps_all_else(store: ClickHouseStore, table: str) -> None:
    now = engine_of(store, table)
    store._writer.command(f"ALTER TABLE {store._database}.{table} MODIFY SETTING merge_selector_base = 7")
    ClickHouseStore(store._writer, store._reader, store._database)
    assert engine_of(store, table) == now


@pytest.mark.parametrize("lacks", ["merge_selector_base", "max_bytes_to_merge_at_max_space_in_pool"])
def test_a_store_from_before_a_setting_is_altered_once(
    store: ClickHouseStore, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._writer.command(f"ALTER TABLE {store._database}.events RESET SETTING {lacks}")
    ClickHouseStore(store._writer, store._reader, store._database)
    assert all(each in engine_of(store, "events") for each in MERGING["events"].split(", "))
    assert not altered(store, monkeypatch)


def test_nothing_is_altered_where_it_is_so(store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not altered(store, monkeypatch)


def altered(store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What opening the store again alters."""
    said: list[str] = []
    monkeypatch.setattr(store._writer, "command", said.append)
    ClickHouseStore(store._writer, store._reader, store._database)
    assert said
    return [each for each in said if "ALTER" in each]
