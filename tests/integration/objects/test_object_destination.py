"""The file destination on a bucket: the contract in every layout, and kills before and after every request."""

from __future__ import annotations

from typing import ClassVar

import obstore
import pytest
from tests.unit.connectors.crashes import carry_on
from tests.unit.connectors.test_file_destination import TYPES

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.file.destination import FileDestination, FileDestinationConfig
from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.errors import StateError, UnavailableError
from dataflare.schema import Schema
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite, rows
from dataflare.testing.source_suite import rows_of
from dataflare.testing.stage import batches_of, splits_of, staged


def destination(bucket, folder, path, config=None, **changes):
    settings = FileDestinationConfig(path=bucket.path(path), s3=bucket.settings, **(config or {}))
    return staged(FileDestination(settings), folder, **{"schemas": {"0": SUITE_SCHEMA}, **changes})


def read(bucket, folder, path, **config):
    told = FileSourceConfig(path=bucket.path(path), s3=bucket.settings, columns=TYPES, allow_empty=True, **config)
    source = staged(FileSource(told), folder, schemas={})
    try:
        return rows_of(b for s in splits_of(source) for b in batches_of(source, s)).get("", [])
    finally:
        source.close()


class ObjectSuite(DestinationSuite):
    path = "deep/out"
    config: ClassVar = {}
    options: ClassVar = {}
    seen = ""

    @pytest.fixture(autouse=True)
    def place(self, bucket, tmp_path):
        self.bucket, self.folder = bucket, tmp_path

    def new(self, **changes):
        return destination(self.bucket, self.folder, self.path, self.config, **changes)

    def visible(self):
        return read(self.bucket, self.folder, self.seen or self.path, **self.options)

    def left_over(self):
        return sum(".staged-" in key for key in self.bucket.all_keys()) + self.bucket.uploads()


class TestFolderOfJsonLines(ObjectSuite):
    pass


class TestFolderOfParquet(ObjectSuite):
    config: ClassVar = {"format": "parquet", "file_rows_max": 1}


class TestPartitions(ObjectSuite):
    config: ClassVar = {"format": "csv", "partition_by": ["name"], "open_files_max": 1}
    seen, options = "deep/out/**/*.csv", {"hive": True}


class TestSingleCsv(ObjectSuite):
    path, at_end = "deep/out.csv", True


class TestSinglePackedLines(ObjectSuite):
    path, at_end = "out.jsonl.gz", True


class TestSingleParquet(ObjectSuite):
    path, at_end = "out.parquet", True


def run(made, ids, epoch=1):
    made.open()
    made.write(rows(ids))
    made.commit(Epoch(epoch, made.context.attempt), made.prepare(Epoch(epoch, made.context.attempt)))
    made.finish()
    made.close()


def test_a_large_object_goes_up_in_parts_and_is_whole(bucket, tmp_path):
    made = destination(bucket, tmp_path, "out", {"format": "csv"})
    run(made, range(800_000))
    (key,) = [k for k in bucket.all_keys() if "part-" in k]
    meta = bucket.store.head(key)
    assert meta["size"] > 8 << 20
    assert len(read(bucket, tmp_path, "out", format="csv")) == 800_000
    assert bucket.uploads() == 0


def test_a_single_object_grows_by_later_runs_and_keeps_its_header(bucket, tmp_path):
    for number in range(2):
        run(destination(bucket, tmp_path, "out.csv", attempt=number + 1), [number], epoch=number + 1)
    assert bucket.get("out.csv") == b"id,name\n0,name 0\n1,name 1\n"
    bucket.put("out.csv", "other,columns\n")
    with pytest.raises(UnavailableError, match=r"s3://.*out\.csv has other columns"):
        destination(bucket, tmp_path, "out.csv").open()


def test_parts_of_other_columns_do_not_go_into_one_object(bucket, tmp_path):
    made = destination(bucket, tmp_path, "out.csv")
    made.open()
    made.write(rows([1]))
    first = made.prepare(Epoch(1, 1))
    other = destination(bucket, tmp_path, "out.csv", attempt=2, schemas={"0": Schema.of({"id": "int64"})})
    other.open()
    other.commit(Epoch(1, 1), first)  # the first died between seal and commit
    other.write(Batch(rows([2]).rows.select(["id"])))
    with pytest.raises(UnavailableError, match="columns have changed"):
        other.commit(Epoch(2, 2), other.prepare(Epoch(2, 2)))
    other.finish()
    assert bucket.get("out.csv") == b"id,name\n1,name 1\n"


def test_an_object_of_somebody_else_is_not_replaced(bucket, tmp_path):
    made = destination(bucket, tmp_path, "out")
    made.open()
    made.write(rows([1]))
    handles = made.prepare(Epoch(1, 1))
    bucket.put(f"out/{handles[0]['final']}", "mine")
    with pytest.raises(StateError, match="another object"):
        made.commit(Epoch(1, 1), handles)
    made.close()


def test_other_objects_stay_when_a_folder_is_overwritten(bucket, tmp_path):
    bucket.put("out/notes.txt", "mine")
    bucket.put("out-2/part-000001-1-0-0.jsonl", "mine too")
    run(destination(bucket, tmp_path, "out"), [1])
    run(destination(bucket, tmp_path, "out", attempt=2, write_mode="overwrite"), [2])
    assert {"out/notes.txt", "out-2/part-000001-1-0-0.jsonl"} <= {*bucket.all_keys()}
    assert [r["id"] for r in read(bucket, tmp_path, "out/part*")] == [2]


