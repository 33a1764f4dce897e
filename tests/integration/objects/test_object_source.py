"""The file source reads objects as it reads files: by ranges, in order, from any position, of one version."""

from __future__ import annotations

import gzip
import io

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.objects import SECRET
from tests.unit.connectors.test_file_source import OPENED, csv_text, read, source

from dataflare.connectors.file.stores import Stores
from dataflare.errors import DataError, UnavailableError
from dataflare.testing.source_suite import SourceSuite, plain
from dataflare.testing.stage import batches_of, splits_of


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


class TestCsvObjects(SourceSuite):
    @pytest.fixture(autouse=True)
    def objects(self, bucket, tmp_path):
        self.bucket, self.path = bucket, tmp_path
        bucket.put("in/a.csv", csv_text(200))
        bucket.put("in/b.csv", csv_text(3, 2))

    def new(self, **changes):
        path = self.bucket.path("in/*.csv")
        return source(self.path, path=path, split_bytes=1500, s3=self.bucket.settings, context=changes)


class TestPackedObjects(SourceSuite):
    @pytest.fixture(autouse=True)
    def objects(self, bucket, tmp_path):
        self.bucket, self.path = bucket, tmp_path
        bucket.put("a.jsonl.gz", gzip.compress("".join(f'{{"id":{n}}}\n' for n in range(300)).encode()))

    def new(self, **changes):
        path = self.bucket.path("a.jsonl.gz")
        return source(self.path, path=path, split_bytes=1000, s3=self.bucket.settings, context=changes)


def parquet_bytes(rows, group):
    made = io.BytesIO()
    pq.write_table(rows, made, row_group_size=group)
    return made.getvalue()


class TestParquetObjects(SourceSuite):
    @pytest.fixture(autouse=True)
    def objects(self, bucket, tmp_path):
        self.bucket, self.path = bucket, tmp_path
        bucket.put("a.parquet", parquet_bytes(pa.table({"id": range(1000), "name": ["n"] * 1000}), 100))

    def new(self, **changes):
        path = self.bucket.path("*.parquet")
        return source(self.path, path=path, split_bytes=1500, s3=self.bucket.settings, context=changes)


def names(made):
    return [e.name for e in Stores(made.context, made.config.s3).behind(made.config, allow_empty=False)]


