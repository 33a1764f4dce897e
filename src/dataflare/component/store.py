"""The contract of state stores: small durable values under keys, created once or replaced, and a lease."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from dataflare.component.contract import C, Component


class Lease(Protocol):
    """The right to run a workflow on this state; a dead holder loses it."""

    def release(self) -> None:
        """Give it back."""
        ...


class StateStore(Component[C]):
    """Durable bytes by key. Every call is blocking and durable when it returns; a value is whole or not there.

    Keys are `/`-separated words. `create` is the only atomic step that the epoch protocol needs, so that memory,
    SQLite, PostgreSQL, an object store (put-if-absent) and Redis can all serve. Values of any size are accepted.
    """

    def open(self) -> None:
        """Connect and create what is missing, with mode 0600."""

    @abstractmethod
    def create(self, key: str, value: bytes) -> bool:
        """Write if there is no such key; return whether this call wrote it."""

    @abstractmethod
    def put(self, key: str, value: bytes) -> None:
        """Write or replace."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """Return the value, None where there is none; raise StateError where it cannot be read (invariant 3)."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with a prefix, sorted."""

    @abstractmethod
    def delete(self, keys: list[str]) -> None:
        """Remove these keys where they exist."""

    @abstractmethod
    def lease(self, name: str) -> Lease:
        """Take the lease, or raise LeaseHeldError naming the holder."""

    def close(self) -> None:
        """Release connections and leases."""
