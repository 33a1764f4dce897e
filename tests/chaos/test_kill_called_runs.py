"""kill -9 of a folder's process while it is called by HTTP: every call that was answered is run, and once."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.chaos.processes import begin, dataflare, end, ended, lines, press_ctrl_c, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.processes import Process

ROWS, SENDERS, CALLS, KILLS = 20, 3, 8, 7
WORKFLOW = f"""
id: hooked
runtime: {{parallelism: 2, checkpoint: {{interval: 20ms}}, state: {{type: sqlite, path: state}}}}
sources:
  made: {{type: generator, config: {{rows: {ROWS}, partitions: 2, rate: 200, columns: {{id: sequence}}}}}}
destinations:
  out: {{type: file, inputs: [made], config: {{path: out, format: jsonl}}}}
schedule: {{type: event, webhook: {{path: /go}}, overlap: queue, queue_max: 1000, retain: 1000}}
"""


class Sender(threading.Thread):
    """Makes calls one after the other, each until it is answered, under its key."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__()
        self._number, self._port = number, port
        self.runs: dict[str, str] = {}
        self.halt = threading.Event()

    def run(self) -> None:
        for call in range(CALLS):
            key = f"{self._number}-{call}"
            while key not in self.runs and not self.halt.is_set():
                run = self._send(key)
                if run:
                    self.runs[key] = run
                else:
                    time.sleep(0.02)

    def _send(self, key: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("POST", "/go", b"{}", {"Idempotency-Key": key})
            answer = connection.getresponse()
            return str(json.loads(answer.read())["run"]) if answer.status == 202 else ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()


def history(folder: Path) -> list[dict[str, object]]:
    found = dataflare(folder, "history", "hooked", "--state", "state", "--last", "1000", "--json")
    return [json.loads(line) for line in found.out.splitlines()]


def test_a_call_that_was_answered_is_run_once_whenever_the_process_is_killed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    (tmp_path / "hooked.yaml").write_text(WORKFLOW)
    senders = [Sender(number, port) for number in range(SENDERS)]
    rng = random.Random(3)
    process = keep(tmp_path, port)
    try:
        for sender in senders:
            sender.start()
        for _ in range(KILLS):
            wait_for_more(senders, rng.randrange(1, 5), process)
            time.sleep(rng.random() / 4)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            process = keep(tmp_path, port)
        for sender in senders:
            sender.join(60)
        for count in range(SENDERS, SENDERS * CALLS + 1, SENDERS):
            wait_until(partial(have_succeeded, tmp_path, count), process)
        press_ctrl_c(process)
        assert ended(process).code == 130
    finally:
        for sender in senders:
            sender.halt.set()
        end(process)
    answered = {key: run for sender in senders for key, run in sender.runs.items()}
    assert len(answered) == SENDERS * CALLS
    assert {str(run["key"]): run["run"] for run in history(tmp_path)} == answered
    assert sorted(row["id"] for row in lines(tmp_path / "out")) == sorted(list(range(ROWS)) * len(answered))


def have_succeeded(folder: Path, count: int) -> bool:
    return sum(run["status"] == "succeeded" for run in history(folder)) >= count


def keep(folder: Path, port: int) -> Process:
    return begin(folder, "run", ".", "--listen", f"127.0.0.1:{port}", "--log", "json")


def wait_for_more(senders: list[Sender], calls: int, process: Process) -> None:
    """Wait until so many more calls are answered, or all are."""
    goal = sum(len(s.runs) for s in senders) + calls
    wait_until(lambda: sum(len(s.runs) for s in senders) >= min(goal, SENDERS * CALLS), process)
