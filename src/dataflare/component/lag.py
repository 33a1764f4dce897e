"""How far a source is behind what feeds it: the figures, and a meter for sources that read a log by places."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

_MARKS_MAX = 64


@dataclass(frozen=True, slots=True)
class Lag:
    """Figures of one moment; None: the source cannot tell.

    `seconds`: how long ago that happened which was read last, by the clock of the server that logged it; 0 where
    nothing is left to read. `committed_seconds`: the same of what is committed everywhere. `bytes` of the log are
    there that are not committed.
    """

    seconds: float | None = None
    committed_seconds: float | None = None
    bytes: int | None = None

    def figures(self) -> dict[str, float]:
        """Return those that are known, by name."""
        told = {"seconds": self.seconds, "committed_seconds": self.committed_seconds, "bytes": self.bytes}
        return {
            name: value if name == "bytes" else round(value, 3) for name, value in told.items() if value is not None
        }


class LagMeter:
    """Makes a lag of places in a log, which are numbers of its bytes, and times, in microseconds since 1970 in UTC.

    Times are of the server: clocks of other machines do not matter. For any thread.
    """

    def __init__(self, place: int) -> None:
        """All before a place is read and committed."""
        self._lock = threading.Lock()
        self._read, self._committed = _Reached(place), _Reached(place)
        self._end = self._now = self._ahead = 0

    def looked(self, end: int, now: int) -> None:
        """The log ends at a place at a time: whoever has read up to there has read all of that time."""
        with self._lock:
            self._end, self._now = max(end, self._end), now
            self._read.mark(end, now)

    def read(self, place: int, time: int = 0, ahead: int = 0) -> None:
        """All before a place is read; the newest of it happened at a time (0: nobody says), more at `ahead`."""
        with self._lock:
            self._ahead = ahead
            self._read.reach(place, time)
            self._committed.mark(self._read.place, self._read.time)

    def committed(self, place: int) -> None:
        """All before a place is committed everywhere."""
        with self._lock:
            self._committed.reach(place, 0)

    def lag(self) -> Lag | None:
        """Return the figures as of the last look at the end of the log; None before the first one."""
        with self._lock:
            if not self._now:
                return None
            seconds = self._seconds(self._read.place, max(self._read.time, self._ahead))
            committed = self._seconds(self._committed.place, self._committed.time)
            return Lag(seconds, committed, max(0, self._end - self._committed.place))

    def _seconds(self, place: int, time: int) -> float | None:
        if place >= self._end:
            return 0.0
        return max(0, self._now - time) / 1e6 if time else None


class _Reached:
    """A place, the time of the newest that is before it (0: not known), and times of later places."""

    def __init__(self, place: int) -> None:
        self.place, self.time = place, 0
        self._marks = deque[tuple[int, int]]()
        self._step = self._passed = 1

    def mark(self, place: int, time: int) -> None:
        """Remember the time of a later place; where many wait, of each few one: the lag is a little more then."""
        if not time or place <= self.place or (self._marks and self._marks[-1] >= (place, time)):
            return
        self._passed += 1
        if self._marks and self._passed % self._step:
            return
        if len(self._marks) == _MARKS_MAX:
            self._marks, self._step = deque(list(self._marks)[::2]), self._step * 2
        elif not self._marks:
            self._step = 1
        self._marks.append((place, time))

    def reach(self, place: int, time: int) -> None:
        """Go on to a place."""
        self.place, self.time = max(place, self.place), max(time, self.time)
        while self._marks and self._marks[0][0] <= self.place:
            self.time = max(self.time, self._marks.popleft()[1])


__all__ = ["Lag", "LagMeter"]
