"""Looks rows up in a bucket of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import lookup
from dataflare.component.lookup import SourceLookup
from dataflare.connectors.memory.source import MemorySource, MemorySourceConfig

if TYPE_CHECKING:
    from dataflare.component import SourceConnector


@lookup("memory", status="beta", examples=[{"bucket": "customers", "columns": {"id": "int64", "segment": "string"}}])
class MemoryLookup(SourceLookup[MemorySourceConfig]):
    """Looks rows up in a bucket that a memory destination of this process fills: for tests.

    Settings are those of the source `memory`.
    """

    def source(self) -> SourceConnector[Any]:
        """Return the source of this bucket."""
        return MemorySource(self.config)


__all__ = ["MemoryLookup"]
