"""JSON records of one workflow on a state store: each with a checksum, and what is damaged known by its key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dataflare.errors import Place, StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.component import StateStore
    from dataflare.security.codec import Codec


class Records:
    """Reads and writes under `TENANT/WORKFLOW/`; keys are given without that. Blocking."""

    def __init__(self, store: StateStore[Any], codec: Codec, prefix: str) -> None:
        """Read nothing yet."""
        self._store, self._codec, self._prefix = store, codec, prefix
        self.passed_over: frozenset[str] = frozenset()

    def create(self, key: str, value: Mapping[str, Any]) -> bool:
        """Write a record unless there is one; return whether this call wrote it."""
        return self._store.create(self._prefix + key, self._codec.encode(json.dumps(value).encode()))

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Write or replace a record."""
        self.put_bytes(key, json.dumps(value).encode())

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write or replace bytes."""
        self._store.put(self._prefix + key, self._codec.encode(data))

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a record; None where there is none, or where it is passed over."""
        data = None if key in self.passed_over else self.get_bytes(key)
        if data is None:
            return None
        value: dict[str, Any] = json.loads(data)
        return value

    def get_bytes(self, key: str) -> bytes | None:
        """Return bytes; raise StateError that names the key where they are damaged (invariant 3)."""
        try:
            data = self._store.get(self._prefix + key)
            return self._codec.decode(data) if data is not None else None
        except StateError as error:
            raise error.at(Place(path=self._prefix + key)) from None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with a prefix, sorted; also those that are passed over."""
        return [k.removeprefix(self._prefix) for k in self._store.keys(self._prefix + prefix)]

    def delete(self, keys: Iterable[str]) -> None:
        """Remove what is there of these."""
        self._store.delete([self._prefix + key for key in keys])

    def damaged(self, prefixes: Iterable[str]) -> dict[str, StateError]:
        """Return the records that cannot be read, by key, with the error of each."""
        found: dict[str, StateError] = {}
        for key in [k for prefix in prefixes for k in self.keys(prefix)]:
            try:
                self.get_bytes(key)
            except StateError as error:
                found[key] = error
        return found
