"""Many small files are read together: few splits, few batches, a small state, and the same rows."""

from __future__ import annotations

import gzip
import json
import os
import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.errors import DataError
from dataflare.testing.source_suite import SourceSuite, plain
from dataflare.testing.stage import batches_of, splits_of

COLUMNS = {"id": "int64"}


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def filled(folder, count, kind="jsonl", bad=()):
    """Write `count` files of a few rows each, of several sizes; return the ids."""
    chance, ids = random.Random(3), []
    for number in range(count):
        rows = list(range(len(ids), len(ids) + chance.choice([0, 1, 2, 9])))
        ids += rows
        name = folder / f"{number // 100}" / f"{number:05}.{kind}"
        name.parent.mkdir(exist_ok=True)
        if kind == "parquet":
            pq.write_table(pa.table({"id": pa.array(rows, pa.int64())}), name)
        elif kind == "csv":
            name.write_text("id\n" + "".join(f"{n}\n" for n in rows) + ("x\n" if number in bad else ""))
        else:
            text = "".join(f'{{"id":{n}}}\n' for n in rows) + ("oops\n" if number in bad else "")
            name.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    return ids


@pytest.mark.parametrize("kind", ["jsonl", "csv", "jsonl.gz", "parquet"])
def test_small_files_share_splits_and_batches(tmp_path, kind):
    ids = filled(tmp_path, 300, kind)
    one = source(tmp_path, path=f"**/*.{kind}", columns=COLUMNS)
    splits = list(splits_of(one))
    batches = [b for s in splits for b in batches_of(one, s)]
    assert [n for b in batches for n in b.rows["id"].to_pylist()] == ids
    assert len(splits) == len(batches) == 2


class TestManySmallFiles(SourceSuite):
    kind = "jsonl"

    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        self.ids = filled(tmp_path, 60, self.kind, bad={7, 8, 30})

    def new(self, **changes):
        context = {"on_error": "dead_letter", **changes}
        return source(self.path, path=f"**/*.{self.kind}", columns=COLUMNS, split_bytes=1600, context=context)

    def test_good_and_bad_rows_add_up(self):
        rows = self._all()
        assert [r["id"] for r in rows[""]] == self.ids
        assert [r["file"].partition(".")[0][-2:] for r in rows["errors"]] == ["07", "08", "30"]


class TestManySmallCsvFiles(TestManySmallFiles):
    kind = "csv"


class TestManySmallFilesOneAfterTheOther(TestManySmallFiles):
    def new(self, **changes):
        context = {"on_error": "dead_letter", **changes}
        return source(self.path, path="**/*.jsonl", columns=COLUMNS, split_bytes=15, context=context)


def test_columns_of_names_are_those_of_each_file(tmp_path):
    for day in ("1", "2"):
        (tmp_path / f"day={day}").mkdir()
        (tmp_path / f"day={day}" / "a.csv").write_text("id\n7\n")
    one = source(tmp_path, path="**/*.csv", hive=True, name_column="file")
    assert read(one)[""] == [{"id": 7, "day": int(d), "file": f"day={d}/a.csv"} for d in ("1", "2")]


def test_headers_may_differ_and_a_wrong_one_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("id,name\n1,x\n")
    (tmp_path / "b.csv").write_text("name,id\ny,2\n")
    columns = {"id": "int64", "name": "string"}
    assert [r["id"] for r in read(source(tmp_path, path="*.csv", columns=columns))[""]] == [1, 2]
    (tmp_path / "c.csv").write_text("other\n3\n")
    with pytest.raises(DataError, match=r"c\.csv"):
        read(source(tmp_path, path="*.csv", columns=columns))


def test_a_file_that_was_written_anew_between_its_good_and_bad_rows_is_not_mixed(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id":1}\n')
    (tmp_path / "b.jsonl").write_text('{"id":2}\noops\n')
    told = {"path": "*.jsonl", "columns": COLUMNS, "context": {"on_error": "dead_letter"}}
    one = source(tmp_path, **told)
    (split,) = splits_of(one)
    _, good, _ = batches_of(one, split)
    (tmp_path / "b.jsonl").write_text('{"id":3}\n{"id":4}\n')
    with pytest.raises(DataError, match="written anew"):
        list(batches_of(source(tmp_path, **told), split, plain(good.position)))


def incremental(folder, since, most=None, **config):
    one = source(folder, path="**/*.jsonl", columns=COLUMNS, context={"mode": "incremental"}, **config)
    splits = list(splits_of(one, since))[:most]
    rows = [n for s in splits for b in batches_of(one, s) for n in b.rows["id"].to_pylist()]
    return rows, plain(splits[-1].resume) if splits else since


def test_new_small_files_are_read_once_also_after_a_break(tmp_path):
    ids = filled(tmp_path, 100)
    first, since = incremental(tmp_path, None, most=1, split_bytes=1600)
    assert 0 < len(first) < len(ids)
    rest, since = incremental(tmp_path, since, split_bytes=1600)
    assert first + rest == ids
    for number in range(3):
        (tmp_path / f"new-{number}.jsonl").write_text(f'{{"id":{-number}}}\n')
    with (tmp_path / "0" / "00002.jsonl").open("a") as file:
        file.write('{"id":-9}\n')
    found, since = incremental(tmp_path, since)
    assert sorted(found) == [-9, -2, -1, 0]
    assert incremental(tmp_path, since)[0] == []


def test_what_is_gone_and_old_is_forgotten_but_not_what_is_not_mounted(tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    for number in range(4):
        (share / f"{number}.jsonl").write_text(f'{{"id":{number}}}\n')
        os.utime(share / f"{number}.jsonl", (86400 * 20 * number, 86400 * 20 * number))
    _, since = incremental(share, None)
    share.rename(tmp_path / "away")
    share.mkdir()
    assert incremental(share, since) == ([], since)
    share.rmdir()
    (tmp_path / "away").rename(share)
    assert incremental(share, since)[0] == []
    for number in (0, 1, 3):
        (share / f"{number}.jsonl").unlink()
    (share / "new.jsonl").write_text('{"id":9}\n')
    os.utime(share / "new.jsonl", (86400 * 61, 86400 * 61))
    found, since = incremental(share, since)
    assert found == [9]
    assert sorted(since["files"]) == ["2.jsonl", "3.jsonl"]


@pytest.mark.once
def test_twenty_thousand_files_take_a_small_state_and_little_memory(tmp_path):
    for number in range(20_000):
        folder = tmp_path / f"{number // 1000}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:06}.jsonl").write_bytes(b'{"id":%d}\n' % number)
    one = source(tmp_path, path="**/*.jsonl", columns=COLUMNS)
    splits = splits_of(one)
    begun = [next(splits)]
    tracemalloc.start()
    try:
        states = [len(json.dumps([split.resume, split.data])) for split in splits]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(states) == 20_000 // 256
    assert max(states) < 20_000
    assert peak < 1 << 20  # names, sizes and times of all files would be 5 MB
    batches = [b for split in [*begun, *splits_of(one, plain(begun[0].resume))] for b in batches_of(one, split)]
    assert len(batches) == len(states) + 1
    assert [n for b in batches for n in b.rows["id"].to_pylist()] == sorted_as_names(20_000)


def sorted_as_names(count):
    return [n for folder in sorted(range(count // 1000), key=str) for n in range(folder * 1000, folder * 1000 + 1000)]
