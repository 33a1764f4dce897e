"""What plugins may ask of their host: the functions behind the interface `dataflare:plugin/host`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("debug", "info", "warn", "error")
LOG_BYTES_MAX = 8 << 10
"""Of one message: the rest is not kept."""
COUNTERS_MAX, NAME_CHARACTERS_MAX = 1000, 200
STATE_BYTES_MAX = 256 << 20
_ENTRY_BYTES = 100
"""What a key takes beside its texts."""


class Host(Protocol):
    """Called in the thread of the plugin, in the middle of a call of it. What these raise ends the instance."""

    def log(self, level: str, message: str) -> None:
        """Take what a plugin says; `level` is one of LEVELS."""
        ...

    def metric(self, name: str, value: float) -> None:
        """Add to a counter."""
        ...

    def now(self) -> int:
        """Return the time of the epoch, microseconds since 1970."""
        ...

    def get_state(self, key: str) -> str | None:
        """Return the state of a key; both are JSON."""
        ...

    def set_state(self, key: str, value: str | None) -> None:
        """Keep the state of a key; None forgets it."""
        ...

    def settle(self, *, kept: bool) -> None:
        """Learn that a call has ended: what it set since the last one is kept, or forgotten where it was stopped."""
        ...


class QuietHost:
    """A host for plugins that run beside no workflow: what they say is kept, up to a bound."""

    SAID_MAX = 1000

    def __init__(self, *, now: int = 0) -> None:
        """Take the time that it is for the plugin."""
        self.said: list[tuple[str, str]] = []
        self.metrics: dict[str, float] = {}
        self._now = now
        self._state: dict[str, str] = {}
        self._set: dict[str, str | None] = {}
        self._bytes = self._set_bytes = 0

    @property
    def state(self) -> Mapping[str, str]:
        """The state by key."""
        return self._state

    def log(self, level: str, message: str) -> None:
        """Keep it."""
        if len(self.said) < self.SAID_MAX:
            self.said.append((level, message[:LOG_BYTES_MAX]))

    def metric(self, name: str, value: float) -> None:
        """Add it up; raise ValueError where there would be more counters than there may."""
        if name not in self.metrics and (len(self.metrics) >= COUNTERS_MAX or len(name) > NAME_CHARACTERS_MAX):
            raise ValueError(
                f"a plugin may have {COUNTERS_MAX:,} counters, with names of {NAME_CHARACTERS_MAX} characters"
            )
        self.metrics[name] = self.metrics.get(name, 0.0) + value

    def now(self) -> int:
        """Return the given time."""
        return self._now

    def get_state(self, key: str) -> str | None:
        """Return it from memory."""
        return self._set[key] if key in self._set else self._state.get(key)

    def set_state(self, key: str, value: str | None) -> None:
        """Keep it in memory; raise ValueError where it is more than there may be."""
        self._set_bytes += _size(key, value)
        if self._bytes + self._set_bytes > STATE_BYTES_MAX:
            raise ValueError(f"the state by key takes more than {STATE_BYTES_MAX >> 20} MB")
        self._set[key] = value

    def settle(self, *, kept: bool) -> None:
        """Keep what the call set, or not."""
        changed, self._set, self._set_bytes = self._set, {}, 0
        if not kept:
            return
        for key, value in changed.items():
            before = self._state.pop(key, None)
            self._bytes -= _size(key, before) if before is not None else 0
            if value is not None:
                self._state[key] = value
                self._bytes += _size(key, value)


def _size(key: str, value: str | None) -> int:
    return _ENTRY_BYTES + len(key) + len(value or "")


__all__ = ["LEVELS", "Host", "QuietHost"]
