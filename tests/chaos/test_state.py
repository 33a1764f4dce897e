"""State that was cut, flipped or lost is reported with the cure; it is never taken for an older or an empty one."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.errors import StateError
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig
from tests.chaos.conftest import Case
from tests.chaos.processes import Ended, dataflare, lines, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 6000
WORKFLOW = """
id: torn
runtime: {checkpoint: {interval: 20ms, retain: 3}, state: {type: sqlite, path: state}}
sources:
  orders: {type: file, config: {path: in.csv, split_bytes: 2kB, columns: {id: int64, name: string}}}
transformations:
  per_name: {type: aggregate, inputs: [orders], config: {group_by: [name], aggregations: {n: count(*)}}}
destinations:
  rows: {type: file, inputs: [orders], config: {path: out, format: jsonl}}
  names: {type: file, inputs: [per_name], config: {path: names, format: jsonl}}
"""
LOG = "state/state.db-wal"


def killed(folder: Path, names: int) -> Path:
    """Make a run that was killed after its fourth epoch; what it committed is in the write-ahead log alone."""
    folder.mkdir()
    rows = "".join(f"{n},n{n % names}\n" for n in range(ROWS))
    (folder / "in.csv").write_text("id,name\n" + rows)
    (folder / "workflow.yaml").write_text(WORKFLOW)
    assert Case(folder).run("after:mark_committed:4").returncode == -9
    assert (folder / LOG).stat().st_size > 100_000
    return folder


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return killed(tmp_path_factory.mktemp("state") / "run", names=700)


@pytest.fixture(scope="module")
def savepoint(broken_off: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy(broken_off, tmp_path_factory.mktemp("savepoint") / "run")
    assert dataflare(folder, "checkpoint", "export", "workflow.yaml", "epoch.save").code == 0
    return folder / "epoch.save"


def copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def result(folder: Path) -> tuple[list[int], dict[str, int]]:
    """Return the ids that were published and the groups that were counted."""
    return sorted(r["id"] for r in lines(folder / "out")), {r["name"]: r["n"] for r in lines(folder / "names")}


def wanted(names: int = 700) -> tuple[list[int], dict[str, int]]:
    """Return what the source holds."""
    return list(range(ROWS)), {f"n{n}": len(range(n, ROWS, names)) for n in range(names)}


def refused(folder: Path, word: str) -> Ended:
    """Assert that the next run, and the one after it, say what is wrong, name a cure, and publish nothing."""
    before = result(folder)
    first, second = run(folder), run(folder)
    for told in (first, second):
        assert told.code == 3, told.err
        assert told.error["code"] == "state"
        assert word in told.error["message"], told.error
        assert "begin anew or import a savepoint: dataflare checkpoint import" in told.error["hint"]
    assert result(folder) == before
    return first


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x10
    file.write_bytes(content)


def test_without_damage_the_run_goes_on(broken_off: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    assert run(folder).code == 0
    assert result(folder) == wanted()


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a flipped bit early in the log": (lambda f: flip(f / LOG, 40_000), "lost"),
    "a flipped bit late in the log": (lambda f: flip(f / LOG, (f / LOG).stat().st_size - 9_000), "lost"),
    "a log cut in half": (
        lambda f: (f / LOG).write_bytes((f / LOG).read_bytes()[: (f / LOG).stat().st_size // 2]),
        "lost",
    ),
    "an emptied log": (lambda f: (f / LOG).write_bytes(b""), "lost"),
    "a log that is gone": (lambda f: (f / LOG).unlink(), "lost"),
    "an emptied file": (lambda f: (f / "state/state.db").write_bytes(b""), "empty"),
    "a file that is gone": (lambda f: (f / "state/state.db").unlink(), "gone"),
    "a file that is gone with its log": (
        lambda f: [(f / n).unlink() for n in ("state/state.db", LOG, "state/state.db-shm")],
        "gone",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_reported_and_nothing_begins_anew(broken_off: Path, tmp_path: Path, damage: str) -> None:
    folder = copy(broken_off, tmp_path / "run")
    harm, word = DAMAGES[damage]
    harm(folder)
    refused(folder, word)


def test_the_cure_works(broken_off: Path, savepoint: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    flip(folder / LOG, 40_000)
    refused(folder, "lost")

    (folder / "state").rename(folder / "state.torn")
    assert dataflare(folder, "checkpoint", "import", "workflow.yaml", str(savepoint)).code == 0
    assert run(folder).code == 0
    assert result(folder) == wanted()


def test_an_older_copy_of_the_file_is_not_taken_for_the_state(broken_off: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    older = (folder / "state/state.db").read_bytes()
    assert run(folder).code == 0
    (folder / "state/state.db").write_bytes(older)

    assert "older copy" in refused(folder, "lost").error["message"]


def test_a_damaged_record_is_named(broken_off: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    with_record(folder, "default/torn/log/%", lambda value: value[:-1] + bytes([value[-1] ^ 1]))
    told = refused(folder, "damaged")
    assert told.error["path"].startswith("default/torn/log/")


def damaged_record(folder: Path, like: str) -> str:
    """Spoil the newest record under a key, and return the key."""
    return with_record(folder, like, lambda value: value[:-1] + bytes([value[-1] ^ 1]))


@pytest.mark.parametrize("like", ["default/torn/log/%", "default/torn/compacted/%"])
def test_a_rollback_is_a_way_on_from_a_damaged_record_and_names_it(broken_off: Path, tmp_path: Path, like: str) -> None:
    folder = copy(broken_off, tmp_path / "run")
    key = damaged_record(folder, like)
    assert refused(folder, "damaged").error["path"] == key

    listed = dataflare(folder, "checkpoint", "list", "workflow.yaml", "--json")
    assert listed.code == 0
    assert listed.error["path"] == key
    epochs = [e["epoch"] for line in listed.out.splitlines() if (e := json.loads(line))["status"] == "committed"]
    told = dataflare(folder, "checkpoint", "rollback", "workflow.yaml", str(epochs[-1]))
    assert told.code == 0
    assert "this record is passed over" in told.err
    assert key in told.err
    after = dataflare(folder, "checkpoint", "list", "workflow.yaml")
    assert (after.code, after.err) == (0, "")
    assert run(folder).code == 0
    assert result(folder)[1] == wanted()[1]
    assert set(result(folder)[0]) == set(range(ROWS))


def test_a_savepoint_is_a_way_on_from_a_damaged_record(broken_off: Path, savepoint: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    key = damaged_record(folder, "default/torn/log/%")
    told = dataflare(folder, "checkpoint", "import", "workflow.yaml", str(savepoint), "--json")
    assert told.code == 0
    assert told.error["path"] == key
    assert run(folder).code == 0
    assert result(folder) == wanted()


def test_what_is_exported_beside_a_damaged_record_must_be_named(broken_off: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    damaged_record(folder, "default/torn/log/%")
    told = dataflare(folder, "checkpoint", "export", "workflow.yaml", "epoch.save")
    assert told.code == 3
    assert "--epoch N" in told.err
    assert not (folder / "epoch.save").exists()


def test_a_rollback_to_an_epoch_that_is_not_there_leaves_the_damage_to_be_seen(
    broken_off: Path, tmp_path: Path
) -> None:
    folder = copy(broken_off, tmp_path / "run")
    damaged_record(folder, "default/torn/log/%")
    assert dataflare(folder, "checkpoint", "rollback", "workflow.yaml", "99").code == 3
    refused(folder, "damaged")


def test_a_damaged_snapshot_is_named_and_an_older_checkpoint_is_a_way_on(broken_off: Path, tmp_path: Path) -> None:
    folder = copy(broken_off, tmp_path / "run")
    key = with_record(folder, "default/torn/state/%", lambda value: value[:50])
    told = refused(folder, "damaged")
    assert told.error["path"] == key
    assert "checkpoint rollback FILE EPOCH" in told.error["hint"]

    listed = dataflare(folder, "checkpoint", "list", "workflow.yaml", "--json")
    epochs = [json.loads(line)["epoch"] for line in listed.out.splitlines()]
    assert dataflare(folder, "checkpoint", "rollback", "workflow.yaml", str(epochs[-2])).code == 0
    assert run(folder).code == 0
    assert result(folder)[1] == wanted()[1]  # the groups are exact; what the files hold already stays there
    assert set(result(folder)[0]) == set(range(ROWS))


@pytest.fixture(scope="module")
def with_large_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run that was killed when its snapshot was larger than what stands in the database."""
    folder = tmp_path_factory.mktemp("large") / "run"
    folder.mkdir()
    rng = random.Random(1)
    rows = "".join(f"{n},{rng.randbytes(600).hex()}\n" for n in range(ROWS))
    (folder / "in.csv").write_text("id,name\n" + rows)
    (folder / "workflow.yaml").write_text(WORKFLOW.replace("2kB", "3MB"))
    assert Case(folder).run("after:mark_committed:1").returncode == -9
    return folder


