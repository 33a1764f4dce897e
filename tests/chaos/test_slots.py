"""Two who want one slot, and a slot that is gone: who is refused is told why and what to do; no change is lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.changes import forget, logged, wait_for
from tests.chaos.processes import Ended, begin, end, run, wait_until
from tests.postgres import VARIABLE, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.processes import Process

pytestmark = pytest.mark.postgres
WORKFLOW = """
id: {name}
runtime: {{checkpoint: {{interval: 20ms, retain: 3}}, restart: {{initial: 20ms, max: 50ms, attempts: 3}}}}
sources:
  shop:
    type: postgres
    mode: {mode}
    config:
      url: "${{{variable}}}"
      table: {schema}.t
      cdc: {{slot_name: {schema}, heartbeat: 50ms, slot_wait: 200ms}}
destinations:
  out: {{type: file, inputs: [shop], config: {{path: out, format: jsonl}}}}
"""
RECEIVER = shutil.which("pg_recvlogical") or str(next(Path("/usr/lib/postgresql").glob("*/bin/pg_recvlogical"), ""))
ACTIVE = "select 1 from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid where slot_name = $1"
"""Somebody receives by it: while it is made it is active, too."""
DROP = """do $$ begin for n in 1..100 loop
perform pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = 'SLOT' and active_pid > 0;
begin perform pg_drop_replication_slot('SLOT'); exit; exception when object_in_use then null; end;
end loop; end $$"""
"""Whoever reads it comes back at once, and may be quicker."""


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.t (id int primary key)")
        yield found
        forget(found, found.schema)


def written(spot: Place, folder: Path, mode: str = "cdc") -> Path:
    """Write a workflow of its own over the one slot; return its folder."""
    folder.mkdir()
    name = f"{spot.schema}_{folder.name}"
    (folder / "workflow.yaml").write_text(WORKFLOW.format(name=name, mode=mode, schema=spot.schema, variable=VARIABLE))
    return folder


def told(folder: Path) -> list[Any]:
    """Return the keys that a workflow was told of, in order."""
    return [change["id"] for change in logged(folder / "out")]


def put(spot: Place, *ids: int) -> None:
    for number in ids:
        spot.run("insert into {}.t values ($1::int4)", (number,))


def following(spot: Place, folder: Path) -> Process:
    """Begin to follow, and wait until the slot is read."""
    process = begin(folder, "run", "workflow.yaml")
    wait_until(lambda: bool(spot.run(ACTIVE, (spot.schema,))), process)
    return process


def refused(done: Ended, *words: str) -> None:
    """Assert that a run ended with these words, and with a way out."""
    assert done.code == 3, done.err
    assert all(word in done.error["message"] for word in words), done.err
    assert done.error["hint"]


def freed(spot: Place) -> None:
    wait_for(lambda: not spot.run(ACTIVE, (spot.schema,)))


@pytest.mark.parametrize("mode", ["cdc", "hybrid"])
def test_who_comes_second_is_refused_and_the_first_goes_on(spot: Place, tmp_path: Path, mode: str) -> None:
    first, second = written(spot, tmp_path / "first"), written(spot, tmp_path / "second", mode)
    process = following(spot, first)
    try:
        put(spot, 1)
        refused(run(second, "--until", "now"), f"the slot {spot.schema} is read by somebody else")
        put(spot, 2)
        wait_until(lambda: told(first) == [1, 2], process)
    finally:
        end(process)
    assert told(second) == []


def test_who_comes_back_to_a_slot_that_another_has_read_is_refused(spot: Place, tmp_path: Path) -> None:
    first, second = written(spot, tmp_path / "first"), written(spot, tmp_path / "second")
    assert run(first, "--until", "now").code == 0
    put(spot, 1)
    assert run(first, "--until", "now").code == 0
    put(spot, 2)
    assert run(second, "--until", "now").code == 0
    assert (told(first), told(second)) == ([1], [2])
    freed(spot)
    refused(run(first, "--until", "now"), "was told to somebody else")
    put(spot, 3)
    assert run(second, "--until", "now").code == 0
    assert (told(first), told(second)) == ([1], [2, 3])


def test_of_two_that_begin_at_once_one_reads_and_no_change_goes_to_both(spot: Place, tmp_path: Path) -> None:
    folders = [written(spot, tmp_path / name) for name in ("first", "second")]
    assert run(folders[0], "--until", "now").code == 0
    put(spot, 1, 2, 3)
    processes = [begin(folder, "run", "workflow.yaml", "--json") for folder in folders]
    try:
        wait_for(lambda: any(p.poll() is not None for p in processes) and any(told(f)[-1:] == [3] for f in folders))
        put(spot, 4)
        wait_for(lambda: any(told(f)[-1:] == [4] for f in folders))
        assert [p.poll() for p in processes].count(None) == 1
    finally:
        for process in processes:
            end(process)
    assert sorted(map(told, folders)) == [[], [1, 2, 3, 4]]


@pytest.mark.skipif(not Path(RECEIVER).is_file(), reason="there is no pg_recvlogical")
def test_a_slot_in_use_by_the_servers_own_reader(spot: Place, tmp_path: Path) -> None:
    folder = written(spot, tmp_path / "first")
    assert run(folder, "--until", "now").code == 0
    freed(spot)
    options = ["-o", "proto_version=1", "-o", f"publication_names={spot.schema}", "--status-interval=1"]
    command = [RECEIVER, "-d", spot.url, "--slot", spot.schema, "--start", "-f", str(tmp_path / "taken"), "-F", "1"]
    with subprocess.Popen([*command, *options]) as other:
        try:
            wait_for(lambda: spot.run(ACTIVE, (spot.schema,)))
            refused(run(folder, "--until", "now"), "is read by somebody else, process ")
            put(spot, 1)
            behind = (
                "select 1 from pg_replication_slots where slot_name = $1 and confirmed_flush_lsn >= $2::text::pg_lsn"
            )
            ((here,),) = spot.run("select pg_current_wal_lsn()::text")
            wait_for(lambda: spot.run(behind, (spot.schema, here)))
        finally:
            other.terminate()
    freed(spot)
    refused(run(folder, "--until", "now"), "was told to somebody else")
    assert told(folder) == []


@pytest.mark.parametrize("anew", [False, True], ids=["gone", "anew"])
def test_a_slot_that_is_dropped_while_it_is_read_ends_the_run(spot: Place, tmp_path: Path, *, anew: bool) -> None:
    folder = written(spot, tmp_path / "first")
    process = begin(folder, "run", "workflow.yaml", "--json")
    wait_until(lambda: bool(spot.run(ACTIVE, (spot.schema,))), process)
    put(spot, 1)
    wait_until(lambda: told(folder) == [1], process)
    spot.run(DROP.replace("SLOT", spot.schema))
    put(spot, 2)
    if anew:
        spot.run("select pg_create_logical_replication_slot($1::text, 'pgoutput')::text", (spot.schema,))
    put(spot, 3)  # whoever makes a slot holds it, too
    try:
        code = process.wait(timeout=30)
    finally:
        out, err = process.communicate()
    del out
    assert code == 3, err
    gone = "is gone, and with it the changes since the last run"
    told_why = (gone, "does not exist", *(("was made anew", "is read by somebody else") if anew else ()))
    assert any(why in err for why in told_why), err
    assert told(folder) == [1]
    refused(run(folder, "--until", "now"), "was made anew" if anew else "is gone")
    assert told(folder) == [1]
