"""Avro files: read from any block, as another library writes them; written so that it reads them."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import ClassVar

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.connectors.test_file_destination import FileSuite
from tests.unit.connectors.test_file_partitions import destination, some, write_all
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.component import Budget
from dataflare.connectors.file.store import OpenFile
from dataflare.errors import DataError, WorkflowError
from dataflare.formats.avro.header import Header, read_header, varint
from dataflare.formats.avro.read import AvroContainer
from dataflare.schema import Schema
from dataflare.testing.source_suite import SourceSuite, plain
from dataflare.testing.stage import batches_of, splits_of

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
FIELDS = [
    ("id", "long", 5, "int64", 5),
    ("small", ["null", "int"], None, "int32", None),
    ("flag", "boolean", True, "bool", True),
    ("x", "double", 1.5, "float64", 1.5),
    ("name", ["string", "null"], "ü", "string", "ü"),
    ("raw", "bytes", b"\0x", "binary", b"\0x"),
    ("four", {"type": "fixed", "name": "four", "size": 4}, b"abcd", "binary", b"abcd"),
    ("kind", {"type": "enum", "name": "kind", "symbols": ["A", "B"]}, "B", "string", "B"),
    ("day", {"type": "int", "logicalType": "date"}, NOON.date(), "date", NOON.date()),
    ("clock", {"type": "int", "logicalType": "time-millis"}, NOON.time(), "time", NOON.time()),
    ("at", {"type": "long", "logicalType": "timestamp-micros"}, NOON, "timestamp", NOON),
    ("ms", {"type": "long", "logicalType": "timestamp-millis"}, NOON, "timestamp", NOON),
    ("local", {"type": "long", "logicalType": "local-timestamp-micros"}, NOON.replace(tzinfo=None), "datetime",
     NOON.replace(tzinfo=None)),
    ("price", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}, decimal.Decimal("1.50"),
     "decimal(12,2)", decimal.Decimal("1.50")),
    ("key", {"type": "string", "logicalType": "uuid"}, uuid.UUID(int=5), "string", str(uuid.UUID(int=5))),
    ("tags", {"type": "array", "items": ["null", "string"]}, ["a", None], "list<string>", ["a", None]),
    ("counts", {"type": "map", "values": "long"}, {"a": 1}, "map<string, int64>", [("a", 1)]),
    ("inner", ["null", {"type": "record", "name": "inner", "fields": [{"name": "y", "type": "int"}]}], {"y": 1},
     "struct<y: int32>", {"y": 1}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def record(*fields):
    return {"type": "record", "name": "row", "fields": [{"name": n, "type": t} for n, t in fields]}


def write(path, schema, rows, **options):
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows, **options)


def numbered(path, count, **options):
    schema = record(("id", "long"), ("name", ["null", "string"]))
    rows = [{"id": n, "name": f"name {n}" if n % 3 else None} for n in range(count)]
    write(path, schema, rows, sync_interval=500, **options)
    return rows


class TestAvroFiles(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        numbered(tmp_path / "a.avro", 1000, codec="deflate")
        numbered(tmp_path / "b.avro", 3)

    def new(self, **changes):
        return source(self.path, path="*.avro", split_bytes=1500, context=changes)


class TestFolderOfAvro(FileSuite):
    config: ClassVar = {"format": "avro"}


class TestSingleAvro(FileSuite):
    path = "out.avro"
    at_end = True


def test_types_and_logical_types_are_columns(tmp_path):
    row = {name: value for name, _, value, _, _ in FIELDS}
    write(tmp_path / "a.avro", record(*((name, kind) for name, kind, *_ in FIELDS)), [row])
    one = source(tmp_path, path="a.avro")
    assert str(one.streams()[""].schema) == ", ".join(f"{name} {text}" for name, _, _, text, _ in FIELDS)
    assert read(one)[""] == [{name: expected for name, _, _, _, expected in FIELDS}]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_files_are_cut_into_splits_at_marks(tmp_path, codec):
    rows = numbered(tmp_path / "a.avro", 2000, codec=codec)
    one = source(tmp_path, path="a.avro", split_bytes=1000)
    splits = list(splits_of(one))
    assert len(splits) > 5
    assert [s.data["end"] for s in splits[:-1]] == [s.data["start"] for s in splits[1:]]
    found = [r for s in reversed(splits) for b in batches_of(one, s) for r in b.rows.to_pylist()]
    assert sorted(found, key=lambda r: r["id"]) == rows
    assert read(one)[""] == rows


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    numbered(tmp_path / "a.avro", 4)
    config = {"columns": {"id": "int32", "more": "string"}, "context": {"schemas": {}}}
    assert read(source(tmp_path, path="a.avro", **config))[""] == [{"id": n, "more": None} for n in range(4)]
    config = {"columns": {"more": "string"}, "context": {"schemas": {"": Schema.of({"more": "string"})}}}
    with pytest.raises(DataError, match="none of the columns"):
        read(source(tmp_path, path="a.avro", **config))
    named = source(tmp_path, path="a.avro", columns={"f": "string"}, name_column="f", context={"schemas": {}})
    assert read(named)[""] == [{"f": "a.avro"}] * 4


def test_what_decodes_to_more_than_fits_comes_in_parts_that_resume(tmp_path):
    write(tmp_path / "a.avro", record(("id", "long"), ("text", "string")),
          [{"id": n, "text": "x" * 1000} for n in range(10_000)], codec="deflate")  # fmt: skip
    one = source(tmp_path, path="a.avro", context={"budget": Budget(memory_bytes_max=8 << 20)})
    (split,) = splits_of(one)
    batches = list(batches_of(one, split))
    assert len(batches) > 3
    rest = list(batches_of(one, split, plain(batches[1].position)))
    assert rest[0].rows["id"][0].as_py() == sum(b.num_rows for b in batches[:2])
    assert sum(b.num_rows for b in rest) == 10_000 - sum(b.num_rows for b in batches[:2])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (["string"], "'f' is a union of string alone"),
        (
            ["null", {"type": "record", "name": "a", "fields": []}, {"type": "record", "name": "m.a", "fields": []}],
            "union of a, a, whose values cannot be told apart",
        ),
        ([{"type": "record", "name": "n", "fields": [{"name": "next", "type": ["int", "n"]}]}, "int"], "holds itself"),
        ({"type": "record", "name": "n", "fields": [{"name": "next", "type": ["null", "n"]}]}, "'f.next' holds itself"),
    ],
)
def test_types_that_are_no_columns_are_named(tmp_path, kind, words):
    write(tmp_path / "a.avro", record(("f", kind)), [])
    with pytest.raises(DataError, match=words):
        read(source(tmp_path, path="a.avro"))


UNIONS = [
    ("u", ["null", "int", "string"], "struct<int: int32, string: string>",
     [(5, {"int": 5}), ("x", {"string": "x"}), (None, None)]),
    ("wide", ["int", "null", "long", "float", "double", "boolean"],
     "struct<long: int64, double: float64, boolean: bool>",
     [(1 << 40, {"long": 1 << 40}), (1.5, {"double": 1.5}), (True, {"boolean": True})]),
    ("only", ["null", "int", "long"], "int64", [(7, 7), (None, None), (1 << 40, 1 << 40)]),
    ("named", [{"type": "record", "name": "point", "fields": [{"name": "x", "type": ["null", "int", "string"]}]},
               {"type": "enum", "name": "ns.colour", "symbols": ["RED"]}, {"type": "fixed", "name": "two", "size": 2}],
     "struct<point: struct<x: struct<int: int32, string: string>>, colour: string, two: binary>",
     [({"x": 1}, {"point": {"x": {"int": 1, "string": None}}}), ("RED", {"colour": "RED"}), (b"ab", {"two": b"ab"})]),
    ("nest", {"type": "array", "items": {"type": "map", "values": ["long", "string"]}},
     "list<map<string, struct<long: int64, string: string>>>",
     [([{"a": 1}], [[("a", {"long": 1, "string": None})]]), ([], []), ([{}], [[]])]),
    ("one", ["null", {"type": "record", "name": "r1", "fields": [{"name": "y", "type": "int"}]}], "struct<y: int32>",
     [({"y": 1}, {"y": 1}), (None, None), ({"y": 2}, {"y": 2})]),
    ("when", [{"type": "long", "logicalType": "timestamp-micros"}, {"type": "int", "logicalType": "date"}, "null"],
     "struct<timestamp: timestamp, date: date>",
     [(NOON, {"timestamp": NOON}), (NOON.date(), {"date": NOON.date()}), (None, None)]),
    *((name, kind, text, [(value, expected)] * 3) for name, kind, value, text, expected in FIELDS if name != "inner"),
]  # fmt: skip


def filled(text, value):
    """Return a value of a union as Arrow has it: the other fields are null."""
    if not (isinstance(value, dict) and text.startswith("struct<")):
        return value
    names = [f.name for f in Schema.of({"v": text}).to_arrow().field(0).type]
    return {**dict.fromkeys(names), **value}


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_union_of_several_types_is_a_struct_with_a_field_for_each(tmp_path, codec):
    rows = [{name: cases[n][0] for name, _, _, cases in UNIONS} for n in range(3)] * 300
    write(tmp_path / "a.avro", record(*((name, kind) for name, kind, *_ in UNIONS)), rows, codec=codec,
          sync_interval=2000)  # fmt: skip
    one = source(tmp_path, path="a.avro", split_bytes=4000)
    assert str(one.streams()[""].schema) == ", ".join(f"{name} {text}" for name, _, text, _ in UNIONS)
    assert len(list(splits_of(one))) > 2
    found = read(one)[""]
    assert len(found) == 900
    for name, _, text, cases in UNIONS:
        assert [r[name] for r in found[:3]] == [filled(text, expected) for _, expected in cases], name
    few = source(tmp_path, path="a.avro", columns={"only": "int64", "more": "string"}, context={"schemas": {}})
    assert read(few)[""][:3] == [{"only": n, "more": None} for n in (7, None, 1 << 40)]


def test_a_block_of_unions_that_is_damaged_is_told(tmp_path):
    write(tmp_path / "a.avro", record(("u", ["int", "string"])), [{"u": "x" * 9}] * 50)
    data = bytearray((tmp_path / "a.avro").read_bytes())
    at = data.index(b"x" * 9) - 2
    data[at] = 0x40  # a branch that is not there
    (tmp_path / "a.avro").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.avro.*(not a sound Avro file|cannot be read)"):
        read(source(tmp_path, path="a.avro"))


def test_files_that_are_no_avro_are_named(tmp_path):
    (tmp_path / "a.avro").write_bytes(b"id\n1\n")
    write(tmp_path / "b.avro", "string", ["x"])
    numbered(tmp_path / "c.csv", 1)
    for name, words in (("a.avro", "begin with Obj"), ("b.avro", "no records"), ("c.csv", "an Avro file")):
        with pytest.raises(DataError, match=words) as caught:
            read(source(tmp_path, path=name))
        assert name in str(caught.value)


def test_a_file_that_is_cut_off_anywhere_is_told(tmp_path):
    numbered(tmp_path / "whole.avro", 60)
    data, told = (tmp_path / "whole.avro").read_bytes(), 0
    header = read_header(Bytes(data)).length
    for size in range(1, len(data), 7):
        (tmp_path / "a.avro").write_bytes(data[:size])
        try:
            rows = read(source(tmp_path, path="a.avro", split_bytes=200))
        except DataError as error:
            assert "a.avro" in str(error)
            told += 1
        else:
            assert size >= header
            assert [r["id"] for r in rows.get("", [])] == list(range(len(rows.get("", []))))
    assert told > len(data) // 7 - 10


def test_a_mark_that_is_damaged_is_told_with_its_place(tmp_path):
    numbered(tmp_path / "a.avro", 200)
    data = bytearray((tmp_path / "a.avro").read_bytes())
    data[-3] ^= 1
    (tmp_path / "a.avro").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.avro: .*block at byte [\d,]+"):
        read(source(tmp_path, path="a.avro"))


class Bytes(OpenFile):
    """A file in memory."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def pread(self, start, end):
        return self.data[start:end]

    def fill(self, buffer, start):
        raise NotImplementedError

    def close(self):
        pass


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_numbers_are_read_as_avro_writes_them(number):
    rest, written = (number << 1) ^ (number >> 63), bytearray()
    while rest >= 0x80:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    assert varint(bytes(written) + b"\xff", 0) == (number, len(written))


