"""What processors have in common that make several rows of one by a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.contract import C
from dataflare.component.processor import Processor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.batch import Batch
    from dataflare.expression.expansion import Expansion


class ExpandingProcessor(Processor[C]):
    """Runs the statement that `open` puts into `expansion`."""

    expansion: Expansion | None = None

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Make the rows, in the order of those that they are made of."""
        del port
        assert self.expansion is not None, "it is not open"
        for rows in self.expansion.run(batch.rows):
            yield batch.replace(rows, "")

    def fates(self) -> Mapping[str, int]:
        """Return how many rows made none, and how many came of the others."""
        return self.expansion.fates() if self.expansion is not None else {}

    def close(self) -> None:
        """Free the plan."""
        if self.expansion is not None:
            self.expansion.close()


__all__ = ["ExpandingProcessor"]
