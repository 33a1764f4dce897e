"""Makes changes at a rate and tells when each is visible: `changes_live.py URL RATE CHANGES RESULT COMMAND...`.

The command copies changes of `bench_w8.live` into `bench_w8.live_copy`, and is stopped by SIGINT when all are there. A
change counts from the moment its commit has returned until a query sees it in the copy; those of the first second,
in which everyone warms up, do not count.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

WARM = 1.0
SECONDS_MAX = 60.0
TOGETHER = 10


def write(url: str, rate: int, changes: int, committed: list[float]) -> None:
    """Commit rows in small transactions, each at its time: a disk does not make a thousand commits durable a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        begin = time.perf_counter()
        for first in range(1, changes + 1, TOGETHER):
            time.sleep(max(0.0, begin + first / rate - time.perf_counter()))
            last = min(first + TOGETHER - 1, changes)
            connection.execute(
                "insert into bench_w8.live select i, 'value ' || i from generate_series(%s::int, %s::int) i",
                (first, last),
            )
            committed.extend([time.perf_counter()] * (last - first + 1))


def watch(connection: psycopg.Connection[tuple[int]], changes: int, seen: list[float]) -> None:
    """Note when each row is there, in the order of its number."""
    deadline = time.perf_counter() + SECONDS_MAX
    while len(seen) < changes:
        row = connection.execute("select coalesce(max(id), 0) from bench_w8.live_copy").fetchone()
        now = time.perf_counter()
        assert now < deadline, f"{len(seen)} of {changes} changes came"
        assert row is not None
        seen.extend([now] * (row[0] - len(seen)))
        time.sleep(0.001)


def main(url: str, rate: int, changes: int, result: str, command: list[str]) -> int:
    """Run the command, make changes, wait until they are there, stop it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            active = "select count(*) from pg_replication_slots where slot_name = 'bench_w8_live' and active"
            deadline = time.perf_counter() + SECONDS_MAX
            while connection.execute(active).fetchone() != (1,):
                assert process.poll() is None, "the command ended"
                assert time.perf_counter() < deadline, "nobody reads the slot"
                time.sleep(0.05)
            committed: list[float] = []
            seen: list[float] = []
            writer = threading.Thread(target=write, args=(url, rate, changes, committed))
            writer.start()
            watch(connection, changes, seen)
            writer.join()
            (rows,) = connection.execute("select count(*) from bench_w8.live_copy").fetchone() or (0,)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS_MAX)
    late = sorted((s - c) * 1e3 for c, s in zip(committed, seen, strict=True) if c - committed[0] > WARM)
    told = {"rows": rows, "p50_ms": late[len(late) // 2], "p99_ms": late[len(late) * 99 // 100]}
    Path(result).write_text(json.dumps(told) + "\n")
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:]))
