"""What processors have in common that need all rows of their inputs before they yield any: they hold them."""

from __future__ import annotations

from abc import abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch
from dataflare.component.contract import C
from dataflare.plan_words import EdgeKind
from dataflare.processors.counting import CountingProcessor
from dataflare.processors.held import HeldRows, restore_told, told_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

_HELD_SHARE = 8
"""The part of its memory that a task may fill with rows that wait."""


TABLES: Mapping[str, Any] = MappingProxyType(
    {"accepts": (EdgeKind.APPEND,), "yields": EdgeKind.APPEND, "counts": ("absorbed", "expanded")}
)
"""What a spec says where all rows of tables wait, and those of another table come of them."""


class BoundedProcessor(CountingProcessor[C]):
    """Holds the rows of its inputs, by name, until all have ended; then yields what comes of them.

    The names are part of the state: a later version has to know them.
    """

    def __init__(self, config: C) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self.held: dict[str, HeldRows] = {}

    @abstractmethod
    def sides(self) -> Mapping[str, HeldRows]:
        """Return what holds the rows, by name and in the order of the inputs; called once, by `open`."""

    @abstractmethod
    def results(self) -> Iterator[pa.Table]:
        """Yield what comes of all rows; called once, when all have come."""

    def memory_bytes_max(self, sides: int) -> int:
        """Return how much memory each of so many sides may fill with rows."""
        return self.context.budget.memory_bytes_max // _HELD_SHARE // sides

    def open(self) -> None:
        """Prepare to hold rows."""
        self.held = dict(self.sides())

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take the rows in; where all inputs are alike there is one side for them."""
        sides = list(self.held.values())
        side = sides[port] if len(sides) > 1 else sides[0]
        side.add(batch.rows.select(side.schema.names))
        self.count("absorbed", batch.num_rows)
        return ()

    def finish(self) -> Iterable[Batch]:
        """Yield the results; nothing is held after that."""
        for table in self.results():
            self.count("expanded", table.num_rows)
            yield Batch(table)
        self.close()

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows that wait."""
        return told_state(self.held)

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return [name for held in self.held.values() for name in held.segments()]

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        restore_told(self.held, state)

    def close(self) -> None:
        """Forget the rows."""
        for held in self.held.values():
            held.close()


__all__ = ["BoundedProcessor"]
