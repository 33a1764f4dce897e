"""kill -9 while files are followed that grow and are rotated: every line comes once."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from tests.chaos.processes import begin, end, lines, run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

KILLS, LINES_A_FILE = 5, 400
WORKFLOW = """
id: tail
runtime:
  checkpoint: {interval: 50ms, retain: 3}
sources:
  log:
    type: file
    mode: streaming
    config: {path: "logs/app.log*", format: jsonl, columns: {n: int64}, poll_interval: 20ms}
    on_error: {action: dead_letter}
destinations:
  out: {type: file, inputs: [log], config: {path: out, format: jsonl}}
  bad: {type: file, inputs: [log.errors], config: {path: bad, format: jsonl}}
"""


class Writer(threading.Thread):
    """Appends lines in pieces that do not end where lines do, some of them bad, and rotates by renaming."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.log, self.good, self.bad = folder, folder / "app.log", 0, 0
        self.done = threading.Event()
        folder.mkdir()
        self.log.touch()

    def run(self) -> None:
        rng, number = random.Random(5), 0
        while not self.done.wait(0.002):
            text = ""
            for _ in range(rng.randrange(1, 20)):
                number += 1
                if number % 501 == 0:
                    text, self.bad = f"{text}not json {self.bad}\n", self.bad + 1
                else:
                    text, self.good = f'{text}{{"n":{self.good}}}\n', self.good + 1
            cut = rng.randrange(len(text))
            with self.log.open("a", buffering=1 << 16) as file:
                file.write(text[:cut])
                file.flush()
                file.write(text[cut:])
            if number // LINES_A_FILE > len(list(self.folder.glob("app.log.*"))):
                self.rotate()

    def rotate(self) -> None:
        for old in sorted(self.folder.glob("app.log.*"), key=lambda p: -int(p.suffix[1:])):
            old.rename(self.folder / f"app.log.{int(old.suffix[1:]) + 1}")
        self.log.rename(self.folder / "app.log.1")
        self.log.touch()


def test_kills_of_a_follower_lose_and_repeat_no_line(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    writer = Writer(tmp_path / "logs")
    writer.start()
    try:
        for kill in range(KILLS):
            process = begin(tmp_path, "run", "workflow.yaml")
            before = len(lines(tmp_path / "out"))
            try:
                wait_until(lambda: len(lines(tmp_path / "out")) > before + 100 * kill, process)  # noqa: B023 - now
            finally:
                end(process)
    finally:
        writer.done.set()
        writer.join()
    assert run(tmp_path, "--until", "now").code == 0

    assert len(list((tmp_path / "logs").glob("app.log.*"))) > 1, "nothing was rotated"
    assert sorted(r["n"] for r in lines(tmp_path / "out")) == [*range(writer.good)]
    assert sorted(r["row"] for r in lines(tmp_path / "bad")) == sorted(f"not json {n}" for n in range(writer.bad))
    again = run(tmp_path, "--until", "now")
    assert again.code == 0
    assert again.rows("out") == {}
