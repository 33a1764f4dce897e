"""The loop that a good engineer writes for W8b: `changes_loop.py URL SLOT PUBLICATION CHANGES TABLE`.

pgoutput is read through libpq; every fifty thousand changes go by COPY into a temporary table, and from there into the
target: the last of each key decides. No state, no recovery, one table that it knows.
"""

from __future__ import annotations

import struct
import sys
import time

import psycopg
from psycopg import pq

ROWS = 50_000
COLUMNS = ("id", "name", "amount", "ts", "qty", "note")
SETTINGS = "-c datestyle=ISO -c timezone=UTC -c bytea_output=hex"


def replication(url: str, slot: str, publication: str) -> pq.PGconn:
    mark = "&" if "?" in url else "?"
    connection = pq.PGconn.connect(
        f"{url}{mark}replication=database&options={SETTINGS.replace(' ', '%20').replace('=', '%3D')}".encode()
    )
    assert connection.status == pq.ConnStatus.OK, connection.error_message
    start = f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '{publication}')"
    assert connection.exec_(start.encode()).status == pq.ExecStatus.COPY_BOTH
    return connection


def fields(data: memoryview, at: int) -> tuple[list[str], int]:
    """Return the values of a tuple as COPY writes them, and what is behind."""
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    values = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 116:  # text
            (length,) = struct.unpack_from(">I", data, at)
            at += 4
            text = bytes(data[at : at + length]).decode()
            values.append(text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n"))
            at += length
        else:
            values.append("\\N")
    return values, at


def line(message: memoryview) -> str | None:
    """Return the staged row of a change; None for any other message."""
    kind = message[0]
    if kind not in (73, 85, 68):  # I U D
        return None
    at = 5
    if kind == 85 and message[at] in (75, 79):  # the old row of an update
        _, at = fields(message, at + 1)
    values, _ = fields(message, at + 1)
    return f"{chr(kind)}\t" + "\t".join(values) + "\n"


class Target:
    def __init__(self, url: str, table: str) -> None:
        self.connection, self.table = psycopg.connect(url), table
        listed = ", ".join(COLUMNS)
        sets = ", ".join(f"{c} = excluded.{c}" for c in COLUMNS[1:])
        last = "select distinct on (id) * from stage order by id, n desc"
        self.upsert = (
            f"insert into {table} ({listed}) select {listed} from ({last}) l where op <> 'D' "
            f"on conflict (id) do update set {sets}"
        )
        self.delete = f"delete from {table} t using ({last}) l where l.id = t.id and l.op = 'D'"
        self.connection.execute(
            f"create temporary table stage (n bigint generated always as identity, op text, like {table})"
        )
        self.connection.commit()

    def write(self, rows: list[str]) -> None:
        with self.connection.cursor() as cursor:
            with cursor.copy(f"copy stage (op, {', '.join(COLUMNS)}) from stdin") as copy:
                copy.write("".join(rows))
            cursor.execute(self.delete)
            cursor.execute(self.upsert)
            cursor.execute("truncate stage")
        self.connection.commit()


def main(url: str, slot: str, publication: str, changes: int, table: str) -> None:
    source, target = replication(url, slot, publication), Target(url, table)
    rows: list[str] = []
    seen, end = 0, 0
    while seen < changes:
        size, data = source.get_copy_data(0)
        assert size > 0, source.error_message
        if data[0] == 107:  # a keepalive
            continue
        message = memoryview(data)[25:]
        found = line(message)
        if found is None:
            if message[0] == 67:  # commit
                (end,) = struct.unpack_from(">Q", message, 10)
            continue
        rows.append(found)
        seen += 1
        if len(rows) >= ROWS or seen == changes:
            target.write(rows)
            rows = []
            now = int((time.time() - 946684800) * 1e6)
            source.put_copy_data(b"r" + struct.pack(">QQQQb", end, end, end, now, 0))
            source.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