@pytest.mark.parametrize("damage", ["flipped", "cut", "lost"])
def test_a_damaged_file_of_a_large_snapshot_is_reported(with_large_state: Path, tmp_path: Path, damage: str) -> None:
    folder = copy(with_large_state, tmp_path / "run")
    blob = max((folder / "state/blobs").glob("[0-9a-f]*"), key=lambda p: p.stat().st_mtime_ns)
    if damage == "lost":
        blob.unlink()
    elif damage == "cut":
        blob.write_bytes(blob.read_bytes()[:-1])
    else:
        flip(blob, 5000)

    told = run(folder)
    assert told.code == 3
    assert blob.name in told.error["message"]
    assert "roll back" in told.error["hint"]
    assert "dataflare checkpoint import" in told.error["hint"]


def with_record(folder: Path, like: str, change: Callable[[bytes], bytes]) -> str:
    """Change the newest value under a key, as rotten bytes would, and return the key."""
    connection = sqlite3.connect(folder / "state/state.db", isolation_level=None)
    try:
        query = "select key, value from kv where key like ? and value is not null order by key desc"
        key, value = connection.execute(query, (like,)).fetchone()
        connection.execute("update kv set value = ? where key = ?", (change(value), key))
    finally:
        connection.close()
    return str(key)


# ---- every byte --------------------------------------------------------------------------------------------------


