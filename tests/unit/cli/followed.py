"""A folder whose workflows are kept and followed in the process of the test, which says when it is looked at."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from dataflare.cli.following import FolderWatch, Follower
from dataflare.cli.members import Around, Members
from dataflare.cli.running import RunOptions
from dataflare.component import Registry
from dataflare.executor.runtime import LocalRuntime
from dataflare.listening.server import Address
from dataflare.monitoring.events import Noticed, WorkflowFollowed
from dataflare.operate.history import History
from dataflare.operate.scheduler import Scheduler
from dataflare.operate.senses import EventLog
from dataflare.security.codec import Codec
from dataflare.state.sqlite import SqliteStore, SqliteStoreConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from dataflare.errors import DataFlareError
    from dataflare.operate.history import RunRecord

SECONDS_MAX = 60.0
TEXT = """
id: NAME
runtime: {checkpoint: {interval: 20ms}, state: {type: sqlite, path: STATE}}
sources:
  made: {type: generator, mode: MODE, config: {rows: ROWS, columns: {id: sequence}}}
transformations:
  named: {type: mapping, inputs: [made], config: {set: {by: "'BY'"}}}
destinations:
  out: {type: file, inputs: [named], config: {path: out-NAME, format: jsonl}}
"""
WAITING = "schedule: {type: event, event: go, overlap: queue, missed: all}\n"
ENDLESS = {"MODE": "streaming", "ROWS": "null, rate: 200"}


def write(folder: Path, name: str, schedule: str = WAITING, file: str = "", **words: str) -> Path:
    text = TEXT
    for word, value in {"STATE": "state", "MODE": "full", "ROWS": "5", "BY": "first", **words, "NAME": name}.items():
        text = text.replace(word, value)
    path = folder / (file or f"{name}.yaml")
    path.write_text(text + schedule)
    return path


class Followed:
    """A folder whose workflows are kept and followed; nobody looks at it but the test."""

    def __init__(self, folder: Path, stack: ExitStack, *, restart: bool) -> None:
        self.folder, self.events = folder, list[Any]()
        self.said: list[DataFlareError] = []
        address = Address("127.0.0.1", 0)
        self.members = Members(Around(Registry.installed(), RunOptions(), self.events.append, address, stack))
        self._watch = FolderWatch(folder)
        for path in sorted(folder.glob("*.yaml")):
            self.members.add(self.members.read(path))
        kept = [self.members.member(entry) for entry in self.members.entries.values()]
        self.scheduler = Scheduler(kept, self.events.append, address, runs_max=4)
        self.follower = Follower(self._watch, self.members, self.scheduler, restart=restart)
        self._runtime = LocalRuntime(self.events.append)
        self.store = SqliteStore(SqliteStoreConfig(path=str(folder / "state")))
        self.store.open()
        stack.callback(self.store.close)
        stack.callback(self._runtime.close)

    async def look(self, times: int = 2) -> None:
        """Look so often that what has changed counts."""
        for _ in range(times):
            await self.follower.look(self._runtime, self.said.append)

    def trigger(self) -> None:
        EventLog(self.store, Codec()).publish("go", 1, "test")

    def runs(self, name: str) -> list[RunRecord]:
        return History(self.store, Codec(), name).newest(100)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not reached():  # noqa: ASYNC110 - another process or thread gets there
                await asyncio.sleep(0.01)

    async def until_run(self, name: str, count: int) -> None:
        """Wait until so many runs have succeeded."""
        await self.until(lambda: [r.status for r in self.runs(name)].count("succeeded") == count)

    async def taken_up(self, *names: str) -> None:
        """Wait until these schedules are kept, so that events count."""
        keys = [f"default/{name}/agenda/" for name in names]
        await self.until(lambda: all(b"seen" in (self._agenda(key) or b"") for key in keys))

    def _agenda(self, prefix: str) -> bytes | None:
        found = self.store.keys(prefix)
        value = self.store.get(found[-1]) if found else None
        return value if value and b'"event"' in value else None

    def rows(self, name: str) -> list[dict[str, Any]]:
        files = sorted((self.folder / f"out-{name}").glob("part-*.jsonl"))
        return [json.loads(line) for f in files for line in f.read_text().splitlines()]

    def statuses(self) -> dict[str, str]:
        return {s.workflow: s.status for s in self.scheduler.standings}

    def told(self) -> list[tuple[str, str]]:
        return [(e.workflow, e.change) for e in self.events if isinstance(e, WorkflowFollowed)]

    def notices(self) -> list[str]:
        return [e.message for e in self.events if isinstance(e, Noticed)]


@asynccontextmanager
async def followed(folder: Path, *, restart: bool = False) -> AsyncIterator[Followed]:
    with ExitStack() as stack:
        made = Followed(folder, stack, restart=restart)
        keeping = asyncio.create_task(made.scheduler.keep())
        try:
            await asyncio.sleep(0)
            yield made
            made.scheduler.stop()
            async with asyncio.timeout(SECONDS_MAX):
                await keeping
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
