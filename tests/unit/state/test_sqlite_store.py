"""The store in SQLite keeps the contract of stores, and says what is wrong with its files and how to go on."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dataflare.component import StageContext
from dataflare.errors import LeaseHeldError, StateError, UnavailableError
from dataflare.executor.runtime import LocalRuntime
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig
from dataflare.testing.store_suite import LARGE, StoreSuite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def store_in(folder: Path) -> SqliteStore:
    return SqliteStore(SqliteStoreConfig(path=str(folder)))


@contextmanager
def opened(folder: Path) -> Iterator[SqliteStore]:
    store = store_in(folder)
    store.open()
    try:
        yield store
    finally:
        store.close()


def blobs(folder: Path) -> list[Path]:
    return [p for p in (folder / "blobs").iterdir() if p.name != ".gate"]


class TestSqliteStore(StoreSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "state"

    def make(self) -> SqliteStore:
        return store_in(self.folder)


def test_folder_and_files_are_for_their_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "state"
    with opened(folder) as store:
        store.put("k", LARGE)
        store.lease("t/w")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "blobs").stat().st_mode & 0o777 == 0o700
        files = [p for p in folder.rglob("*") if p.is_file()]
        assert {"state.db", "state.db-wal", "t%2Fw.lock"} <= {p.name for p in files}
        assert {p.stat().st_mode & 0o777 for p in files} == {0o600}


def test_a_commit_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store._connection.execute("pragma synchronous").fetchone() == (2,)
        assert store._connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_large_value_is_a_file_that_goes_with_its_row(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put("k", LARGE)
        store.put("l", LARGE)
        assert len(blobs(tmp_path)) == 2
        store.put("k", b"small")
        store.create("l", LARGE[::-1])
        assert len(blobs(tmp_path)) == 1
        store.delete(["l"])
        assert blobs(tmp_path) == []


def test_files_that_a_crash_left_are_swept_and_named_ones_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put("k", LARGE)
    (tmp_path / "blobs" / "0123-4567").write_bytes(b"never named")
    (tmp_path / "blobs" / "0123-89ab.77-1.part").write_bytes(b"never finished")
    with opened(tmp_path) as store:
        assert len(blobs(tmp_path)) == 1
        assert store.get("k") == LARGE


def test_a_sweep_takes_nothing_that_another_is_about_to_name(tmp_path: Path) -> None:
    with opened(tmp_path) as store, store._stored("k", LARGE) as (_, name):
        with opened(tmp_path):
            pass
        assert [p.name for p in blobs(tmp_path)] == [name]


@pytest.mark.parametrize("damage", ["flipped", "cut", "lost"])
def test_a_damaged_file_of_a_value_is_reported_and_named(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as store:
        store.put("k", LARGE)
        (path,) = blobs(tmp_path)
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.unlink() if damage == "lost" else path.write_bytes(content if damage == "flipped" else content[:-1])
        with pytest.raises(StateError, match=path.name) as caught:
            store.get("k")
    assert "checkpoint" in caught.value.hint


@pytest.mark.once
@pytest.mark.parametrize("damage", ["empty", "foreign", "another program's", "cut", "scrambled"])
def test_a_damaged_database_is_reported_with_the_way_on(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as store:
        for number in range(60):
            store.put(f"k/{number}", bytes(1000))
    file = tmp_path / "state.db"
    content = file.read_bytes()
    if damage == "another program's":
        file.unlink()
        sqlite3.connect(file).execute("create table kv (key)").connection.close()
    else:
        scrambled = content[:4096] + b"\xff" * (len(content) - 4096)
        bad = {"empty": b"", "foreign": b"hello" * 99, "cut": content[:20000], "scrambled": scrambled}
        file.write_bytes(bad[damage])

    with pytest.raises(StateError, match=r"state\.db") as caught, opened(tmp_path) as store:
        [store.get(key) for key in store.keys("")]
    assert caught.value.exit_code == 3
    assert "dataflare checkpoint import" in caught.value.hint


def test_a_database_that_is_gone_beside_its_log_is_not_made_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put("k", b"v")
        (tmp_path / "state.db").unlink()
        with pytest.raises(StateError, match="gone"):
            store_in(tmp_path).open()


def test_a_state_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store._connection.execute("pragma user_version = 99")
    with pytest.raises(StateError, match="format 99"):
        store_in(tmp_path).open()


def test_a_full_disk_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put("k", b"before")
        pages = store._connection.execute("pragma page_count").fetchone()[0]
        store._connection.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(UnavailableError, match="disk is full"):
            store.put("l", bytes(100_000))
        assert (store.get("k"), store.get("l")) == (b"before", None)


def test_a_large_value_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            with pytest.raises(UnavailableError, match="blobs"):
                store.put("k", LARGE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (store.get("k"), blobs(tmp_path)) == (None, [])


def test_a_folder_that_cannot_be_made_is_the_surroundings_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"file/state") as caught:
        store_in(tmp_path / "file" / "state").open()
    assert caught.value.hint


def test_a_database_that_may_not_be_written_is_the_surroundings_fault(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store._connection.execute("pragma query_only = on")
        with pytest.raises(UnavailableError, match="may not be written"):
            store.put("k", b"v")


def test_a_held_lease_names_the_process_and_the_cure(tmp_path: Path) -> None:
    with opened(tmp_path) as store, opened(tmp_path) as other:
        store.lease("tenant/flights")
        with pytest.raises(LeaseHeldError, match=f"process {os.getpid()} on .* since 20") as caught:
            other.lease("tenant/flights")
    assert caught.value.exit_code == 3
    assert "dataflare stop flights" in caught.value.hint


HOLDER = """
import sys
from dataflare.executor.runtime import LocalRuntime
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig
store = SqliteStore(SqliteStoreConfig(path=sys.argv[1]))
store.open()
store.lease("t/w")
store.put("k", b"v")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_loses_its_lease_and_nothing_that_it_wrote(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with opened(tmp_path) as store:
            with pytest.raises(LeaseHeldError, match=f"process {holder.pid} "):
                store.lease("t/w")
            holder.kill()
            holder.wait()
            store.lease("t/w").release()
            assert store.get("k") == b"v"


def test_a_relative_path_starts_at_the_folder_of_the_workflow(tmp_path: Path) -> None:
    store = SqliteStore(SqliteStoreConfig())
    store.context = StageContext(LocalRuntime(), "w", "", directory=tmp_path)
    store.open()
    store.close()
    assert (tmp_path / ".dataflare" / "state.db").exists()


@pytest.mark.once
def test_looking_for_the_keys_of_one_workflow_does_not_read_those_of_others(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as store:
        store.put("default/b/log/1", b"1")
        connection = store._connection
        assert connection is not None

        def steps() -> int:
            counted: list[int] = []
            connection.set_progress_handler(lambda: counted.append(1), 1)
            assert store.keys("default/b/") == ["default/b/log/1"]
            connection.set_progress_handler(None, 1)
            return len(counted)

        alone = steps()
        names = [(f"default/{side}{n}/log/1",) for side in "ac" for n in range(500)]
        connection.executemany("insert into kv (key, value) values (?, x'31')", names)
        assert steps() < 2 * alone