def seen_in(folder: Path) -> Any:
    """Return all that a resume reads, and begin an attempt."""
    store = SqliteStore(SqliteStoreConfig(path=str(folder)))
    try:
        store.open()
        manager = CheckpointManager(store, Codec(), "torn")
        newest = manager.newest(None, has_decider=False)
        assert newest is not None
        states = [manager.load_state(key) for keys in newest.state.values() for key in keys]
        return newest, states, manager.checkpoints(), manager.begin_attempt(1)
    finally:
        store.close()


def test_a_flipped_bit_anywhere_in_the_file_changes_nothing_or_is_reported(tmp_path: Path) -> None:
    folder = killed(tmp_path / "run", names=7)
    seen_in(copy(folder / "state", tmp_path / "closed"))  # so that the file holds all
    whole = (tmp_path / "closed" / "state.db").read_bytes()
    expected = seen_in(copy(tmp_path / "closed", tmp_path / "expected"))
    reported = 0
    for at in range(0, len(whole), len(whole) // 150):
        target = copy(tmp_path / "closed", tmp_path / f"flipped-{at}")
        flip(target / "state.db", at)
        try:
            assert seen_in(target) == expected, at
        except StateError as error:
            reported += 1
            assert error.exit_code == 3
            assert "dataflare checkpoint import" in error.hint
        shutil.rmtree(target)
    assert reported > 10
