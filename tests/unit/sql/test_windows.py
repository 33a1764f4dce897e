"""Windows over a growing column deliver each row once, however rows arrive at their bounds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.sql.windows import Mark, Window
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import batches_of, splits_of, staged


def test_a_window_survives_as_json() -> None:
    window = Window(Mark("a", [[1]], 1), Mark("b", None, 2), "a")
    assert Window.from_json(plain(window.to_json())) == window


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=6), st.data())
def test_every_row_is_read_once_by_one_of_the_runs(tmp_path_factory: Any, steps: list[list[int]], data: Any) -> None:
    """Each step adds rows whose cursor is at or above the newest one; between splits and reads more may arrive."""
    path = tmp_path_factory.mktemp("w") / "w.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("create table t (id integer primary key, at int)")
        newest, identity, since, read, late = 0, 0, None, [], []
        for step in steps:
            for value in sorted(late + [newest + v for v in step]):
                identity += 1
                newest = max(newest, value)
                connection.execute("insert into t values (?, ?)", (identity, newest))
            config = SqliteSourceConfig(path=str(path), table="t", batch_rows=2, incremental={"cursor_field": "at"})
            source = staged(SqliteSource(config), mode="incremental")
            source.open()
            for split in list(splits_of(source, since)):
                since = plain(split.resume)
                for _ in range(data.draw(st.integers(0, 2))):  # comes after the window was made, at its upper bound
                    identity += 1
                    connection.execute("insert into t values (?, ?)", (identity, newest))
                for batch in batches_of(source, split):
                    read += batch.rows.column("id").to_pylist()
            source.close()
        source = staged(SqliteSource(config), mode="incremental")
        source.open()
        for split in splits_of(source, since):
            for batch in batches_of(source, split):
                read += batch.rows.column("id").to_pylist()
        source.close()
    assert sorted(read) == list(range(1, identity + 1))
