"""The contract of lookups: rows by key, for enrichment."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from dataflare.component.contract import C, Component

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.schema import Schema


class Lookup(Component[C]):
    """Answers rows by key. It may be down or change: its node's error policy decides."""

    @abstractmethod
    def schema(self) -> Schema:
        """Return the schema of the answers, keys included."""

    @abstractmethod
    def find(self, keys: pa.Table) -> pa.Table:
        """Return the rows whose key columns equal a row of `keys`, in no order."""
