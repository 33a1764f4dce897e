"""JSON documents: read as streams from any record on, whatever stands around them; arrays written."""

from __future__ import annotations

import gzip
import json
from typing import ClassVar

import pyarrow as pa
import pytest
from tests.unit.connectors.test_file_destination import FileSuite
from tests.unit.connectors.test_file_partitions import destination, some, write_all
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.errors import DataError
from dataflare.testing.source_suite import SourceSuite, plain
from dataflare.testing.stage import batches_of, splits_of

ROWS = [{"id": n, "text": f'a "{n}" [', "o": {"x": n, "l": [n, n]}} for n in range(300)]
PAGE = {"meta": {"count": 300, "items": "no"}, "data": {"items": ROWS, "next": None}}


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


class TestAnArray(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        (tmp_path / "a.json").write_text(json.dumps(ROWS))
        (tmp_path / "b.json").write_text(json.dumps(ROWS[:3], indent=2))

    def new(self, **changes):
        return source(self.path, path="*.json", split_bytes=1500, context=changes)


class TestBadRecordsInside(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        rows = [*ROWS[:40], {"id": "many"}, *ROWS[40:], 7, "x"]
        (tmp_path / "a.json").write_text(json.dumps({"meta": PAGE["meta"], "data": {"items": rows}}, indent=1))

    def new(self, **changes):
        return source(
            self.path,
            path="a.json",
            records="data.items",
            columns={"id": "int64", "o": "json"},
            split_bytes=1500,
            context={"on_error": "dead_letter", **changes},
        )


class TestAPackedDocument(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(PAGE).encode()))

    def new(self, **changes):
        return source(self.path, path="a.json.gz", records=["data", "items"], split_bytes=1500, context=changes)


class TestFolderOfArrays(FileSuite):
    config: ClassVar = {"format": "json_array"}


class TestSingleArray(FileSuite):
    path = "out.json"
    config: ClassVar = {"format": "json_array"}
    at_end = True


class TestSinglePackedArray(FileSuite):
    path = "out.json.gz"
    config: ClassVar = {"format": "json_array"}
    at_end = True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),  # lines, as ever
        ('{\n "a": 1\n}\n{\n "a": 2\n}', [{"a": 1}, {"a": 2}]),
        ('\ufeff [{"a": 1},\n{"a": 2}]\n', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}', [{"a": 1}]),
    ],
)
def test_what_a_json_file_is_shows_in_its_beginning(tmp_path, text, expected):
    (tmp_path / "a.json").write_text(text)
    assert read(source(tmp_path, path="a.json"))[""] == expected


def test_one_object_under_a_path_is_one_record(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"data": {"id": 5}, "data2": {"id": 6}}))
    one = source(tmp_path, path="a.json", records="data")
    assert read(one)[""] == [{"id": 5}]
    (split,) = splits_of(one)
    (batch,) = batches_of(one, split)
    assert list(batches_of(one, split, plain(batch.position))) == []


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_documents_in_other_encodings(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes(json.dumps([{"a": "ü"}] * 50, ensure_ascii=False).encode(encoding))
    one = source(tmp_path, path="a.json", encoding=encoding, format="json_array", split_bytes=100)
    assert read(one)[""] == [{"a": "ü"}] * 50


def test_a_resume_in_a_plain_document_reads_what_is_left_and_not_a_byte_more(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(PAGE))
    size = (tmp_path / "a.json").stat().st_size
    one = source(tmp_path, path="a.json", records="data.items", split_bytes=1500)
    (split,) = splits_of(one)
    batches = list(batches_of(one, split))
    assert len(batches) > 5
    again = source(tmp_path, path="a.json", records="data.items", split_bytes=1500)
    position = plain(batches[-2].position)
    assert sum(b.num_rows for b in batches_of(again, split, position)) == batches[-1].num_rows
    assert again.bytes_read == size - position["offset"]


def test_a_bad_record_is_told_with_its_line_and_its_byte(tmp_path):
    text = '{"items": [\n {"a": 1},\n {"a": 2}, {"a": "x"}\n]}'
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.json", "b.json.gz"):
        with pytest.raises(DataError) as caught:
            read(source(tmp_path, path=name, records="items", columns={"a": "int64"}, context={"schemas": {}}))
        assert caught.value.place.line == 3
        at = text.index('{"a": "x"}')
        assert f"the record at byte {at}" in str(caught.value)


def test_what_is_not_there_is_told_with_what_is(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(PAGE))
    with pytest.raises(DataError, match=r"a\.json.*no 'data\.rows': there are 'items', 'next'"):
        read(source(tmp_path, path="a.json", records="data.rows"))
    with pytest.raises(DataError, match="neither an array nor an object"):
        read(source(tmp_path, path="a.json", records="meta.count"))


def test_deep_nesting_is_told_with_its_place(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": ' + "[" * 5000 + "]" * 5000 + "}]")
    with pytest.raises(DataError, match=r"a\.json.*more than 500 deep at byte"):
        read(source(tmp_path, path="a.json", columns={"a": "json"}, context={"schemas": {}}))


def test_a_document_that_is_cut_off_is_told(tmp_path):
    text = json.dumps(ROWS)
    for size in (len(text) - 1, len(text) // 2):
        (tmp_path / "a.json").write_text(text[:size])
        with pytest.raises(DataError, match=r"a\.json.*ends in the middle"):
            read(source(tmp_path, path="a.json", split_bytes=1000))


def test_a_document_that_changed_is_read_anew_and_one_that_did_not_is_not(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(ROWS[:3]))
    one = source(tmp_path, path="a.json", context={"mode": "incremental"})
    splits = list(splits_of(one))
    since = plain(splits[-1].resume)
    assert list(splits_of(source(tmp_path, path="a.json", context={"mode": "incremental"}), since)) == []
    (tmp_path / "a.json").write_text(json.dumps(ROWS[:4]))
    again = source(tmp_path, path="a.json", context={"mode": "incremental"})
    assert len(read(again, since)[""]) == 4


# ---- written --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["o.json", "o.json.gz"])
def test_arrays_are_written_and_appended_to(tmp_path, path):
    made = destination(tmp_path, path, format="json_array", file_rows_max=5)
    write_all(made, some(8))
    write_all(destination(tmp_path, path, format="json_array", changes={"attempt": 2}), some(2), epoch=2)
    data = (tmp_path / path).read_bytes()
    found = json.loads(gzip.decompress(data) if path.endswith(".gz") else data)
    assert [r["id"] for r in found] == [*range(8), 0, 1]
    assert found[1]["land"] == "a/b=c"


def test_an_array_without_elements_is_one(tmp_path):
    write_all(destination(tmp_path, "o.json", format="json_array"), some(0))
    assert json.loads((tmp_path / "o.json").read_text()) == []


def test_rows_appended_to_an_array_of_somebody_else_stand_behind_its_elements(tmp_path):
    (tmp_path / "o.json").write_text(json.dumps([{"id": 1}, {"id": 2, "x": [{}]}], indent=4))
    write_all(destination(tmp_path, "o.json", format="json_array"), pa.table({"id": [3]}))
    assert [r["id"] for r in json.loads((tmp_path / "o.json").read_text())] == [1, 2, 3]