def test_a_mark_on_the_edge_of_a_window_is_found():
    sync = bytes(range(16))
    for at in range((64 << 10) - 20, (64 << 10) + 4):
        file = Bytes(b"\xaa" * at + sync + b"\xbb" * 100)
        container = object.__new__(AvroContainer)
        container._file, container._header = file, Header(b"", 4, sync)
        assert container._mark_behind(0) == at + 16


# ---- written --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "none"])
def test_another_library_reads_what_is_written(tmp_path, compression):
    write_all(destination(tmp_path, "o.avro", compression=compression, file_rows_max=5), some())
    with (tmp_path / "o.avro").open("rb") as file:
        reader = fastavro.reader(file)
        assert list(reader) == some().to_pylist()
        assert reader.codec == ("null" if compression == "none" else "deflate")
        assert [f["type"][1] for f in reader.writer_schema["fields"]] == [
            "long", {"type": "int", "logicalType": "date"}, "string",
        ]  # fmt: skip


def test_all_types_come_back(tmp_path):
    types = {name: text for name, *_, text, _ in FIELDS}
    schema = Schema.of(types)
    values = {name: value for name, *_, value in FIELDS}
    rows = pa.Table.from_pylist([values, dict.fromkeys(values)], schema.to_arrow())
    for compression in ("gzip", "zstd", "snappy", "none"):
        write_all(destination(tmp_path, f"{compression}.avro", schema, compression=compression), rows)
        assert read(source(tmp_path, path=f"{compression}.avro"))[""] == rows.to_pylist()


