"""What can ask for a run besides the clock: files that arrive, events that are given a name, ends of other workflows.

A sense looks, and returns what it has seen and when each event came. What it has seen goes into the agenda together
with the runs that follow, so that an event leads to a run once, whatever crashes.
"""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dataflare.errors import DataError
from dataflare.operate.history import SKIPPED
from dataflare.state.records import Records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component import StateStore
    from dataflare.operate.history import History
    from dataflare.schedule import After
    from dataflare.security.codec import Codec

FILES_MAX = 100_000
EVENTS_MAX = 1000
"""So many events are kept, the newest; whoever was away for longer has missed those before."""
DIGEST_BYTES = 8

Sensed = tuple[Any, list[int]]


class Sense(Protocol):
    """Something that can ask for a run; `name` is the trigger that its runs have."""

    @property
    def name(self) -> str:
        """The trigger."""
        ...

    def look(self, seen: Any, now: int) -> Sensed:
        """Return what is seen by now, and when each event came that was not in `seen`. Blocking.

        `seen` is None when it looks for the first time.
        """
        ...


@dataclass
class FileSense:
    """Files that fit a glob: what is new or has changed, and was then left alone, asks for one run.

    Files that are there when the schedule is taken up count as new. Remembers a digest of each file, by name, size
    and time.
    """

    pattern: str
    settle_seconds: float
    name: str = "files"
    _unsettled: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    def look(self, seen: Any, now: int) -> Sensed:
        """See what is there."""
        known = set(seen or ())
        present: set[str] = set()
        came: list[int] = []
        unsettled: dict[str, tuple[bytes, int]] = {}
        for path, digest in self._listed():
            text = digest.hex()
            if text in known:
                present.add(text)
                continue
            before, since = self._unsettled.get(path, (b"", now))
            since = since if before == digest and since <= now else now
            if now - since < self.settle_seconds * 1_000_000:
                unsettled[path] = digest, since
                continue
            present.add(text)
            came.append(since)
        self._unsettled = unsettled
        return sorted(present), [min(came)] if came else []

    def _listed(self) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for path in glob.iglob(self.pattern, recursive=True):  # noqa: PTH207 - it may be absolute
            try:
                facts = Path(path).stat()
            except OSError:
                continue  # it went meanwhile
            if not os.path.isfile(path) or os.path.basename(path).startswith("."):  # noqa: PTH113, PTH119 - texts
                continue
            text = f"{path}|{facts.st_size}|{facts.st_mtime_ns}"
            found.append((path, hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:DIGEST_BYTES]))
            if len(found) > FILES_MAX:
                raise DataError(
                    f"more than {FILES_MAX:,} files fit {self.pattern}",
                    hint="let schedule.files fit fewer, or move files away once they are read",
                )
        return found


class EventLog:
    """Events by name, for all workflows of a state; keys `TENANT/@events/NUMBER`. Blocking."""

    def __init__(self, store: StateStore[Any], codec: Codec, *, tenant: str = "default") -> None:
        """Read nothing yet."""
        self._records = Records(store, codec, f"{tenant}/@events/")

    def publish(self, event: str, now: int, principal: str) -> int:
        """Write that an event happened; return its number."""
        numbers = self.numbers()
        number = numbers[-1] if numbers else 0
        while True:
            number += 1
            if self._records.create(f"{number:012d}", {"event": event, "time": now, "principal": principal}):
                self._records.delete([f"{old:012d}" for old in numbers[: -EVENTS_MAX + 1]])
                return number

    def since(self, number: int, names: Sequence[str]) -> tuple[int, list[int]]:
        """Return the newest number, and the times of the events of these names after `number`."""
        numbers = self.numbers()
        times: list[int] = []
        for new in (n for n in numbers if n > number):
            record = self._records.get(f"{new:012d}")
            if record is not None and record["event"] in names:
                times.append(int(record["time"]))
        return max([number, *numbers]), times

    def numbers(self) -> list[int]:
        """Return the numbers that are kept, oldest first."""
        return [int(key) for key in self._records.keys("")]


@dataclass
class EventSense:
    """Events of certain names; those from before the schedule was taken up do not count."""

    log: EventLog
    names: Sequence[str]
    name: str = "event"

    def look(self, seen: Any, now: int) -> Sensed:
        """See what was published."""
        del now
        if seen is None:
            return max([0, *self.log.numbers()]), []
        return self.log.since(int(seen), self.names)


@dataclass
class AfterSense:
    """Runs of another workflow that ended as wanted; those from before the schedule was taken up do not count."""

    history: History
    after: After
    name: str = "after"

    def look(self, seen: Any, now: int) -> Sensed:
        """See which runs have ended."""
        del now
        numbers = self.history.numbers()
        dealt_with = set(seen or ())
        new = [n for n in numbers if n not in dealt_with]
        times: list[int] = []
        handled = dealt_with & set(numbers)
        for number in new:
            record = self.history.get(number)
            if record is None or record.open:
                continue
            handled.add(number)
            wanted = self.after.when in (record.status, "ended") and record.status != SKIPPED
            if seen is not None and wanted:
                times.append(record.ended)
        return sorted(handled), times
