"""Arrow files and streams: read by record batches, at any of them; written whole."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pytest
from tests.unit.connectors.test_file_destination import FileSuite
from tests.unit.connectors.test_file_partitions import destination, some, write_all
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.component import Budget
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.testing.source_suite import SourceSuite, plain
from dataflare.testing.stage import batches_of, splits_of

WORDS = [pa.array(["a", "b"]), pa.array(["c"])]


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def write(path, tables, make=pa.ipc.new_file, **options):
    with make(str(path), tables[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for table in tables:
            writer.write_table(table)


def numbered(start, count):
    at = pa.array([n * 1_000_000_007 for n in range(start, start + count)], pa.timestamp("us"))
    return pa.table({"id": range(start, start + count), "at": at, "tags": [[f"t{n}"] for n in range(count)]})


def worded(number, count):
    """Return rows whose dictionary is another one each time."""
    words = WORDS[number % 2]
    codes = pa.array([n % len(words) for n in range(count)], pa.int32())
    return pa.table({"word": pa.DictionaryArray.from_arrays(codes, words), "n": range(count)})


class TestArrowFiles(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        write(tmp_path / "a.arrow", [numbered(n * 50, 50) for n in range(12)], compression="zstd")
        write(tmp_path / "b.feather", [numbered(0, 3)], compression="lz4")

    def new(self, **changes):
        return source(self.path, path=["a.arrow", "b.feather"], split_bytes=4000, context=changes)


class TestStreamsWithDictionaries(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        write(tmp_path / "a.arrows", [worded(n, 40) for n in range(9)], pa.ipc.new_stream)

    def new(self, **changes):
        return source(self.path, path="a.arrows", split_bytes=1000, context=changes)


class TestFolderOfArrow(FileSuite):
    config: ClassVar = {"format": "arrow"}


class TestFolderOfStreams(FileSuite):
    config: ClassVar = {"format": "arrow_stream", "compression": "lz4"}


class TestSingleArrow(FileSuite):
    path = "out.feather"
    at_end = True


class TestSingleStream(FileSuite):
    path = "out.arrows"
    at_end = True


def test_dictionaries_that_are_replaced_in_a_stream_are_read_where_they_hold(tmp_path):
    write(tmp_path / "a.arrows", [worded(n, 4) for n in range(4)], pa.ipc.new_stream)
    one = source(tmp_path, path="a.arrows", split_bytes=1)
    splits = list(splits_of(one))
    assert len(splits) == 4
    words = [next(iter(batches_of(one, s))).rows["word"].to_pylist() for s in reversed(splits)]
    assert words == [["c"] * 4, ["a", "b"] * 2] * 2


def test_a_file_whose_dictionary_grows_is_read_from_any_batch(tmp_path):
    grown = [pa.array(["a"]), pa.array(["a", "b"])]
    tables = [pa.table({"w": pa.DictionaryArray.from_arrays(pa.array([n], pa.int32()), grown[n])}) for n in range(2)]
    write(tmp_path / "a.arrow", tables, emit_dictionary_deltas=True)
    one = source(tmp_path, path="a.arrow", split_bytes=1)
    assert [next(iter(batches_of(one, s))).rows.to_pylist() for s in reversed(list(splits_of(one)))] == [
        [{"w": "b"}],
        [{"w": "a"}],
    ]


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    write(tmp_path / "a.arrow", [numbered(0, 4)])
    rows = read(source(tmp_path, path="a.arrow", columns={"id": "int32", "more": "string"}, context={"schemas": {}}))
    assert rows[""] == [{"id": n, "more": None} for n in range(4)]
    rows = read(source(tmp_path, path="a.arrow", columns={"f": "string"}, hive=False, name_column="f",
                       context={"schemas": {}}))  # fmt: skip
    assert rows[""] == [{"f": "a.arrow"}] * 4


def test_a_great_batch_comes_in_parts_that_resume(tmp_path):
    write(tmp_path / "a.arrow", [pa.table({"id": range(1_500_000)})])
    one = source(tmp_path, path="a.arrow", context={"budget": Budget(memory_bytes_max=32 << 20)})
    (split,) = splits_of(one)
    batches = list(batches_of(one, split))
    assert len(batches) == 2
    assert max(b.rows.nbytes for b in batches) <= 8 << 20
    assert [v for b in batches for v in b.rows["id"].to_pylist()] == list(range(1_500_000))
    (rest,) = batches_of(one, split, plain(batches[0].position))
    assert rest.rows["id"][0].as_py() == batches[0].num_rows


@pytest.mark.parametrize(("end", "make"), [("arrow", pa.ipc.new_file), ("arrows", pa.ipc.new_stream)])
def test_a_file_that_is_cut_off_anywhere_gives_whole_batches_or_an_error(tmp_path, end, make):
    tables = [numbered(n * 5, 5) for n in range(3)]
    write(tmp_path / "whole", tables, make)
    data = (tmp_path / "whole").read_bytes()
    told = 0
    for size in range(0, len(data), 23):
        (tmp_path / f"a.{end}").write_bytes(data[:size])
        try:
            rows = read(source(tmp_path, path=f"a.{end}", split_bytes=1, columns={"id": "int64"},
                               context={"schemas": {}})).get("", [])  # fmt: skip
        except DataError as error:
            told += 1
            assert f"a.{end}" in str(error)
        else:
            assert [r["id"] for r in rows] == list(range(len(rows)))
            assert len(rows) % 5 == 0
            assert end == "arrows"
    assert told > len(data) // 23 // 2


def test_what_is_no_arrow_is_named(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"id,name\n1,x\n" * 10)
    (tmp_path / "b.feather").write_bytes(b"FEA1" + bytes(50))
    with pytest.raises(DataError, match=r"a\.arrow.*Arrow"):
        read(source(tmp_path, path="a.arrow"))
    with pytest.raises(DataError, match=r"version 1"):
        read(source(tmp_path, path="b.feather"))
    write(tmp_path / "c.csv", [numbered(0, 3)])
    with pytest.raises(DataError, match=r"an Arrow file"):
        read(source(tmp_path, path="c.csv"))
    with pytest.raises(UnavailableError, match="no file"):
        read(source(tmp_path, path="none.arrow"))


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
@pytest.mark.parametrize("path", ["o.arrow", "o.arrows"])
def test_what_is_written_is_read_by_others(tmp_path, path, compression):
    write_all(destination(tmp_path, path, compression=compression, row_group_rows=5, file_rows_max=8), some())
    make = pa.ipc.open_file if path == "o.arrow" else pa.ipc.open_stream
    with pa.OSFile(str(tmp_path / path)) as file, make(file) as reader:
        assert reader.read_all().to_pylist() == some().to_pylist()


def test_rows_are_appended_to_a_file_that_is_there(tmp_path):
    for attempt in (1, 2):
        made = destination(tmp_path, "o.arrow", changes={"attempt": attempt})
        write_all(made, some(), epoch=attempt)
    assert read(source(tmp_path, path="o.arrow"))[""] == [*some().to_pylist()] * 2


def test_compressions_that_arrow_lacks_are_told(tmp_path):
    with pytest.raises(WorkflowError, match="zstd or lz4"):
        destination(tmp_path, "o.arrow", compression="snappy").open()
