"""State in this process: gone when it ends."""

from __future__ import annotations

import os
import threading

from dataflare.component import Config, Lease, StateStore, state_store
from dataflare.errors import LeaseHeldError


@state_store("memory", status="beta", examples=[{}])
class MemoryStore(StateStore[Config]):
    """Keeps state in this process; a run that ends or dies starts again from the beginning.

    For tests, and for workflows that are cheap to repeat into a destination that is overwritten. What was stored is
    there as long as this instance is, also after `close` and `open`.
    """

    def __init__(self, config: Config) -> None:
        """Begin empty."""
        super().__init__(config)
        self._values: dict[str, bytes] = {}
        self._held: dict[str, Lease] = {}
        self._lock = threading.Lock()

    def create(self, key: str, value: bytes) -> bool:
        """Write if there is no such key."""
        with self._lock:
            if key in self._values:
                return False
            self._values[key] = value
            return True

    def put(self, key: str, value: bytes) -> None:
        """Write or replace."""
        with self._lock:
            self._values[key] = value

    def get(self, key: str) -> bytes | None:
        """Return the value, if there is one."""
        with self._lock:
            return self._values.get(key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with a prefix, sorted."""
        with self._lock:
            return sorted(k for k in self._values if k.startswith(prefix))

    def delete(self, keys: list[str]) -> None:
        """Remove these keys where they exist."""
        with self._lock:
            for key in keys:
                self._values.pop(key, None)

    def lease(self, name: str) -> Lease:
        """Take the lease; it keeps out others on this same store only."""
        with self._lock:
            if name in self._held:
                raise LeaseHeldError(
                    f"{name} is run by this very process ({os.getpid()})", hint="wait until that run has ended"
                )
            self._held[name] = lease = _MemoryLease(self, name)
        return lease

    def close(self) -> None:
        """Give all leases back; values stay."""
        with self._lock:
            self._held.clear()

    def give_back(self, name: str, lease: Lease) -> None:
        """End this lease; one that was taken since is left alone."""
        with self._lock:
            if self._held.get(name) is lease:
                del self._held[name]


class _MemoryLease:
    def __init__(self, store: MemoryStore, name: str) -> None:
        self._store, self._name = store, name

    def release(self) -> None:
        self._store.give_back(self._name, self)
