"""What the expression engine may not do, and what DuckDB does for prepared statements that everything relies on."""

from __future__ import annotations

import gc
import tempfile
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from dataflare.component import Budget
from dataflare.expression.session import INPUT, Session, Statement, quoted, select

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = Budget()
NUMBERS = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "attach 'x.db'",
        "copy (select 1) to 'x.csv'",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '1GB'",
        "set threads = 4",
        "set enable_external_access = true",
        "set disabled_optimizers = ''",
    ],
)
def test_a_session_reaches_nothing_outside_and_keeps_its_settings(sql: str) -> None:
    with pytest.raises(duckdb.Error):
        Session(BUDGET).execute(sql)


def test_a_session_does_not_see_python_variables() -> None:
    secret = pa.table({"n": [1]})
    with pytest.raises(duckdb.CatalogException):
        Session(BUDGET).execute("select * from secret")
    assert secret.num_rows == 1


def test_settings_are_those_of_one_bounded_thread_in_utc() -> None:
    session = Session(Budget(memory_bytes_max=128 << 20))
    names = ("threads", "async_threads", "memory_limit", "TimeZone", "preserve_insertion_order")
    found = [session.execute(f"select current_setting('{n}')::varchar")[0][0] for n in names]
    assert found == ["1", "0", "128.0 MiB", "Etc/UTC", "true"]


MANY = f"select count(*) from (select distinct n, cast(n as varchar) || repeat('x', 50) from {INPUT})"


def of_little_memory(mib: int) -> Session:
    session = Session(Budget(memory_bytes_max=mib << 20))
    session.register(pa.table({"n": pa.array(range(1_500_000), pa.int64())}))
    return session


def test_what_memory_does_not_hold_is_spilled_and_removed_with_the_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    session = of_little_memory(65)
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert session.execute(MANY) == [(1_500_000,)]
    assert list(folder.iterdir())
    session.close()
    del session
    gc.collect()
    assert list(folder.iterdir()) == []


def test_nothing_is_spilled_to_a_folder_that_others_may_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    of_little_memory(66)
    (folder,) = tmp_path.iterdir()
    folder.chmod(0o755)
    with pytest.raises(duckdb.OutOfMemoryException):
        of_little_memory(67).execute(MANY)
    assert list(folder.iterdir()) == []


def test_one_budget_has_one_instance_and_another_budget_another() -> None:
    first, second, other = Session(BUDGET), Session(BUDGET), Session(Budget(memory_bytes_max=99 << 20))
    assert first._database is second._database
    assert other._database is not first._database


def test_a_prepared_statement_opens_the_stream_anew_at_every_execute() -> None:
    """The contract that all chains stand on; a DuckDB that breaks it must not be released with."""
    statement = Statement(NUMBERS, BUDGET)
    statement.prepare(select([f"{quoted('n')} * 10 as n"]))
    for values in ([1, 2], [], [3], list(range(5000)), [4]):
        rows = pa.table({"n": pa.array(values, pa.int64())})
        assert statement.run(rows).column("n").to_pylist() == [v * 10 for v in values]


def test_a_statement_holds_no_rows_after_it_has_run() -> None:
    statement = Statement(NUMBERS, BUDGET)
    statement.prepare(select(["n"]))
    before = pa.total_allocated_bytes()
    statement.run(pa.table({"n": pa.array(range(1_000_000), pa.int64())}))
    assert pa.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("chunk", [1, 2047, 2048, 2049, 100_000])
def test_rows_keep_their_order_through_a_statement(chunk: int) -> None:
    """Columns that pass by a statement are put beside its answer by place."""
    values = list(range(100_000))
    chunks = [pa.array(values[i : i + chunk], pa.int64()) for i in range(0, len(values), chunk)]
    chunks = chunks[:300] if chunk == 1 else chunks
    rows = pa.table({"n": pa.chunked_array(chunks)})
    statement = Statement(NUMBERS, BUDGET)
    statement.prepare(f"with a as ({select(['n + 1 as n', 'n as m'])}) {select(['n', 'm'], 'a', 'where m % 7 <> 3')}")
    answer = statement.run(rows)
    expected = [v for v in rows.column("n").to_pylist() if v % 7 != 3]
    assert answer.column("m").to_pylist() == expected
    assert answer.column("n").to_pylist() == [v + 1 for v in expected]


def test_a_condition_is_not_moved_before_the_columns_that_are_written_before_it() -> None:
    statement = Statement(pa.schema([("s", pa.string()), ("n", pa.int64())]), BUDGET)
    columns = select(["cast(s as integer) as v", "n"])
    statement.prepare(f"with a as ({columns}) {select(['v'], 'a', 'where n <> 2')}")
    with pytest.raises(duckdb.ConversionException):
        statement.run(pa.table({"s": ["1", "x"], "n": [1, 2]}))


def test_a_name_is_quoted_whatever_it_holds() -> None:
    rows = pa.table({'a "b"; drop': [1]})
    session = Session(BUDGET)
    session.register(rows)
    assert session.fetch(select([quoted('a "b"; drop')])).num_rows == 1
    assert INPUT not in quoted("x")
