"""Bounds what one group may gather for one result: values of lists, characters of joined texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from dataflare.expression.grouping import Grouping

VALUES_MAX = 10_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """Looks at the columns of partial rows that grow with the rows of their group.

    These are lists, exported or not, and joined texts; states of a fixed size have no column of these types.
    """

    grouping: Grouping
    values_max: int

    def _gathered(self, rows: pa.Table) -> Iterator[tuple[int, pa.ChunkedArray]]:
        """Yield the number of each part that grows, and how much each row holds of it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for number, part in enumerate(self.grouping.parts):
            column = rows.column(len(self.grouping.keys) + number)
            if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                yield number, pc.list_value_length(column)
            elif part.is_state and (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
                yield number, pc.binary_length(column)

    def may_be_passed(self, rows: pa.Table) -> bool:
        """Tell whether some group of these partial rows, several a group, may hold too much."""
        import pyarrow.compute as pc

        return any((pc.sum(lengths).as_py() or 0) > self.values_max for _, lengths in self._gathered(rows))

    def check(self, merged: pa.Table) -> None:
        """Raise DataError where a group holds too much; there is one partial row a group."""
        import pyarrow.compute as pc

        for number, lengths in self._gathered(merged):
            self.check_count(number, pc.max(lengths).as_py() or 0)

    def check_count(self, number: int, most: int) -> None:
        """Raise DataError where a group may not hold so many values of a part."""
        if most > self.values_max:
            raise DataError(
                f"{self.grouping.result_of(number)}: one group holds {most:,} values of the {self.values_max:,} "
                "that values_max allows",
                hint="use approx_count_distinct, approx_quantile or min(value, n), group by more, or raise it",
            )


__all__ = ["VALUES_MAX", "Bounds"]
