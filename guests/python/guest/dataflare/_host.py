"""The functions of the host."""

import sys
from typing import Any

from wit_world.imports import host

from dataflare._texts import read, whole, write

_LEVELS = {level.name.lower(): level for level in host.Level}
_LINE_MAX = 10_000


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        try:
            value = write(value)
        except (TypeError, ValueError, RecursionError):
            value = str(value)
    return value.encode(errors="replace").decode()


def log(message: Any, level: str = "info") -> None:
    """Say something: `level` is debug, info, warn or error."""
    if level not in _LEVELS:
        raise ValueError(f"there is no level {level!r}; there are {', '.join(_LEVELS)}")
    host.log(_LEVELS[level], _shown(message))


def metric(name: str, value: float = 1) -> None:
    """Add to a counter."""
    host.metric(whole(str(name)), float(value))


def now() -> int:
    """Return the time of the epoch in microseconds since 1970, which is the same when rows come again."""
    return host.now()


def get_state(key: Any) -> Any:
    """Return what is kept for a key, a list of values; None where there is nothing."""
    found = host.get_state(whole(write(key)))
    return None if found is None else read(found)


def set_state(key: Any, value: Any) -> None:
    """Keep a value for a key; None forgets it."""
    host.set_state(whole(write(key)), None if value is None else whole(write(value)))


class Said:
    """A stream whose lines are logged."""

    encoding = "utf-8"

    def __init__(self, level: str) -> None:
        """Start with nothing."""
        self._level, self._parts = level, []

    def write(self, text: str) -> int:
        """Log whole lines, and keep what is after the last line end."""
        *lines, rest = text.split("\n")
        for line in lines:
            self._parts.append(line)
            self.flush()
        if rest:
            self._parts.append(rest)
        return len(text)

    def flush(self) -> None:
        """Log what is there."""
        if self._parts:
            line = "".join(self._parts)[:_LINE_MAX]
            self._parts.clear()
            log(line, self._level)

    def isatty(self) -> bool:
        """Return that nobody types here."""
        return False

    def writable(self) -> bool:
        """Return that it takes text."""
        return True


_STREAMS = (Said("info"), Said("warn"))


def speak() -> None:
    """Have what is printed logged."""
    sys.stdout, sys.stderr = _STREAMS


def flush() -> None:
    """Log what is printed and has no line end yet."""
    for stream in _STREAMS:
        stream.flush()
