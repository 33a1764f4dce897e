"""The file source: splits, resumes, bad input, incremental runs."""

from __future__ import annotations

import gzip
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.testing.source_suite import SourceSuite, plain, rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

OPENED: list[FileSource] = []


def csv_records(rows: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    texts = ["plain", "", '"a, b"', '"line\nend"', '"with ""quotes"""', "5 inch", "ünï"]
    return [f"{n},{chance.choice(texts)},{chance.random():.3f}\n" for n in range(rows)]


def csv_text(rows: int, seed: int = 1) -> str:
    return "id,text,score\n" + "".join(csv_records(rows, seed))


def read(source, since=None):
    return rows_of(b for s in splits_of(source, since) for b in batches_of(source, s))


def source(tmp_path, events=None, **config):
    changes = config.pop("context", {})
    made = FileSource(FileSourceConfig(**config))
    OPENED.append(made)
    return staged(made, tmp_path, events, **changes)


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


class TestCsvFiles(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        (tmp_path / "a.csv").write_text(csv_text(200))
        (tmp_path / "b.csv").write_text(csv_text(3, 2))

    def new(self, **changes):
        return source(self.path, path="*.csv", split_bytes=500, context=changes)


class TestBadCsvFiles(TestCsvFiles):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        records = csv_records(200)
        records[20:20] = ["x,y,1\n", "1,2\n"]
        records[90:90] = ["7,z,1,9\n"]
        (tmp_path / "a.csv").write_text("id,text,score\n" + "".join(records))

    def new(self, **changes):
        columns = {"id": "int64", "text": "string", "score": "float64"}
        return source(
            self.path, path="*.csv", split_bytes=500, columns=columns, context={"on_error": "dead_letter", **changes}
        )

    def test_good_and_bad_rows_add_up(self):
        rows = self._all()
        assert [r["id"] for r in rows[""]] == list(range(200))
        assert [r["raw"] for r in rows["errors"]] == ["x,y,1", "1,2", "7,z,1,9"]


class TestGzippedJsonLines(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        lines = "".join(f'{{"id":{n},"o":{{"x":{n}}},"l":[{n}]}}\n' for n in range(300))
        half = gzip.compress(lines[:4000].encode()) + gzip.compress(lines[4000:].encode())
        (tmp_path / "a.jsonl.gz").write_bytes(half)

    def new(self, **changes):
        return source(self.path, path="a.jsonl.gz", split_bytes=1000, context=changes)


class TestParquetFiles(SourceSuite):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        rows = pa.table({"id": range(1000), "name": [f"n{n}" for n in range(1000)]})
        pq.write_table(rows, tmp_path / "a.parquet", row_group_size=100)
        pq.write_table(rows.slice(0, 7), tmp_path / "b.parquet")

    def new(self, **changes):
        return source(self.path, path="*.parquet", split_bytes=2000, context=changes)


def test_a_large_row_group_is_read_in_parts_that_resume(tmp_path):
    from dataflare.component import Budget

    rows = pa.table({"id": range(100_000), "blob": [os.urandom(200).hex() for _ in range(100_000)]})
    pq.write_table(rows, tmp_path / "a.parquet")
    one = source(tmp_path, path="a.parquet", context={"budget": Budget(memory_bytes_max=8 << 20)})
    (split,) = splits_of(one)
    batches = list(batches_of(one, split))
    assert len(batches) > 1
    assert pa.concat_tables(b.rows for b in batches)["id"].to_pylist() == list(range(100_000))
    rest = list(batches_of(one, split, plain(batches[0].position)))
    assert sum(b.num_rows for b in rest) == 100_000 - batches[0].num_rows


@pytest.mark.parametrize("split_bytes", [1, 7, 64, 1000, 1 << 20])
def test_rows_do_not_depend_on_how_the_file_is_split(tmp_path, split_bytes):
    (tmp_path / "a.csv").write_text(csv_text(60))
    one = source(tmp_path, path="a.csv", split_bytes=split_bytes)
    assert [r["id"] for r in read(one)[""]] == list(range(60))
    assert read(one) == read(source(tmp_path, path="a.csv"))


def test_only_what_is_left_is_read_again(tmp_path):
    (tmp_path / "a.csv").write_text(csv_text(5000))
    size = (tmp_path / "a.csv").stat().st_size
    first = source(tmp_path, path="a.csv", split_bytes=size // 4)
    splits = list(splits_of(first))
    assert len(splits) >= 3
    for split in splits:
        list(batches_of(first, split))
    header = len("id,text,score\n")
    assert first.bytes_read == size - header
    second = source(tmp_path, path="a.csv", split_bytes=size // 4)
    for split in splits_of(second, plain(splits[1].resume)):
        list(batches_of(second, split))
    assert second.bytes_read == size - splits[1].data["end"]


def test_a_bad_row_fails_the_run_with_file_and_line(tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,"two\nlines"\nx,y\n')
    one = source(tmp_path, path="a.csv", columns={"id": "int64", "text": "string"})
    with pytest.raises(DataError) as caught:
        read(one)
    assert (caught.value.place.file, caught.value.place.line) == ("a.csv", 4)
    assert "'id' is not int64" in caught.value.what
    assert "x" not in caught.value.what.replace("text", "")


def test_the_line_is_right_in_a_later_split(tmp_path):
    lines = ["id\n", *(f"{n}\n" for n in range(500))]
    lines[400] = "oops\n"
    (tmp_path / "a.csv").write_text("".join(lines))
    one = source(tmp_path, path="a.csv", columns={"id": "int64"}, split_bytes=100, context={"on_error": "dead_letter"})
    assert read(one)["errors"] == [{"error": "column 'id' is not int64", "file": "a.csv", "line": 401, "raw": "oops"}]


def test_columns_are_matched_by_name_in_any_order(tmp_path):
    (tmp_path / "a.csv").write_text("id,name\n1,x\n")
    (tmp_path / "b.csv").write_text("extra,name,id\n9,y,2\n")
    (tmp_path / "c.csv").write_text("id\n3\n")
    events = []
    one = source(tmp_path, events, path="*.csv", columns={"id": "int64", "name": "string"})
    assert read(one)[""] == [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}, {"id": 3, "name": None}]
    assert [e.code for e in events] == ["file.missing_columns"]
    events = []
    one = source(tmp_path, events, path="*.csv", context={"schemas": one.context.schemas})
    assert len(read(one)[""]) == 3
    assert {e.code for e in events} == {"file.extra_columns", "file.missing_columns"}
    strict = source(tmp_path, path="*.csv", columns={"id": "int64", "name": "string"}, extra_columns="error")
    with pytest.raises(DataError, match="'extra'"):
        read(strict)
    strict = source(tmp_path, path="*.csv", columns={"id": "int64", "name": "string"}, missing_columns="error")
    with pytest.raises(DataError, match="lacks 'name'"):
        read(strict)


def test_types_are_guessed_and_zip_codes_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text(
        "zip,n,f,b,d,ts,dt,s,e\n01234,1,1.5,true,2025-01-01,2025-01-01T00:00:00Z,2025-01-01 00:00:00,x,\n"
    )
    schema = source(tmp_path, path="a.csv").context.schemas[""]
    assert {c.name: c.type for c in schema} == {
        "zip": "string", "n": "int64", "f": "float64", "b": "bool", "d": "date", "ts": "timestamp",
        "dt": "datetime", "s": "string", "e": "string",
    }  # fmt: skip


def test_a_type_that_changes_in_a_later_file_is_told_by_file_and_line(tmp_path):
    (tmp_path / "a.csv").write_text("n\n" + "1\n" * 10)
    (tmp_path / "b.csv").write_text("n\n1\n2.5\n")
    schema = source(tmp_path, path="a.csv").context.schemas
    one = source(tmp_path, path="*.csv", context={"schemas": schema})
    with pytest.raises(DataError) as caught:
        read(one)
    assert (caught.value.place.file, caught.value.place.line) == ("b.csv", 3)


def test_guesses_are_widened_over_files(tmp_path):
    (tmp_path / "a.csv").write_text("n\n1\n")
    (tmp_path / "b.csv").write_text("n,m\n2.5,x\n")
    one = source(tmp_path, path="*.csv")
    assert str(one.context.schemas[""]) == "n float64, m string"
    assert read(one)[""] == [{"n": 1.0, "m": None}, {"n": 2.5, "m": "x"}]


def test_a_file_without_header_has_numbered_or_declared_columns(tmp_path):
    (tmp_path / "a.csv").write_text("1;x\n2;y\n")
    one = source(tmp_path, path="a.csv", header=False, delimiter=";")
    assert read(one)[""] == [{"column_1": 1, "column_2": "x"}, {"column_1": 2, "column_2": "y"}]
    one = source(tmp_path, path="a.csv", header=False, delimiter=";", columns={"id": "int64", "name": "string"})
    assert read(one)[""][1] == {"id": 2, "name": "y"}


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16", "utf-16-le"])
def test_other_encodings_are_recoded(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(csv_text(50).encode(encoding))
    one = source(tmp_path, path="a.csv", encoding=encoding, split_bytes=300)
    assert read(one)[""] == read(_utf8(tmp_path))[""]


def _utf8(tmp_path):
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "a.csv").write_text(csv_text(50))
    return source(tmp_path / "u", path="a.csv")


def test_bytes_of_another_encoding_are_a_bad_row(tmp_path):
    (tmp_path / "a.csv").write_bytes("id,s\n1,ok\n2,ü\n".encode("latin-1"))
    one = source(tmp_path, path="a.csv", columns={"id": "int64", "s": "string"}, context={"on_error": "skip"})
    rows = read(one)
    assert rows[""] == [{"id": 1, "s": "ok"}]
    assert rows["errors"][0] == {
        "error": "column 's' is not valid UTF-8", "file": "a.csv", "line": 3, "raw": "2,\\xfc"
    }  # fmt: skip


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path):
    lines = [f"{n},t\n" for n in range(300)]
    lines[100] = '100,"open\n'
    (tmp_path / "a.csv").write_text("id,s\n" + "".join(lines))
    one = source(
        tmp_path, path="a.csv", columns={"id": "int64", "s": "string"}, split_bytes=200, context={"on_error": "skip"}
    )
    rows = read(one)
    assert [r["id"] for r in rows[""]] == [n for n in range(300) if n != 100]
    assert [(r["line"], r["raw"]) for r in rows["errors"]] == [(102, '100,"open')]


def test_a_stray_quote_inside_a_field_is_text(tmp_path):
    lines = [f'{n},5" disk\n' for n in range(300)]
    (tmp_path / "a.csv").write_text("id,s\n" + "".join(lines))
    one = source(tmp_path, path="a.csv", split_bytes=200)
    assert read(one)[""] == [{"id": n, "s": '5" disk'} for n in range(300)]


def test_empty_files_have_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_text("id\n")
    (tmp_path / "c.csv").write_text("id\n1")
    (tmp_path / "d.jsonl").write_text("")
    one = source(tmp_path, path="*.csv", columns={"id": "int64"})
    assert read(one)[""] == [{"id": 1}]
    assert read(source(tmp_path, path="d.jsonl", columns={"id": "int64"}))[""] == []
    with pytest.raises(DataError, match="declare"):
        source(tmp_path, path="d.jsonl")


def test_missing_files_are_told_with_the_cure(tmp_path):
    with pytest.raises(UnavailableError, match="there is no file"):
        source(tmp_path, path="none.csv")
    with pytest.raises(UnavailableError, match="no file matches"):
        source(tmp_path, path="*.csv")
    empty = source(tmp_path, path="*.csv", allow_empty=True, columns={"id": "int64"})
    assert read(empty)[""] == []
    (tmp_path / "data").write_text("id\n1\n")
    with pytest.raises(WorkflowError, match="add format"):
        source(tmp_path, path="data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(UnavailableError, match="permission"):
        source(tmp_path, path="a.csv")


def test_broken_gzip_and_parquet_are_told(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"id":1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="cut off"):
        read(source(tmp_path, path="a.jsonl.gz", columns={"id": "int64"}))
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="gzip"):
        read(source(tmp_path, path="b.jsonl.gz", columns={"id": "int64"}))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="not a Parquet file"):
        read(source(tmp_path, path="c.parquet", columns={"id": "int64"}))


def test_a_file_that_became_shorter_is_told(tmp_path):
    (tmp_path / "a.csv").write_text("id\n" + "1\n" * 1000)
    one = source(tmp_path, path="a.csv", split_bytes=500)
    splits = list(splits_of(one))
    os.truncate(tmp_path / "a.csv", 600)
    with pytest.raises(DataError, match="shorter"):
        list(batches_of(one, splits[-1]))


def test_parquet_columns_are_fitted_to_the_plan(tmp_path):
    pq.write_table(pa.table({"id": pa.array([1], pa.int32()), "x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array([2], pa.int64())}), tmp_path / "b.parquet")
    one = source(tmp_path, path="*.parquet")
    assert read(one)[""] == [{"id": 1, "x": 1}, {"id": 2, "x": None}]
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="'id' is string here"):
        source(tmp_path, path="*.parquet")
    with pytest.raises(DataError, match="not all of it fits"):
        read(source(tmp_path, path="c.parquet", columns={"id": "int64"}))


# ---- incremental ----------------------------------------------------------------------------------------------------


def incremental(tmp_path, since=None, events=None, path="*.csv", **config):
    one = source(tmp_path, events, path=path, split_bytes=50, context={"mode": "incremental"}, **config)
    splits = list(splits_of(one, plain(since) if since else None))
    rows = rows_of(b for s in splits for b in batches_of(one, s))
    return rows[""], splits[-1].resume if splits else since


def test_the_next_run_reads_new_files_and_what_was_appended(tmp_path):
    (tmp_path / "a.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(100)))
    rows, since = incremental(tmp_path)
    assert [r["id"] for r in rows] == list(range(100))
    assert incremental(tmp_path, since)[0] == []
    with (tmp_path / "a.csv").open("a") as file:
        file.write("100\n101\n")
    (tmp_path / "0.csv").write_text("id\n7\n")
    (tmp_path / "z.csv").write_text("")
    rows, since = incremental(tmp_path, since)
    assert [r["id"] for r in rows] == [7, 100, 101]
    assert incremental(tmp_path, since)[0] == []
    (tmp_path / "zz.csv").write_text("id\n8\n")
    rows, since = incremental(tmp_path, since)
    assert [r["id"] for r in rows] == [8]


def test_a_pass_that_was_broken_off_goes_on_where_it_stood(tmp_path):
    (tmp_path / "a.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(100)))
    (tmp_path / "b.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(100, 150)))
    one = source(tmp_path, path="*.csv", split_bytes=50, context={"mode": "incremental"})
    splits = list(splits_of(one))
    for number, split in enumerate(splits):
        rest = [s.id for s in splits_of(one, plain(split.resume))]
        assert rest == [s.id for s in splits[number + 1 :]]
    with (tmp_path / "b.csv").open("a") as file:
        file.write("150\n")
    rest = rows_of(b for s in splits_of(one, plain(splits[2].resume)) for b in batches_of(one, s))
    assert rest[""][-1] == {"id": 149}, "what came after the listing is of the next run"
    assert incremental(tmp_path, splits[-1].resume)[0] == [{"id": 150}]


def test_touched_files_are_not_read_again_and_replaced_ones_are(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n2\n")
    _, since = incremental(tmp_path)
    os.utime(tmp_path / "a.csv", ns=(1, 1))
    assert incremental(tmp_path, since)[0] == []
    (tmp_path / "a.csv").write_text("id\n5\n6\n7\n")
    events = []
    rows, since = incremental(tmp_path, since, events)
    assert [r["id"] for r in rows] == [5, 6, 7]
    assert [e.code for e in events] == ["file.replaced"]
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert incremental(tmp_path, since)[0] == [{"id": 1}]


def test_a_record_that_grew_after_it_was_read_is_told(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n2")
    rows, since = incremental(tmp_path)
    assert [r["id"] for r in rows] == [1, 2]
    with (tmp_path / "a.csv").open("a") as file:
        file.write("3\n4\n")
    with pytest.raises(DataError, match="in the middle"):
        incremental(tmp_path, since)
    (tmp_path / "a.csv").write_text("id\n1\n2\n3\n")
    assert incremental(tmp_path, since)[0] == [{"id": 3}]


def test_a_parquet_file_that_changed_is_read_as_a_new_one(tmp_path):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    rows, since = incremental(tmp_path, path="*.parquet")
    assert rows == [{"id": 1}]
    assert incremental(tmp_path, since, path="*.parquet")[0] == []
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "a.parquet")
    assert incremental(tmp_path, since, path="*.parquet")[0] == [{"id": 1}, {"id": 2}]
