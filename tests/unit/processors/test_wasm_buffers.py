"""Rows as buffers: what is written is what Arrow has, wherever it begins, and nothing that comes back is believed."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.errors import DataError, WorkflowError
from dataflare.processors.wasm_buffers import BUFFERS, Arrays, UnfitError, refuse_others
from dataflare.schema import Column, Schema

KINDS = {
    "bool": st.booleans(),
    "int8": st.integers(-128, 127),
    "uint16": st.integers(0, 65535),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "decimal(30,4)": st.decimals(-(10**20), 10**20, places=4).map(
        lambda d: d if isinstance(d, Decimal) else Decimal(d)
    ),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "binary": st.binary(max_size=5),
    "date": st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_part_of_a_column_comes_back_as_it_was(kind: str, data: st.DataObject) -> None:
    schema = Schema.of({"v": kind})
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=40))
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    cut = data.draw(st.integers(0, len(values)))
    halves = [pa.array(half, schema.to_arrow().field(0).type) for half in (values[:cut], values[cut:])]
    rows = pa.Table.from_arrays([pa.chunked_array(halves)], schema=schema.to_arrow()).slice(start, stop - start)
    arrays = Arrays(schema)
    written = [[bytes(part) for part in column] for column in arrays.written(rows, BUFFERS)]
    found, unfit = arrays.read((rows.num_rows, written), BUFFERS, schema)
    assert found.equals(rows)
    assert not unfit


def test_what_is_written_begins_at_the_first_row() -> None:
    schema = Schema.of({"b": "bool", "n": "int32", "s": "string"})
    rows = pa.table({"b": [False] * 3 + [True, None], "n": range(5), "s": ["aa", None, "b", "cc", "d"]})
    written = Arrays(schema).written(rows.cast(schema.to_arrow()).slice(3), BUFFERS)
    (valid, none, bits), (all_valid, _, numbers), (_, offsets, letters) = written
    assert (bytes(valid)[0] & 3, bytes(none), bytes(bits)[0] & 1) == (1, b"", 1)
    assert (bytes(all_valid), struct.unpack("<2i", numbers)) == (b"", (3, 4))
    assert (struct.unpack("<3i", offsets), bytes(letters)) == ((0, 2, 3), b"ccd")


def test_columns_are_cast_to_what_the_plugin_wants() -> None:
    arrays = Arrays(Schema.of({"n": "int8"}))
    assert bytes(arrays.written(pa.table({"n": [1, 2]}), BUFFERS)[0][2]) == b"\x01\x02"
    with pytest.raises(UnfitError, match="'n' is int64 in the data and does not fit int8"):
        arrays.written(pa.table({"n": [1, 200]}), BUFFERS)


def offsets(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


@pytest.mark.parametrize(
    ("kind", "buffers", "what"),
    [
        ("int64", (b"", b"", b"\0" * 15), "too few values of column 'v' for 2 rows"),
        ("bool", (b"", b"", b""), "too few values"),
        ("int8", (b"", b"", b"ab"), None),
        ("timestamp", (b"\1" * 0, b"", b"\0" * 8), "too few values"),
        ("string", (b"", offsets(0, 1), b"ab"), "2 offsets of 'v' for 2 rows"),
        ("string", (b"", offsets(0, 1, 3), b"ab"), "is no string"),
        ("string", (b"", offsets(0, 2, 1), b"ab"), "is no string"),
        ("string", (b"", offsets(-1, 0, 1), b"ab"), "is no string"),
        ("string", (b"", offsets(0, 1, 2), b"\xff\xfe"), "is no string"),
        ("decimal(3,0)", (b"", b"", b"\xff" * 15 + b"\x7f" + b"\0" * 16), "is no decimal"),
    ],
)
def test_what_a_plugin_returns_is_looked_at(kind: str, buffers: tuple[bytes, ...], what: str | None) -> None:
    schema = Schema.of({"v": kind})
    if what is None:
        assert Arrays(schema).read((2, [buffers]), BUFFERS, schema)[0].num_rows == 2
        return
    with pytest.raises(DataError, match=what):
        Arrays(schema).read((2, [buffers]), BUFFERS, schema)


def test_a_validity_that_is_too_short_and_columns_too_many_are_refused() -> None:
    schema = Schema.of({"v": "int8"})
    with pytest.raises(DataError, match="too few"):
        Arrays(schema).read((9, [(b"\xff", b"", b"\0" * 9)]), BUFFERS, schema)
    with pytest.raises(DataError, match="returned 2 columns for the 1"):
        Arrays(schema).read((1, [(b"", b"", b"1")] * 2), BUFFERS, schema)


def test_rows_with_a_null_where_none_may_be_do_not_fit() -> None:
    schema = Schema((Column("v", "int8", nullable=False), Column("w", "int8")))
    buffers = [(b"\x05", b"", b"abc"), (b"\x03", b"", b"def")]
    found, unfit = Arrays(schema).read((3, buffers), BUFFERS, schema)
    assert found.to_pylist() == [{"v": 97, "w": 100}, {"v": 99, "w": None}]
    assert unfit == {1: "column 'v' is null, and may not be"}


def test_columns_without_such_buffers_are_refused_by_name() -> None:
    refuse_others(Schema.of(dict.fromkeys(map(str, KINDS), "string")), "p.wasm")
    with pytest.raises(WorkflowError, match=r"column 'tags' of type list<string> has none") as caught:
        refuse_others(Schema.of({"id": "int64", "tags": "list<string>"}), "p.wasm")
    assert "columns" in str(caught.value.hint)


def test_time_of_day_and_intervals_cross_as_numbers() -> None:
    schema = Schema.of({"t": "time"})
    rows = pa.table(
        {"t": pa.array([timedelta(hours=1) // timedelta(microseconds=1)], pa.int64()).cast(pa.time64("us"))}
    )
    (column,) = Arrays(schema).written(rows.cast(schema.to_arrow()), BUFFERS)
    assert struct.unpack("<q", column[2]) == (3_600_000_000,)