def test_only_partitions_that_are_written_are_replaced(bucket, tmp_path):
    config = {"partition_by": ["id"], "overwrite": "partitions"}
    run(destination(bucket, tmp_path, "out", {"partition_by": ["id"]}), [1, 2, 3])
    before = {*bucket.all_keys()}
    run(destination(bucket, tmp_path, "out", config, attempt=2, write_mode="overwrite"), [2, 4])
    kept = {k for k in bucket.all_keys() if "part-" in k}
    assert {k.split("/")[1] for k in kept} == {"id=1", "id=2", "id=3", "id=4"}
    assert {k.split("/")[1] for k in kept & before} == {"id=1", "id=3"}


@pytest.mark.parametrize("path", ["out", "out.csv"])
def test_an_attempt_that_does_not_know_that_it_is_dead_undoes_nothing(bucket, tmp_path, path):
    config = {} if "." in path else {"format": "csv"}
    dead, head = (destination(bucket, tmp_path, path, config, attempt=n, write_mode="overwrite") for n in (1, 2))
    dead.open()
    dead.write(rows([1]))
    handles = dead.prepare(Epoch(1, 1))
    dead.commit(Epoch(1, 1), handles)
    head.open()
    head.commit(Epoch(1, 1), handles)
    head.finish()
    run(destination(bucket, tmp_path, path, config, attempt=3, write_mode="overwrite"), [2])
    dead.finish()
    assert [r["id"] for r in read(bucket, tmp_path, path, format="csv")] == [2]


def test_what_was_written_and_not_handed_over_leaves_nothing(bucket, tmp_path):
    made = destination(bucket, tmp_path, "out", {"file_rows_max": 1})
    made.open()
    made.write(rows([1, 2]))
    made.close()
    assert bucket.all_keys() == []


def test_uploads_that_a_crash_left_open_are_ended_and_those_of_others_are_not(bucket, tmp_path):
    made = destination(bucket, tmp_path, "o ut", attempt=3)
    made.open()
    mine = f"o ut/.staged-{made._layout.staging.token}"
    begun = [
        obstore.open_writer(bucket.store, f"{name}.tmp") for name in (f"{mine}-2-0-0-aa", f"{mine}-3-0-0-bb", "o ut/x")
    ]
    for writer in begun:
        writer.write(bytes(11 << 20))  # more than is held back: the first part is there
    assert bucket.uploads() == 3
    made.abort([])
    assert bucket.uploads() == 2
    made.close()


def test_a_bucket_that_is_not_there_is_told_before_the_run(bucket, tmp_path):
    made = destination(bucket, tmp_path, "out")
    bucket.name = "t-not-there"
    made = destination(bucket, tmp_path, "out")
    with pytest.raises(UnavailableError, match="no such bucket"):
        made.check()


# ---- kills ------------------------------------------------------------------------------------------------------

REQUESTS = ("put", "copy", "delete", "get", "head", "list")


class KilledError(BaseException):
    """What nobody catches: the process is gone."""


class Steps:
    """Counts requests, and ends the process before the first or after any: what is after one is before the next."""

    def __init__(self, patch, die_at):
        self.left, self.begun = die_at, False
        for name in REQUESTS:
            patch.setattr(obstore, name, self.counted(getattr(obstore, name)))

    def counted(self, request):
        def asked(*args, **kwargs):
            if not self.begun:
                self.begun = True
                self.step()
            answer = request(*args, **kwargs)
            self.step()
            return answer

        return asked

    def step(self):
        self.left -= 1
        if self.left == 0:
            raise KilledError


def attempt(bucket, folder, path, mode, state):
    """Take the next attempt, and do what the engine does."""
    state["attempt"] += 1
    told = {} if "." in path else {"format": "csv"}
    carry_on(destination(bucket, folder, path, told, attempt=state["attempt"], write_mode=mode), state, lambda: None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")  # of the dead
@pytest.mark.parametrize(
    ("path", "mode"), [("out", "append"), ("out", "overwrite"), ("out.csv", "append"), ("out.csv", "overwrite")]
)
def test_a_kill_before_or_after_any_request_loses_and_repeats_nothing(bucket, tmp_path, path, mode):
    step, lived, base = 0, False, path
    while not lived:
        step += 1
        path = f"{step}/{base}"
        begun = {"attempt": 0, "sealed": None, "finished": False}
        if mode == "overwrite" or base == "out.csv":
            run(destination(bucket, tmp_path, path, {} if "." in path else {"format": "csv"}), [7])
            begun["attempt"] = 1
        old = [] if not begun["attempt"] else [7]
        expected = [1, 2, 3] if mode == "overwrite" else [*old, 1, 2, 3]
        for die_at in (step, step * 7 % 23 + 1) if step % 2 else (step,):
            with pytest.MonkeyPatch.context() as patch:
                Steps(patch, die_at)
                try:
                    attempt(bucket, tmp_path, path, mode, begun)
                    lived = die_at == step
                except KilledError:
                    lived = False
            seen = sorted(r["id"] for r in read(bucket, tmp_path, path, **({} if "." in path else {"format": "csv"})))
            allowed = {*map(tuple, ([], [1, 2], [1, 2, 3], old, sorted(expected)))}
            assert tuple(seen) in allowed or (base == "out" and mode == "overwrite"), f"step {step}"
            if lived:
                break
        attempt(bucket, tmp_path, path, mode, begun)
        found = sorted(r["id"] for r in read(bucket, tmp_path, path, **({} if "." in path else {"format": "csv"})))
        assert found == sorted(expected), f"step {step}"
    assert step > 10
