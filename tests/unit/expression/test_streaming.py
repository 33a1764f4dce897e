"""Queries over rows that stream: in bounds of memory, and with the errors that they meet on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from dataflare.component import Budget
from dataflare.errors import DataError, StateError, UnavailableError
from dataflare.expression.streaming import Incoming, rows_of, streamed

NUMBERS = pa.schema([("n", pa.int64())])
TEXTS = pa.schema([("t", pa.string())])


def numbers(tables: int, rows: int) -> Iterator[pa.Table]:
    for table in range(tables):
        yield pa.table({"n": pa.arange(table * rows, (table + 1) * rows)})


def asked(sql: str, schema: pa.Schema, tables: Iterable[pa.Table], **inputs: Any) -> list[pa.Table]:
    budget = Budget(memory_bytes_max=64 << 20)
    return list(streamed(budget, {"rows": Incoming(schema, lambda: tables), **inputs}, sql, NUMBERS, 5000))


def test_rows_come_in_order_in_tables_of_a_size() -> None:
    found = asked("select n from rows order by n desc", NUMBERS, numbers(9, 10_000))
    assert max(t.num_rows for t in found) <= 5000
    assert pa.concat_tables(found)["n"].to_pylist() == list(range(90_000 - 1, -1, -1))


def test_more_rows_than_memory_are_sorted_on_disk() -> None:
    made = (t.append_column("pad", pa.array([f"{n:0200}" for n in t["n"].to_pylist()])) for t in numbers(50, 20_000))
    schema = NUMBERS.append(pa.field("pad", pa.string()))
    found = asked("select n from rows order by pad desc", schema, made)
    assert [t["n"][0].as_py() for t in found[:2]] == [999_999, 994_999]
    assert sum(t.num_rows for t in found) == 1_000_000


def test_a_failure_behind_the_rows_is_told_as_it_is() -> None:
    def broken() -> Iterator[pa.Table]:
        yield from numbers(3, 10)
        raise StateError("a segment is torn")

    with pytest.raises(StateError, match="a segment is torn"):
        asked("select n from rows", NUMBERS, broken())


def test_a_value_that_fails_is_told_without_it() -> None:
    secret = pa.table({"t": ["secret"]})
    with pytest.raises(DataError, match="the text is not of type INT64") as caught:
        asked("select cast(t as bigint) as n from rows", TEXTS, [secret])
    assert "secret" not in str(caught.value)


def test_too_little_memory_is_told() -> None:
    made = (pa.table({"t": [f"{n:03}" + "x" * 1_000_000] * 20}) for n in range(20))
    with pytest.raises(UnavailableError, match="no memory left"):
        asked("select length(string_agg(t, '')) as n from rows", TEXTS, made)


def test_tables_of_results_have_a_size() -> None:
    assert rows_of(1000, 16_000) == 1 << 16
    assert rows_of(1000, 1000 << 20) == 1 << 10
    assert rows_of(1 << 20, 2048 << 20) == 4096
