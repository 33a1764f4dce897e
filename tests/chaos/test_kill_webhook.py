"""kill -9 while rows come in by HTTP: what was answered is there once, whatever dies and whenever."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tests.chaos.processes import begin, dataflare, end, ended, press_ctrl_c

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: hook
guarantee: exactly_once
runtime: {checkpoint: {interval: 50ms}}
sources:
  orders: {type: webhook, config: {port: PORT, columns: {delivery: string, n: int64}}}
destinations:
  out: {type: sqlite, inputs: [orders], config: {path: out.db, table: out}}
"""
SENDERS, DELIVERIES, KILLS = 4, 150, 5


class Sender(threading.Thread):
    """Sends two rows a delivery, until it is answered; each try has a name of its own."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__()
        self._number, self._port = number, port
        self.answered: list[str] = []
        self.tried: set[str] = set()
        self.halt = threading.Event()

    def run(self) -> None:
        for n in range(DELIVERIES):
            for attempt in range(10_000):
                name = f"{self._number}-{n}-{attempt}"
                if self.halt.is_set():
                    return
                if self._send(name, n):
                    self.answered.append(name)
                    break
                time.sleep(0.02)

    def _send(self, name: str, n: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.connect()
            self.tried.add(name)
            connection.request("POST", "/", json.dumps([{"delivery": name, "n": n}, {"delivery": name, "n": -n}]))
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def test_what_was_answered_is_there_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.replace("PORT", str(port)))
    senders = [Sender(number, port) for number in range(SENDERS)]
    rng = random.Random(11)
    process = begin(tmp_path, "run", "workflow.yaml")
    try:
        for sender in senders:
            sender.start()
        for kill in range(KILLS):
            goal = sum(len(s.answered) for s in senders) + rng.randrange(20, 60)
            while sum(len(s.answered) for s in senders) < goal and any(s.is_alive() for s in senders):
                assert process.poll() is None, process.communicate()
                time.sleep(rng.random() / 50)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            process = begin(tmp_path, "run", "workflow.yaml")
            assert kill < KILLS
        for sender in senders:
            sender.join(60)
        press_ctrl_c(process)
        assert ended(process).code in (0, 130)
    finally:
        for sender in senders:
            sender.halt.set()
        end(process)
    assert dataflare(tmp_path, "run", "workflow.yaml", "--until", "now").code == 0
    with closing(sqlite3.connect(tmp_path / "out.db")) as connection:
        rows = connection.execute("select delivery, count(*), sum(n) from out group by 1").fetchall()
    answered = {name for sender in senders for name in sender.answered}
    assert len(answered) == SENDERS * DELIVERIES
    assert {(count, total) for _, count, total in rows} == {(2, 0)}, "each delivery whole, and once"
    there = {name for name, _, _ in rows}
    assert answered <= there <= {name for sender in senders for name in sender.tried}
    assert sum(f.stat().st_size for f in (tmp_path / ".dataflare" / "journal").rglob("*.journal")) < 4096, "trimmed"
