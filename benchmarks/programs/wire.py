"""Sends bids over a connection and waits for what comes back over another: `wire.py RATE BIDS RESULT COMMAND...`.

The command finds both ports in BENCH_PORTS, connects to the first, reads lines of JSON until it is closed, connects to
the second and writes a line for each bid of at least 100, with the time at which it was sent. Its latency is the time
from there to its arrival here. Those of the first second, in which everyone starts, do not count.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

CONNECT_SECONDS = 60.0
WARM_SECONDS = 1.0


def listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(CONNECT_SECONDS)
    return server


def send(server: socket.socket, rate: int, bids: int, began: list[int]) -> None:
    """Send so many bids a second, each at its time, or as soon as possible after it."""
    line = '{{"auction":{},"bidder":{},"price":{},"ts":{},"channel":"web","url":"https://x.example/{}"}}\n'
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    began.append(time.perf_counter_ns())
    sent = 0
    with connection:
        while sent < bids:
            due = min(bids, int((time.perf_counter_ns() - began[0]) / 1e9 * rate) + 1)
            texts = []
            for number in range(sent, due):
                sent_at = time.perf_counter_ns()
                texts.append(line.format(number % 100, number, 100 + number % 9000, sent_at, number % 977))
            connection.sendall("".join(texts).encode())
            sent = due
            time.sleep(max(0.0, began[0] / 1e9 + sent / rate - time.perf_counter()))


def receive(server: socket.socket, arrived: list[tuple[int, bytes]]) -> None:
    """Note when each line came."""
    connection, _ = server.accept()
    rest = b""
    with connection:
        while data := connection.recv(1 << 16):
            now = time.perf_counter_ns()
            *lines, rest = (rest + data).split(b"\n")
            arrived.extend((now, line) for line in lines)


def figures(arrived: list[tuple[int, bytes]], began: int) -> dict[str, float]:
    """Return counts, sums and latencies."""
    rows = [json.loads(line) for _, line in arrived]
    counted = [
        (at - row["ts"]) / 1e6
        for (at, _), row in zip(arrived, rows, strict=True)
        if row["ts"] - began > WARM_SECONDS * 1e9
    ]
    counted.sort()
    return {
        "rows": len(rows),
        "bidders": sum(row["bidder"] for row in rows),
        "eur": sum(row["eur"] for row in rows),
        "p50_ms": counted[len(counted) // 2],
        "p99_ms": counted[len(counted) * 99 // 100],
    }


def main(rate: int, bids: int, result: str, command: list[str]) -> int:
    """Run the command between both connections."""
    there, back = listening(), listening()
    ports = ",".join(str(server.getsockname()[1]) for server in (there, back))
    began: list[int] = []
    arrived: list[tuple[int, bytes]] = []
    threads = [
        threading.Thread(target=send, args=(there, rate, bids, began)),
        threading.Thread(target=receive, args=(back, arrived)),
    ]
    for thread in threads:
        thread.start()
    done = subprocess.run(command, env={**os.environ, "BENCH_PORTS": ports}, check=False)
    for thread in threads:
        thread.join()
    told = figures(arrived, began[0])
    Path(result).write_text(json.dumps(told) + "\n")
    print(json.dumps(told))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
