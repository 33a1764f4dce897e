"""A disk that is full: said with the cure, nothing torn to be seen, and with more room the next run ends exactly."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.chaos.processes import Ended, run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/proc/mounts").exists(), reason="only root may mount a small file system"
)

ROWS = 30_000
WORKFLOW = """
id: full
runtime: {{checkpoint: {{interval: 30ms}}, state: {{type: sqlite, path: {state}}}}}
sources:
  orders: {{type: file, config: {{path: in.csv, split_bytes: 100kB, columns: {{id: int64, note: string}}}}}}
destinations:
  rows: {{type: file, inputs: [orders], write_mode: {mode}, config: {{path: {path}, format: {format}}}}}
"""


class Disk:
    """A small file system of its own, mounted at `small` in a folder."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        self.path = folder / "small"
        self.path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.path)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")

    def grow(self) -> None:
        """Make room."""
        subprocess.run(["mount", "-o", "remount,size=64m", str(self.path)], check=True)

    def fill(self, pages_free: int = 0) -> None:
        """Leave so many pages, with ballast."""
        page = os.sysconf("SC_PAGE_SIZE")
        with (self.path / "ballast").open("wb", 0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * page)
            except OSError:
                ballast.truncate(ballast.tell() // page * page - pages_free * page)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(1)
    rows = "".join(f"{n},{base64.b64encode(rng.randbytes(45)).decode()}\n" for n in range(ROWS))
    (tmp_path / "in.csv").write_text("id,note\n" + rows)
    return tmp_path


def workflow(folder: Path, path: str, kind: str, *, mode: str = "append", state: str = "state") -> None:
    (folder / "workflow.yaml").write_text(WORKFLOW.format(path=path, format=kind, mode=mode, state=state))


@pytest.fixture
def disk(folder: Path) -> Iterator[Disk]:
    small = Disk(folder, "1200k")
    yield small
    small.close()


def visible(path: Path) -> list[int]:
    """Return the ids that a reader of the destination finds, in whole rows only."""
    files = sorted(p for p in path.iterdir() if p.name[0] != ".") if path.is_dir() else [path]
    ids: list[int] = []
    for file in files:
        if not file.exists():
            continue
        if file.suffix == ".parquet":
            ids += pq.read_table(file)["id"].to_pylist()
        elif file.suffix == ".jsonl":
            text = file.read_text()
            assert text == "" or text.endswith("\n")
            ids += [json.loads(line)["id"] for line in text.splitlines()]
        else:
            header, *records = file.read_text().splitlines() or ["id,note"]
            assert header == "id,note"
            assert all(len(r.partition(",")[2]) == 60 for r in records)
            ids += [int(r.partition(",")[0]) for r in records]
    return sorted(ids)


def full(told: Ended) -> None:
    """Assert that a run said that the disk is full, and what to do."""
    assert told.code == 3, told.err
    assert told.error["code"] == "environment"
    assert "No space left on device" in told.error["message"] or "the disk is full" in told.error["message"]
    assert "run again" in told.error["hint"]


DESTINATIONS = [
    ("small/rows", "jsonl", "append"),
    ("small/rows", "parquet", "append"),
    ("small/rows", "parquet", "overwrite"),
    ("small/rows.csv", "csv", "append"),
    ("small/rows.csv", "csv", "overwrite"),
    ("small/rows.parquet", "parquet", "append"),
]


@pytest.mark.parametrize(("path", "kind", "mode"), DESTINATIONS)
@pytest.mark.parametrize("state", ["state", "small/state"])
def test_a_full_disk_ends_the_run_and_more_room_ends_it_exactly(
    folder: Path, disk: Disk, path: str, kind: str, mode: str, state: str
) -> None:
    workflow(folder, path, kind, mode=mode, state=state)
    full(run(folder))
    seen = visible(folder / path) if (folder / path).exists() else []
    assert seen == list(range(len(seen)))
    assert mode == "append" or seen == []

    disk.grow()
    told = run(folder)
    assert told.code == 0, told.err
    assert told.rows("rows") == {"in": ROWS, "out": ROWS}
    assert visible(folder / path) == list(range(ROWS))
    assert not list(disk.path.rglob(".staged*"))


def test_ballast_that_is_deleted_is_room_too(folder: Path, disk: Disk) -> None:
    disk.grow()
    workflow(folder, "small/rows", "jsonl", state="small/state")
    disk.fill(pages_free=200)
    full(run(folder))

    (disk.path / "ballast").unlink()
    assert run(folder).code == 0
    assert visible(folder / "small/rows") == list(range(ROWS))


def test_a_single_file_is_not_left_half_appended(folder: Path, disk: Disk) -> None:
    """The disk holds what is staged, but not what is appended to the file: no half line may be seen in it."""
    workflow(folder, "small/rows.csv", "csv")
    (folder / "workflow.yaml").write_text((folder / "workflow.yaml").read_text().replace("30ms", "30s"))
    rows = (folder / "in.csv").read_text()[: 900 * 1024].splitlines()[:-1]
    (folder / "in.csv").write_text("\n".join(rows) + "\n")

    told = run(folder)
    full(told)
    assert ".staged" not in told.error["message"]
    assert visible(folder / "small/rows.csv") == []

    disk.grow()
    assert run(folder).code == 0
    assert visible(folder / "small/rows.csv") == list(range(len(rows) - 1))


def test_a_duckdb_file_on_a_full_disk_holds_whole_epochs_and_goes_on_with_more_room(folder: Path, disk: Disk) -> None:
    text = WORKFLOW.replace("type: file, inputs", "type: duckdb, inputs").replace("format: {format}", "table: rows")
    told = {"path": "small/lake.duckdb", "mode": "append", "state": "state"}
    (folder / "workflow.yaml").write_text(text.format(**told))
    full(run(folder))

    def ids() -> list[int]:
        with duckdb.connect(folder / "small" / "lake.duckdb") as connection:
            return [n for (n,) in connection.execute("select id from rows order by id").fetchall()]

    disk.grow()
    seen = ids()
    assert seen == list(range(len(seen)))
    told_again = run(folder)
    assert told_again.code == 0, told_again.err
    assert ids() == list(range(ROWS))
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    refused = run(folder)
    assert (refused.code, "may not be written" in refused.error["message"]) == (3, True), refused.err


@pytest.mark.parametrize("pages_free", [0, 1, 4, 5, 9, 13])
def test_a_state_on_a_disk_with_next_to_no_room_is_said(folder: Path, disk: Disk, pages_free: int) -> None:
    workflow(folder, "out/rows", "jsonl", state="small/state")
    (folder / "in.csv").write_text("id,note\n1,a\n")
    assert run(folder).code == 0
    disk.fill(pages_free)
    full(run(folder))

    (disk.path / "ballast").unlink()
    assert run(folder).code == 0
    assert len(visible(folder / "out/rows")) == 2  # two runs that read all there is


def test_a_disk_that_takes_no_more_files_is_said(folder: Path) -> None:
    workflow(folder, "out/rows", "jsonl", state="small/state")
    small = Disk(folder, "1m,nr_inodes=10")
    try:
        told = run(folder)
    finally:
        small.close()
    assert told.code == 3
    assert "No space left on device" in told.error["message"]
    assert "room" in told.error["hint"]
