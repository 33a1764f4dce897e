"""The connection that receives the log of a real PostgreSQL: slots, acknowledgement, refusals, silence."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.postgres import Place, Server, own_server, place
from tests.replication import Stream, stream

from dataflare.connectors.postgres.replication.connection import ReplicationConnection
from dataflare.connectors.postgres.replication.messages import Decoded, Settled, lsn_number, lsn_text
from dataflare.connectors.postgres.replication.refusals import SlotLostError
from dataflare.connectors.postgres.settings import PostgresConfig
from dataflare.errors import ExternalError, Retry, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.t (id int primary key, a text)")
        yield found


@pytest.fixture
def log(spot: Place) -> Iterator[Stream]:
    with stream(spot) as found:
        yield found


def connected(url: str, **changes: Any) -> ReplicationConnection:
    return ReplicationConnection(PostgresConfig(url=url), "dataflare test", **changes)


def confirmed(log: Stream) -> int:
    sql = f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{log.name}'"
    ((found,),) = log.spot.run(sql)
    return lsn_number(found)


def test_the_server_tells_who_it_is(spot: Place, log: Stream) -> None:
    system, timeline, lsn = log.connection.identify()
    ((wanted,),) = spot.run("select system_identifier::text from pg_control_system()")
    assert (system, timeline) == (wanted, 1)
    assert lsn >= log.slot.lsn > 0
    assert lsn_number(lsn_text(lsn)) == lsn


def test_a_snapshot_ends_where_the_stream_begins(spot: Place, log: Stream) -> None:
    import psycopg

    spot.run("insert into {}.t values (1)")
    log.slot_name = f"{log.name}_temporary"
    log.slot = log.connection.create_slot(log.slot_name, snapshot=True, temporary=True)
    spot.run("insert into {}.t values (2)")
    with psycopg.connect(spot.url) as reader:
        reader.execute("begin isolation level repeatable read")
        reader.execute(f"set transaction snapshot '{log.slot.snapshot_name}'")
        assert reader.execute(f"select id from {spot.schema}.t").fetchall() == [(1,)]
    assert [r["id"] for r in log.rows()] == [2]


def test_what_is_acknowledged_does_not_come_again_and_what_is_not_does(spot: Place, log: Stream) -> None:
    spot.run("insert into {}.t values (1)")
    spot.run("insert into {}.t values (2)")
    settled = [e.settled for e in log.decoded() if e.settled is not None]
    log.again()
    assert [r["id"] for r in log.rows()] == [1, 2]
    end = max(s.end_lsn for s in settled)
    log.connection.acknowledge(end)
    log.connection.acknowledge(end - 1)
    log.again()
    assert confirmed(log) == end, "acknowledgements never go back"
    spot.run("insert into {}.t values (3)")
    assert [r["id"] for r in log.rows()] == [3]


def test_an_idle_stream_tells_how_far_the_server_is(spot: Place, log: Stream) -> None:
    log.start()
    spot.run("create table {}.junk as select repeat('x', 100) from generate_series(1, 1000)")
    ((far,),) = spot.run("select pg_current_wal_lsn()::text")
    reached = 0
    while reached < lsn_number(far):
        reached = max(reached, log.connection.receive(10).wal_end)
        log.connection.acknowledge(0, reached)


def test_a_server_that_asks_whether_we_are_there_is_answered(spot: Place) -> None:
    with stream(spot, "-c wal_sender_timeout=6s") as log:
        log.start()
        asked = 0
        while asked < 2:  # the second time it would not ask, had nobody answered the first
            asked += log.connection.receive(10).reply_wanted
        spot.run("insert into {}.t values (1)")
        assert [r["id"] for r in log.rows()] == [1]


def test_a_slot_that_somebody_reads_is_refused_for_now(log: Stream) -> None:
    log.start()
    other = ReplicationConnection(log.config, "dataflare test")
    try:
        with pytest.raises(ExternalError, match=r"is active for PID \d+") as caught:
            other.start(log.name, [log.name], 0)
        assert caught.value.retry is Retry.BACKOFF
        assert "slot of its own" in caught.value.hint
        with pytest.raises(ExternalError, match=r"is active for PID \d+"):
            other.drop_slot(log.name)
    finally:
        other.close()


def test_what_is_not_there_is_told_with_the_cure(log: Stream) -> None:
    with pytest.raises(SlotLostError, match='replication slot "nobody" does not exist'):
        log.connection.start("nobody", [log.name], 0)
    with pytest.raises(SlotLostError, match='replication slot "nobody" does not exist'):
        log.connection.drop_slot("nobody")
    with pytest.raises(UnavailableError, match='publication "no ""body" does not exist') as caught:
        log.connection.start(log.name, [log.name, 'no ""body'], 0)
    assert "create publication" in caught.value.hint
    with pytest.raises(UnavailableError, match="already exists") as caught:
        log.connection.create_slot(log.name, snapshot=False)
    assert "another slot" in caught.value.hint
    assert log.connection.identify(), "the connection goes on after a refusal"


def test_a_publication_that_goes_away_is_told(spot: Place, log: Stream) -> None:
    log.start()
    spot.run(f"drop publication {log.name}")
    spot.run("insert into {}.t values (1)")
    with pytest.raises(UnavailableError, match=f'publication "{log.name}" does not exist') as caught:
        log.rows()
    assert "make it anew" in caught.value.hint


def test_a_user_without_the_privilege_is_told_and_no_password_is(spot: Place) -> None:
    user, password = f"{spot.schema}_user", secrets.token_hex(8)
    spot.run(f"create role {user} login password '{password}'")
    parts = urlsplit(spot.url)
    place_ = parts.netloc.rpartition("@")[2]
    try:
        for told, sign in ((password, "alter role"), ("wrong" + password, "check user and password")):
            url = urlunsplit(parts._replace(netloc=f"{user}:{told}@{place_}"))
            with pytest.raises(UnavailableError) as caught:
                connected(url)
            assert sign in caught.value.hint
            assert password not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    finally:
        spot.run(f"drop role {user}")


def test_a_connection_that_is_ended_breaks_and_trying_again_helps(spot: Place, log: Stream) -> None:
    log.start()
    spot.run(f"select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where slot_name = '{log.name}'")
    with pytest.raises(ExternalError) as caught:
        log.rows()
    assert caught.value.retry is Retry.BACKOFF
    log.again()
    spot.run("insert into {}.t values (1)")
    assert [r["id"] for r in log.rows()] == [1]


def test_a_transaction_of_200_000_rows_comes_in_small_batches_before_it_ends(spot: Place, log: Stream) -> None:
    spot.run("insert into {}.t select n, repeat('x', 50) from generate_series(1, 200000) n")
    log.start()
    count, batches, largest, seen_open = 0, 0, 0, False
    for frames in log.received(1 << 20):
        assert len(frames.data) < 2 << 20
        for event in log.decoder.feed(frames):
            if isinstance(event, Decoded):
                count, batches = count + event.rows.num_rows, batches + 1
                largest = max(largest, event.rows.nbytes)
                seen_open |= event.settled is not None and event.settled.is_open
    assert count == 200_000
    assert batches > 10
    assert largest < 4 << 20
    assert seen_open


SCRIPT = """
begin; insert into {}.t select n, repeat('x', 200) from generate_series(1, 1500) n;
savepoint a; insert into {}.t select n, repeat('y', 200) from generate_series(2001, 3500) n;
savepoint b; update {}.t set a = 'z' where id <= 700; rollback to a;
insert into {}.t select n, repeat('w', 200) from generate_series(4001, 4700) n;
update {}.t set id = id + 10000 where id <= 3; commit;
begin; insert into {}.t select n, repeat('v', 200) from generate_series(5001, 6500) n; rollback;
insert into {}.t values (7000, 'last')
"""


def test_transactions_streamed_while_they_are_open_give_the_same_changes(spot: Place) -> None:
    with stream(spot, "-c logical_decoding_work_mem=64kB") as log:
        log.start()
        log.script(SCRIPT)
        wanted = [d for d in log.decoded() if d.rows.num_rows]
        log.again()
        log.start(streaming="on")
        found, kinds = [], set()
        for frames in log.received():
            kinds |= {chr(k) for k in frames.kinds}
            found += [e for e in log.decoder.feed(frames) if isinstance(e, Decoded | Settled)]
        log.decoder.close()
        assert set("SEcA") <= kinds, "the server streamed, and undid"
        batches = [d for d in found if isinstance(d, Decoded)]
        rows = [r for d in batches for r in d.rows.to_pylist()]
        assert rows == [r for d in wanted for r in d.rows.to_pylist()]
        assert len(rows) == 1500 + 700 + 6 + 1
        assert batches[-1].last == wanted[-1].last, "the numbers are the same either way"
        ends = [e.end_lsn for e in found if isinstance(e, Settled)]
        assert ends == sorted(ends)
        point = batches[0].last
        log.again()
        log.start(streaming="on", after=point)
        rest = [r for d in log.decoded() for r in d.rows.to_pylist()]
        assert rest == rows[batches[0].rows.num_rows :]


def received_for_ever(connection: ReplicationConnection) -> None:
    while True:
        connection.receive(5)


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server() as found:
        yield found


def test_a_server_of_ones_own_loses_the_slot_is_silent_or_cannot_do_it(server: Server) -> None:
    connection = connected(server.url, silence_seconds=5.0)
    slot = connection.create_slot("kept", snapshot=False)
    server.ask("create table t (id int primary key); create publication p for table t")
    connection.start("kept", ["p"], slot.lsn)
    server.do("pause")
    with pytest.raises(ExternalError, match="said nothing for 5 seconds"):
        received_for_ever(connection)
    with pytest.raises(ExternalError):
        connected(server.url + "?connect_timeout=2")
    server.do("resume")
    connection.close()

    server.ask("alter system set max_slot_wal_keep_size = '1MB'")
    server.ask("select pg_reload_conf()")
    while server.ask("select wal_status from pg_replication_slots") != "lost":
        server.ask("create table junk as select repeat('x', 1000) from generate_series(1, 20000); drop table junk")
        server.ask("select pg_switch_wal()")
        server.ask("checkpoint")
    connection = connected(server.url)
    with pytest.raises(SlotLostError, match="can no longer") as caught:
        connection.start("kept", ["p"], slot.lsn)
    assert "read the tables anew" in caught.value.hint
    assert "max_slot_wal_keep_size" in caught.value.hint
    connection.drop_slot("kept")
    connection.close()

    server.ask("alter system set wal_level = replica")
    server.do("restart")
    connection = connected(server.url)
    with pytest.raises(UnavailableError, match="wal_level") as caught:
        connection.create_slot("never", snapshot=False)
    assert "wal_level = logical" in caught.value.hint
    connection.close()
