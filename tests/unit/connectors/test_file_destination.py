"""The file destination: the contract in every layout, kills between all steps, full disks, foreign files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.file.destination import FileDestination, FileDestinationConfig
from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.errors import StateError, UnavailableError, WorkflowError
from dataflare.schema import Schema
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite, rows
from dataflare.testing.source_suite import rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

TYPES = {"id": "int64", "name": "string"}


def destination(folder, path, schema=SUITE_SCHEMA, config=None, **changes):
    made = FileDestination(FileDestinationConfig(path=path, **(config or {})))
    return staged(made, folder, **{"schemas": {"0": schema}, **changes})


def read(folder, path, columns=None):
    source = (
        staged(FileSource(FileSourceConfig(path=path, columns=columns, allow_empty=True)), folder, schemas={})
        if (columns)
        else staged(FileSource(FileSourceConfig(path=path)), folder)
    )
    try:
        return rows_of(b for s in splits_of(source) for b in batches_of(source, s))[""]
    finally:
        source.close()


def write_all(made, *batches, epoch=1):
    made.open()
    for batch in batches:
        made.write(batch)
    handles = made.prepare(Epoch(epoch, made.context.attempt))
    made.commit(Epoch(epoch, made.context.attempt), handles)
    made.finish()
    made.close()
    return handles


class FileSuite(DestinationSuite):
    path = "out"
    config: ClassVar = {}

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path):
        self.folder_path = tmp_path

    def new(self, **changes):
        return destination(self.folder_path, self.path, config=self.config, **changes)

    def visible(self):
        target = self.folder_path / self.path
        if not target.exists() or (target.is_dir() and not [p for p in target.iterdir() if p.name[0] != "."]):
            return []
        return read(self.folder_path, self.path, TYPES)

    def left_over(self):
        return len(list(self.folder_path.rglob(".staged-*")))


class TestFolderOfJsonLines(FileSuite):
    pass


class TestFolderOfCsv(FileSuite):
    config: ClassVar = {"format": "csv"}


class TestFolderOfParquet(FileSuite):
    config: ClassVar = {"format": "parquet", "file_rows_max": 1}


class TestFoldersOfPartitions(FileSuite):
    config: ClassVar = {"format": "csv", "partition_by": ["name"], "open_files_max": 1}

    def visible(self):
        source = FileSource(FileSourceConfig(path="out/**/*.csv", hive=True, allow_empty=True, columns=TYPES))
        staged(source, self.folder_path, schemas={})
        try:
            return rows_of(b for s in splits_of(source) for b in batches_of(source, s)).get("", [])
        finally:
            source.close()


class TestSingleCsv(FileSuite):
    path = "out.csv"


class TestSingleCsvWithoutHeader(FileSuite):
    path = "deep/out.csv"
    config: ClassVar = {"header": False}

    def visible(self):
        target = self.folder_path / self.path
        lines = target.read_text().splitlines() if target.exists() else []
        return [{"id": int(line.split(",")[0]), "name": line.split(",")[1]} for line in lines]


class TestSingleJsonLines(FileSuite):
    path = "out.jsonl"


class TestSingleGzippedCsv(FileSuite):
    path = "out.csv.gz"


class TestFolderOfZstdJsonLines(FileSuite):
    config: ClassVar = {"format": "jsonl", "compression": "zstd"}


class TestSingleUtf16Csv(FileSuite):
    path = "out.csv"
    config: ClassVar = {"encoding": "utf-16"}

    def visible(self):
        target = self.folder_path / self.path
        if not target.exists():
            return []
        header, *lines = target.read_bytes().decode("utf-16").splitlines()
        assert header == "id,name"
        return [{"id": int(line.split(",")[0]), "name": line.split(",")[1]} for line in lines]


class TestSingleParquet(FileSuite):
    path = "out.parquet"
    at_end = True


@pytest.mark.once
@pytest.mark.parametrize(
    ("path", "mode", "columns"),
    [
        *((p, m, []) for p in ("out", "out/x.csv", "out/x.parquet", "out/x.arrow") for m in ("append", "overwrite")),
        ("out/x.jsonl", "append", []),
        *(("out", m, ["name"]) for m in ("append", "overwrite")),
    ],
)
def test_a_kill_before_any_step_loses_nothing_and_repeats_nothing(tmp_path, path, mode, columns):
    program = Path(__file__).with_name("crashes.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), path, mode, *columns],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(steps) > 8
    for step in steps:
        assert sorted(step["rows"]) == [1, 2, 3], step
        assert step["hidden"] == [], step


# ---- what is written ------------------------------------------------------------------------------------------------


def test_csv_is_written_with_a_header_in_each_part_and_once_in_one_file(tmp_path):
    one = destination(tmp_path, "parts", config={"format": "csv", "file_rows_max": 1})
    handles = write_all(one, rows([1]), rows([2]))
    parts = sorted((tmp_path / "parts").glob("part-*"))
    assert [p.name for p in parts] == ["part-000001-1-0-0.csv", "part-000001-1-0-1.csv"]
    assert [p.read_text() for p in parts] == ["id,name\n1,name 1\n", "id,name\n2,name 2\n"]
    assert [(h["rows"], h["bytes"]) for h in handles] == [(1, 17), (1, 17)]
    write_all(destination(tmp_path, "one.csv"), rows([1]), rows([2]))
    write_all(destination(tmp_path, "one.csv", attempt=2), rows([3]), epoch=2)
    assert (tmp_path / "one.csv").read_text() == "id,name\n1,name 1\n2,name 2\n3,name 3\n"


def test_csv_settings_are_honoured(tmp_path):
    batch = Batch.of([{"id": 1, "name": 'a;"b'}, {"id": None, "name": ""}], schema=SUITE_SCHEMA.to_arrow())
    one = destination(tmp_path, "o.csv", config={"delimiter": ";", "null_value": "NULL", "header": False})
    write_all(one, batch)
    assert (tmp_path / "o.csv").read_text() == '1;"a;""b"\nNULL;""\n'
    write_all(destination(tmp_path, "o.tsv"), rows([1]))
    assert (tmp_path / "o.tsv").read_text() == "id\tname\n1\tname 1\n"


def test_files_roll_by_size(tmp_path):
    one = destination(tmp_path, "o", config={"file_bytes_max": "1kB"})
    write_all(one, *(rows(range(n, n + 20)) for n in range(0, 200, 20)))
    parts = list((tmp_path / "o").glob("part-*"))
    assert len(parts) > 3
    assert sorted(r["id"] for r in read(tmp_path, "o")) == list(range(200))


def test_parquet_settings_and_encodings(tmp_path):
    schema = Schema.of({"id": "int64", "city": "string", "score": "float64"})
    batch = Batch(
        pa.table({"id": range(20_000), "city": ["Rome", "Oslo"] * 10_000, "score": [n / 7 for n in range(20_000)]}),
    )
    write_all(destination(tmp_path, "o.parquet", schema, {"row_group_rows": 5000}), batch)
    metadata = pq.ParquetFile(tmp_path / "o.parquet").metadata
    assert metadata.num_row_groups == 4
    encodings = [set(metadata.row_group(0).column(c).encodings) for c in range(3)]
    assert "DELTA_BINARY_PACKED" in encodings[0]
    assert "RLE_DICTIONARY" in encodings[1]
    assert "RLE_DICTIONARY" not in encodings[2]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.row_group(0).column(0).statistics.max == 4999
    write_all(destination(tmp_path, "s.parquet", schema, {"compression": "snappy"}), batch)
    assert pq.ParquetFile(tmp_path / "s.parquet").metadata.row_group(0).column(0).compression == "SNAPPY"


def test_inputs_with_other_columns_are_united(tmp_path):
    one = destination(tmp_path, "o.csv", schemas={"0": Schema.of({"a": "int64"}), "1": Schema.of({"b": "string"})})
    write_all(one, Batch.of([{"a": 1}]), Batch.of([{"b": "x"}]))
    assert (tmp_path / "o.csv").read_text() == "a,b\n1,\n,x\n"
    clash = destination(tmp_path, "p.csv", schemas={"0": Schema.of({"a": "int64"}), "1": Schema.of({"a": "string"})})
    with pytest.raises(WorkflowError, match="one input"):
        clash.open()


def test_an_empty_run_leaves_a_file_with_a_header(tmp_path):
    write_all(destination(tmp_path, "o.csv"))
    assert (tmp_path / "o.csv").read_text() == "id,name\n"
    write_all(destination(tmp_path, "o.parquet", write_mode="overwrite"), rows([]))
    assert pq.read_table(tmp_path / "o.parquet").schema.names == ["id", "name"]


# ---- the surroundings -----------------------------------------------------------------------------------------------


def test_overwrite_leaves_files_of_others_alone(tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "README").write_text("mine")
    write_all(destination(tmp_path, "o"), rows([1]))
    write_all(destination(tmp_path, "o", write_mode="overwrite", attempt=2), rows([2]), epoch=2)
    assert (tmp_path / "o" / "README").read_text() == "mine"
    assert [r["id"] for r in read(tmp_path, "o")] == [2]


def test_a_run_whose_state_was_lost_appends_beside_the_old_files(tmp_path):
    for _ in range(3):
        write_all(destination(tmp_path, "o"), rows([1]))
        write_all(destination(tmp_path, "one.jsonl"), rows([1]))
    assert len(read(tmp_path, "o")) == 3
    assert len(read(tmp_path, "one.jsonl")) == 3


def test_two_nodes_in_one_folder_never_overwrite_each_other(tmp_path):
    made = [destination(tmp_path, "o", node=name) for name in ("a", "b")]
    handles = []
    for one in made:
        one.open()
        one.write(rows([1]))
        handles.append(one.prepare(Epoch(1, 1)))
    made[0].commit(Epoch(1, 1), handles[0])
    with pytest.raises(StateError, match="another file"):
        made[1].commit(Epoch(1, 1), handles[1])


def test_handles_cannot_lead_out_of_the_folder(tmp_path):
    one = destination(tmp_path, "o")
    one.open()
    with pytest.raises(StateError, match="no file name"):
        one.commit(Epoch(1, 1), [{"staged": "../secret", "final": "x"}])


def test_appending_to_a_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "o.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UnavailableError, match="other columns"):
        destination(tmp_path, "o.csv").open()
    destination(tmp_path, "o.csv", write_mode="overwrite").open()


def test_paths_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="is a file"):
        destination(tmp_path, "file").open()
    with pytest.raises(UnavailableError, match="not a folder"):
        destination(tmp_path, "file/o").open()
    with pytest.raises(WorkflowError, match="zst"):
        destination(tmp_path, "o.csv.bz2").open()


@pytest.mark.parametrize("config", [{}, {"format": "csv"}, {"format": "parquet"}])
def test_a_full_disk_is_told_with_the_cure(tmp_path, config):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    one = destination(tmp_path, "o", config=config)
    one.open()
    one.write(rows([1]))
    os.dup2(os.open("/dev/full", os.O_WRONLY), one._writers.open[""]._file.fileno())
    with pytest.raises(UnavailableError) as caught:
        one.prepare(Epoch(1, 1))
    assert "disk is full" in caught.value.hint
    assert caught.value.__cause__.errno == errno.ENOSPC
    one.close()
    assert not list((tmp_path / "o").iterdir())


def test_close_removes_what_was_not_handed_over(tmp_path):
    one = destination(tmp_path, "o")
    one.open()
    one.write(rows([1]))
    assert list((tmp_path / "o").glob(".staged-*"))
    one.close()
    assert not list((tmp_path / "o").glob(".staged-*"))
