"""Folders of partitions, files of a size, and Parquet as readers want it."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.file import writers
from dataflare.connectors.file.destination import FileDestination, FileDestinationConfig
from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.errors import DataError, StateError, WorkflowError
from dataflare.schema import Schema
from dataflare.testing.source_suite import rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

SCHEMA = Schema.of({"id": "int64", "day": "date", "land": "string"})
DAYS = [dt.date(2026, 1, 31), None, dt.date(2026, 2, 1)]


def destination(folder, path="out", schema=SCHEMA, changes=None, **config):
    made = FileDestination(FileDestinationConfig(path=path, **config))
    return staged(made, folder, **{"schemas": {"0": schema}, **(changes or {})})


def write_all(made, *tables, epoch=1):
    made.open()
    for table in tables:
        made.write(Batch(table))
    handles = made.prepare(Epoch(epoch, made.context.attempt))
    made.commit(Epoch(epoch, made.context.attempt), handles)
    made.finish()
    made.close()
    return handles


def read(folder, path, **config):
    source = staged(FileSource(FileSourceConfig(path=path, **config)), folder)
    try:
        return rows_of(b for s in splits_of(source) for b in batches_of(source, s))[""]
    finally:
        source.close()


def some(count=12):
    lands = ["DE", "a/b=c", "", None]
    return pa.table({
        "id": range(count), "day": pa.array([DAYS[n % 3] for n in range(count)]),
        "land": pa.array([lands[n % 4] for n in range(count)], pa.string()),
    })  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_partitions_come_back_as_they_were(tmp_path, kind):
    write_all(destination(tmp_path, format=kind, partition_by=["day", "land"]), some())
    found = read(tmp_path, f"out/**/*.{kind}", hive=True)
    assert sorted(found, key=lambda r: r["id"]) == some().to_pylist()
    assert len(list(tmp_path.rglob(f"part-*.{kind}"))) == 12
    assert (tmp_path / "out" / "day=__HIVE_DEFAULT_PARTITION__" / "land=a%2Fb%3Dc").is_dir()


def test_other_readers_know_the_partitions(tmp_path):
    lands = pa.table({"id": range(4), "day": [dt.date(2026, 1, 1)] * 4, "land": ["DE", "a/b=c", "ö ä", None]})
    write_all(destination(tmp_path, format="parquet", partition_by=["land"]), lands)
    found = ds.dataset(tmp_path / "out", partitioning="hive", exclude_invalid_files=False).to_table()
    assert sorted(found.select(lands.column_names).to_pylist(), key=lambda r: r["id"]) == lands.to_pylist()


def test_rows_keep_their_order_in_a_partition(tmp_path):
    write_all(destination(tmp_path, format="jsonl", partition_by=["land"]), some(400))
    for part in tmp_path.rglob("part-*.jsonl"):
        ids = [r["id"] for r in read(tmp_path, str(part.relative_to(tmp_path)))]
        assert ids == sorted(ids)
        assert len(ids) == 100


def test_more_partitions_than_may_be_open_make_more_files(tmp_path):
    made = destination(tmp_path, format="csv", partition_by=["land"], open_files_max=2)
    handles = write_all(made, *(some(12) for _ in range(3)))
    assert len(handles) == 12
    assert len({h["folder"] for h in handles}) == 4
    found = read(tmp_path, "out/**/*.csv", hive=True)
    assert len(found) == 36


def test_too_many_partitions_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "PARTITIONS_MAX", 3)
    made = destination(tmp_path, format="csv", partition_by=["id"])
    made.open()
    with pytest.raises(DataError, match="more than 3 partitions"):
        made.write(Batch(some()))
    made.close()


def test_values_that_make_no_folder_are_told(tmp_path):
    with pytest.raises(WorkflowError, match="no input has"):
        destination(tmp_path, partition_by=["city"]).open()
    with pytest.raises(WorkflowError, match="which is double"):
        destination(tmp_path, schema=Schema.of({"x": "float64", "y": "string"}), partition_by=["x"]).open()
    with pytest.raises(WorkflowError, match="one file"):
        destination(tmp_path, "out.csv", partition_by=["day"]).open()
    with pytest.raises(WorkflowError, match="all columns"):
        destination(tmp_path, partition_by=["day", "id", "land"]).open()
    made = destination(tmp_path, partition_by=["land"])
    made.open()
    with pytest.raises(DataError, match="too long"):
        made.write(Batch(pa.table({"id": [1], "day": [None], "land": ["x" * 300]})))


def written(tmp_path, rows, attempt, **config):
    changes = {"write_mode": "overwrite", "attempt": attempt}
    settings = {"format": "csv", "partition_by": ["land"], "overwrite": "partitions", **config}
    return destination(tmp_path, changes=changes, **settings), rows


def lands(tmp_path):
    return sorted((f.parent.name, f.read_text().split()[-1]) for f in (tmp_path / "out").rglob("part-*.csv"))


def test_only_those_partitions_are_replaced_that_are_written(tmp_path):
    schema = {"id": [1, 2, 3], "day": pa.array([None] * 3, pa.date32()), "land": ["DE", "FR", "IT"]}
    first = pa.table(schema)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.csv").write_text("mine")
    write_all(destination(tmp_path, format="csv", partition_by=["land"]), first)
    write_all(*written(tmp_path, pa.table({**schema, "id": [4, 5, 6], "land": ["DE", "DE", "US"]}), 2), epoch=2)
    assert lands(tmp_path) == [("land=DE", "5,"), ("land=FR", "2,"), ("land=IT", "3,"), ("land=US", "6,")]
    write_all(*written(tmp_path, first.slice(0, 0), 3), epoch=3)
    assert len(lands(tmp_path)) == 4
    write_all(*written(tmp_path, first.slice(1, 1), 4, overwrite="all"), epoch=4)
    assert lands(tmp_path) == [("land=FR", "2,")]
    assert (tmp_path / "out" / "notes.csv").read_text() == "mine"


def test_partitions_are_replaced_only_where_there_are_some_and_something_is_replaced(tmp_path):
    with pytest.raises(ValidationError, match="needs partition_by"):
        FileDestinationConfig(path="out", overwrite="partitions")
    made = destination(tmp_path, partition_by=["land"], overwrite="partitions")
    with pytest.raises(WorkflowError, match="what write_mode: overwrite replaces"):
        made.open()
    with pytest.raises(WorkflowError, match="what write_mode: overwrite replaces"):
        made.check()
    made.close()


def test_overwrite_removes_partitions_that_are_no_more(tmp_path):
    write_all(destination(tmp_path, format="csv", partition_by=["land"]), some())
    (tmp_path / "out" / "land=DE" / "README").write_text("mine")
    left = some().filter(pa.compute.equal(some()["land"], "a/b=c"))
    write_all(destination(tmp_path, format="csv", partition_by=["land"],
                          changes={"write_mode": "overwrite", "attempt": 2}), left, epoch=2)  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == ["land=DE", "land=a%2Fb%3Dc"]
    assert [p.name for p in (tmp_path / "out" / "land=DE").iterdir()] == ["README"]
    assert read(tmp_path, "out/**/*.csv", hive=True) == left.select(["id", "day", "land"]).to_pylist()


@pytest.mark.parametrize("folder", ["..", "a=b/..", "/etc/a=b", "a", ".a=b", 3])
def test_folders_in_handles_cannot_lead_out(tmp_path, folder):
    made = destination(tmp_path, partition_by=["land"])
    made.open()
    with pytest.raises(StateError, match="no folder"):
        made.commit(Epoch(1, 1), [{"staged": "x", "final": "y", "folder": folder}])


# ---- files of a size ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_have_so_many_rows_exactly(tmp_path, kind):
    handles = write_all(destination(tmp_path, format=kind, file_rows_max=7), some(16), some(4))
    assert [h["rows"] for h in handles] == [7, 7, 6]
    assert sorted(r["id"] for r in read(tmp_path, "out")) == sorted([*range(16), *range(4)])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_great_batch_is_cut_into_files_of_about_so_many_bytes(tmp_path, kind):
    rows = pa.table({"id": range(200_000), "day": [None] * 200_000, "land": [f"{n * 7919}" for n in range(200_000)]})
    handles = write_all(destination(tmp_path, format=kind, file_bytes_max="100kB", compression="none"), rows)
    assert len(handles) > 10
    assert all(90_000 < h["bytes"] < 140_000 for h in handles[:-1])


def test_what_is_held_in_memory_is_bounded(tmp_path):
    made = destination(tmp_path, format="parquet", partition_by=["land"])
    made.open()
    made._writers._limits = writers.Limits(held_bytes=2000, open_files=10)
    for _ in range(20):
        made.write(Batch(some(100)))
        assert sum(f.held_bytes for f in made._writers.open.values()) <= 2000
    handles = made.prepare(Epoch(1, 1))
    assert len(handles) == 4
    made.close()


# ---- Parquet --------------------------------------------------------------------------------------------------------


def test_statistics_pages_and_bloom_filters_are_written_as_asked(tmp_path):
    for name, statistics in (("a", "none"), ("b", "groups"), ("c", "pages")):
        write_all(destination(tmp_path, f"{name}.parquet", statistics=statistics, bloom_filters=["land"]), some())
    columns = [pq.read_metadata(tmp_path / f"{n}.parquet").row_group(0).column(0) for n in "abc"]
    assert [c.is_stats_set for c in columns] == [False, True, True]
    assert [c.has_column_index for c in columns] == [False, False, True]
    assert columns[1].statistics.max == 11
    plain = destination(tmp_path, "d.parquet")
    write_all(plain, some())
    assert (tmp_path / "d.parquet").stat().st_size < (tmp_path / "b.parquet").stat().st_size
    with pytest.raises(WorkflowError, match="lack"):
        destination(tmp_path, "e.parquet", bloom_filters=["city"]).open()


@pytest.mark.parametrize("compression", ["zstd", "snappy", "lz4", "gzip", "brotli", "none"])
def test_every_compression_is_written_and_kept_where_parts_are_put_together(tmp_path, compression):
    made = destination(tmp_path, "o.parquet", compression=compression, file_rows_max=5)
    write_all(made, some())
    found = pq.ParquetFile(tmp_path / "o.parquet")
    assert found.metadata.row_group(0).column(0).compression == {"none": "UNCOMPRESSED"}.get(
        compression, compression.upper()
    )
    assert found.read().to_pylist() == some().to_pylist()


def test_levels_that_are_not_are_refused():
    for compression, level in (("snappy", 3), ("gzip", 10), ("brotli", 12)):
        with pytest.raises(ValidationError, match="level"):
            FileDestinationConfig(path="o", compression=compression, compression_level=level)


def test_decimals_are_integers_in_the_file_and_decimals_for_readers(tmp_path):
    schema = Schema.of({"price": "decimal(12,2)", "huge": "decimal(38,2)"})
    values = [decimal.Decimal(n) / 100 for n in (-1, 0, 99999999)]
    rows = pa.table({c.name: pa.array(values, t) for c, t in zip(schema, schema.to_arrow().types, strict=True)})
    write_all(destination(tmp_path, "o.parquet", schema), rows)
    found = pq.ParquetFile(tmp_path / "o.parquet")
    assert [found.schema.column(n).physical_type for n in (0, 1)] == ["INT64", "FIXED_LEN_BYTE_ARRAY"]
    assert "DELTA_BINARY_PACKED" in found.metadata.row_group(0).column(0).encodings
    assert found.read().equals(rows)
