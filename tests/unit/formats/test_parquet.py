"""Parquet: encodings by what the rows are like, row groups, fitting to the plan."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflare.component.judging import Judge
from dataflare.errors import DataError
from dataflare.formats.container import infer
from dataflare.formats.parquet.encode import ParquetEncoder, ParquetOptions
from dataflare.schema import Schema


def encode(*tables, metadata=None, **settings):
    sink = io.BytesIO()
    encoder = ParquetEncoder(sink, tables[0].schema, ParquetOptions(**settings), metadata=metadata)
    for table in tables:
        encoder.write(table)
    encoder.finish()
    return pq.ParquetFile(pa.BufferReader(sink.getvalue()))


def encodings(file):
    group = file.metadata.row_group(0)
    return {group.column(c).path_in_schema: set(group.column(c).encodings) for c in range(group.num_columns)}


def test_dictionaries_are_for_columns_of_few_values():
    rows = pa.table({"few": ["a", "b"] * 5000, "many": [f"v{n}" for n in range(10_000)], "n": range(10_000)})
    found = encodings(encode(rows))
    assert "RLE_DICTIONARY" in found["few"]
    assert "RLE_DICTIONARY" not in found["many"]
    assert "DELTA_BINARY_PACKED" in found["n"]


def test_few_rows_say_nothing_about_a_column():
    assert "RLE_DICTIONARY" not in encodings(encode(pa.table({"few": ["a"] * 10})))["few"]


def test_small_batches_share_a_row_group_and_large_ones_are_cut():
    part = pa.table({"n": range(10)})
    file = encode(*[part] * 10, group_rows=40)
    assert [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)] == [40, 40, 20]
    file = encode(pa.table({"n": range(100)}), group_rows=30)
    assert [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)] == [30, 30, 30, 10]


def test_a_file_without_rows_has_its_columns():
    file = encode(pa.table({"n": pa.array([], pa.int64())}), metadata={"made_by": "test"})
    assert file.read().num_rows == 0
    assert file.metadata.metadata[b"made_by"] == b"test"


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_compression_is_what_was_asked(compression):
    file = encode(pa.table({"n": [1]}), compression=compression)
    found = file.metadata.row_group(0).column(0).compression
    assert found == {"zstd": "ZSTD", "snappy": "SNAPPY", "none": "UNCOMPRESSED"}[compression]
    assert file.read()["n"].to_pylist() == [1]


def test_nested_columns_are_written():
    rows = pa.table({"l": [[1, 2]] * 2000, "s": [{"a": "x", "b": [1.5]}] * 2000})
    assert encode(rows).read().equals(rows)


def test_rows_are_fitted_to_the_plan():
    rows = pa.table({
        "i": pa.array([1], pa.int16()), "s": pa.array(["x"], pa.large_string()),
        "at": pa.array([1001], pa.timestamp("ns", "UTC")),
        "d": pa.array(["v"]).dictionary_encode(), "extra": [1],
    })  # fmt: skip
    schema = Schema.of({"d": "string", "i": "int64", "s": "string", "at": "timestamp", "absent": "date"})
    found = Judge(schema, "evolve", "file", "f").fitted(rows)
    assert found.schema == schema.to_arrow()
    assert found["at"].cast(pa.int64()).to_pylist() == [1]
    assert str(infer(rows.schema)) == "i int16, s string, at timestamp, d string, extra int64"
    with pytest.raises(DataError, match="f: column 's' is large_string in this file"):
        Judge(Schema.of({"s": "int64"}), "evolve", "file", "f").fitted(rows)
