"""What plugins may ask of their host: the functions behind the interface `dataflare:plugin/host`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("debug", "info", "warn", "error")


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

    @property
    def state(self) -> Mapping[str, str]:
        """The state by key."""
        return self._state

    def log(self, level: str, message: str) -> None:
        """Keep it."""
        if len(self.said) < self.SAID_MAX:
            self.said.append((level, message))

    def metric(self, name: str, value: float) -> None:
        """Add it up."""
        self.metrics[name] = self.metrics.get(name, 0.0) + value

    def now(self) -> int:
        """Return the given time."""
        return self._now

    def get_state(self, key: str) -> str | None:
        """Return it from memory."""
        return self._set[key] if key in self._set else self._state.get(key)

    def set_state(self, key: str, value: str | None) -> None:
        """Keep it in memory."""
        self._set[key] = value

    def settle(self, *, kept: bool) -> None:
        """Keep what the call set, or not."""
        changed, self._set = self._set, {}
        if not kept:
            return
        for key, value in changed.items():
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = value


__all__ = ["LEVELS", "Host", "QuietHost"]