def test_only_the_ranges_that_are_left_are_read_again(bucket, tmp_path):
    text = csv_text(9000)
    bucket.put("big.csv", text)
    path, size = bucket.path("big.csv"), len(text.encode())
    splits = list(splits_of(source(tmp_path, path=path, split_bytes=size // 4, s3=bucket.settings)))
    assert len(splits) >= 3
    rest = source(tmp_path, path=path, split_bytes=size // 4, s3=bucket.settings)
    for split in splits_of(rest, plain(splits[1].resume)):
        list(batches_of(rest, split))
    assert rest.bytes_read == size - splits[1].data["end"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("in", ["in/a.csv", "in/b b+%.csv"]),
        ("in/", ["in/a.csv", "in/b b+%.csv"]),
        ("in/*.csv", ["in/a.csv", "in/b b+%.csv"]),
        ("in/b*.csv", ["in/b b+%.csv"]),
        ("**/*.csv", ["in-2/c.csv", "in/a.csv", "in/b b+%.csv", "in/sub/d.csv"]),
        ("in*/[ac].csv", ["in-2/c.csv", "in/a.csv"]),
        ("in/**", ["in/a.csv", "in/b b+%.csv", "in/notes.md", "in/sub/d.csv"]),
        ("in/a.csv", ["in/a.csv"]),
    ],
)
def test_globs_and_folders_are_those_of_the_file_system_and_any_tail_of_them(bucket, tmp_path, path, expected):
    keys = ["in/a.csv", "in/b b+%.csv", "in/sub/d.csv", "in/.hidden/e.csv", "in/.f.csv", "in-2/c.csv", "in/notes.md"]
    for key in keys:
        bucket.put(key, "id\n1\n")
        local = tmp_path / "disk" / key
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text("id\n1\n")
    columns = {"id": "int64"}
    assert names(source(tmp_path / "disk", path=path, columns=columns)) == expected
    made = source(tmp_path, path=bucket.path(path), s3=bucket.settings, columns=columns)
    stores, urls = Stores(made.context, made.config.s3), [bucket.path(key) for key in expected]
    found = names(made)
    assert found == urls
    for number, name in enumerate(found):
        assert [e.name for e in stores.behind(made.config, allow_empty=True, after=name)] == urls[number + 1 :]


def test_more_objects_than_a_page_holds_are_listed_in_order(bucket, tmp_path):
    for number in range(1100):
        bucket.put(f"many/{number:05}.jsonl", "")
    made = source(tmp_path, path=bucket.path("many/*.jsonl"), s3=bucket.settings, columns={"id": "int64"})
    assert names(made) == [bucket.path(f"many/{n:05}.jsonl") for n in range(1100)]


def test_an_object_that_was_replaced_is_not_read_on(bucket, tmp_path):
    bucket.put("a.csv", csv_text(9000))
    one = source(tmp_path, path=bucket.path("a.csv"), split_bytes=70_000, s3=bucket.settings)
    first, second, *_ = splits_of(one)
    list(batches_of(one, first))
    bucket.put("a.csv", csv_text(9000, seed=2))
    with pytest.raises(DataError, match="replaced"):  # the same open object
        list(batches_of(one, second))
    with pytest.raises(DataError, match="replaced"):  # a resume
        list(splits_of(source(tmp_path, path=bucket.path("a.csv"), s3=bucket.settings), plain(first.resume)))


def test_incremental_runs_read_new_and_replaced_objects_once(bucket, tmp_path):
    def run(since):
        told = {"path": bucket.path("*.csv"), "s3": bucket.settings, "columns": {"id": "int64"}}
        one = source(tmp_path, context={"mode": "incremental"}, **told)
        splits = list(splits_of(one, since))
        rows = [r for s in splits for b in batches_of(one, s) for r in b.rows["id"].to_pylist()]
        return rows, plain(splits[-1].resume) if splits else since

    bucket.put("b.csv", "id\n1\n")
    rows, since = run(None)
    assert rows == [1]
    assert run(since) == ([], since)
    bucket.put("a.csv", "id\n2\n")
    rows, since = run(since)
    assert rows == [2]
    bucket.put("b.csv", "id\n1\n3\n")
    rows, since = run(since)
    assert rows == [1, 3]
    assert run(since)[0] == []


def test_what_is_not_there_is_said_with_the_cure(bucket, tmp_path):
    def told(path, **more):
        return source(tmp_path, path=path, s3={**bucket.settings, **more}, columns={"id": "int64"})

    with pytest.raises(UnavailableError, match=r"no object matches s3://.*x\*\.csv"):
        told(bucket.path("x*.csv")).check()
    with pytest.raises(UnavailableError, match="no object s3://"):
        told(bucket.path("x.csv")).check()
    with pytest.raises(UnavailableError, match="no such bucket"):
        told("s3://t-not-there/*.csv").check()
    with pytest.raises(UnavailableError, match="names no bucket"):
        told("s3:///*.csv").check()
    assert SECRET not in repr(told(bucket.path("x.csv")).config)


def test_an_empty_object_has_no_rows(bucket, tmp_path):
    bucket.put("a.jsonl", "")
    assert read(source(tmp_path, path=bucket.path("a.jsonl"), s3=bucket.settings, columns={"id": "int64"})) == {"": []}


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_many_small_objects_are_asked_for_at_once(bucket, tmp_path, monkeypatch, mode):
    for number in range(100):
        bucket.put(f"in/{number:03}.csv", f"id\n{number}\n" if number % 9 else "id\n")
    bucket.put("in/empty.csv", "")
    one = source(
        tmp_path, path=bucket.path("in/*.csv"), s3=bucket.settings, columns={"id": "int64"}, context={"mode": mode}
    )
    (split,) = splits_of(one)
    asked = []
    get = obstore.get
    monkeypatch.setattr(obstore, "get", lambda *a, **more: asked.append(a[1]) or get(*a, **more))
    (batch,) = batches_of(one, split)
    assert batch.rows["id"].to_pylist() == [n for n in range(100) if n % 9]
    assert {*asked} == {"in/empty.csv"}, "the others came along"
