"""Remembers what was found out once in a process, within a bound."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED_MAX = 4096


class Memory(dict[K, V]):
    """What was found out once; forgotten as a whole when it is much. The answers depend on their keys alone."""

    def keep(self, key: K, value: V) -> V:
        """Remember an answer and return it."""
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        self[key] = value
        return value


__all__ = ["REMEMBERED_MAX", "Memory"]
