"""What processors have in common that lose or make rows in several ways: they count them as they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.contract import C
from dataflare.component.processor import Processor

if TYPE_CHECKING:
    from collections.abc import Mapping


class CountingProcessor(Processor[C]):
    """Counts how rows are lost or made, by kinds of count (invariant 5)."""

    def __init__(self, config: C) -> None:
        """Count nothing yet."""
        super().__init__(config)
        self._fates: dict[str, int] = {}

    def count(self, fate: str, rows: int) -> None:
        """Count so many rows more."""
        self._fates[fate] = self._fates.get(fate, 0) + rows

    def fates(self) -> Mapping[str, int]:
        """Return what became of the rows since the last call."""
        fates, self._fates = self._fates, {}
        return fates


__all__ = ["CountingProcessor"]