def test_blocks_are_small_enough_to_be_read_side_by_side(tmp_path):
    rows = pa.table({"id": range(100_000), "day": [None] * 100_000, "land": [f"{n}" for n in range(100_000)]})
    write_all(destination(tmp_path, "o.avro"), rows)
    with (tmp_path / "o.avro").open("rb") as file:
        assert max(b.num_records for b in fastavro.block_reader(file)) <= 1 << 14
    assert len(list(splits_of(source(tmp_path, path="o.avro", split_bytes=50_000)))) > 3


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"a b": "int64"}, "'a b': names"), ({"s": 'struct<"a-b": int64>'}, "'a-b': names"),
        ({"l": "list<interval>"}, "interval"), ({"m": "map<int64, string>"}, "keys of a map"),
    ],
)  # fmt: skip
def test_columns_that_avro_cannot_hold_are_told_before_rows_come(tmp_path, types, words):
    schema = Schema.of(types)
    for path in ("o.avro", "o"):
        with pytest.raises(WorkflowError, match=words):
            destination(tmp_path, path, schema, format="avro").open()


def test_numbers_that_avro_cannot_hold_are_told(tmp_path):
    made = destination(tmp_path, "o.avro", Schema.of({"n": "uint64"}))
    with pytest.raises(DataError, match="UInt64"):
        write_all(made, pa.table({"n": pa.array([2**64 - 1], pa.uint64())}))
    made.close()
