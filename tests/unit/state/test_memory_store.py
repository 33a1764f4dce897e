"""The store in memory keeps the contract of stores."""

from __future__ import annotations

from dataflare.component import Config
from dataflare.state.memory import MemoryStore
from dataflare.testing.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    durable = False

    def make(self) -> MemoryStore:
        return MemoryStore(Config())
