"""Gets a batch through a worker that may die or be late: tried again, narrowed down to the row that is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.errors import DataError
from dataflare.processors.python_process import Result, WorkerLostError, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.processors.python_here import FunctionHere

RESTARTS_PER_HALVING = 2


class Hunt:
    """One batch. A part of it that loses the worker is cut smaller until a single row is left, which is rejected.

    The row that a record function was at when it was lost is tried alone first, so that one killing row costs three
    restarts whatever the size of the batch. Restarts are bounded by twice the halvings that the batch allows.
    """

    def __init__(
        self, worker: WorkerProcess | FunctionHere, noticed: Callable[[str], None], *, sources: bool, first_only: bool
    ) -> None:
        """`first_only`: one rejected row is all that is asked for. `noticed` hears of each loss."""
        self._worker, self._noticed, self._sources, self._first_only = worker, noticed, sources, first_only
        self._parts: dict[int, Result] = {}
        self._rejected: dict[int, tuple[str, int]] = {}
        self._restarts_left = 0
        self._restarts = 0

    def run(self, rows: pa.Table) -> Result:
        """Return what became of the rows, in their order; raise DataError when the worker is lost too often."""
        self._restarts_left = RESTARTS_PER_HALVING * rows.num_rows.bit_length() + RESTARTS_PER_HALVING
        todo = [(0, rows.num_rows, True)]
        while todo and not (self._first_only and self._rejected):
            start, stop, again = todo.pop()
            lost = self._try(rows, start, stop)
            if lost is None:
                continue
            if again and (not lost.late or stop - start == 1):
                todo.append((start, stop, False))
            elif stop - start == 1:
                self._rejected[start] = (lost.what, 0)
            else:
                todo += [(a, b, False) for a, b in reversed(self._narrowed(rows, start, stop, lost))]
        return self._whole()

    def _narrowed(self, rows: pa.Table, start: int, stop: int, lost: WorkerLostError) -> list[tuple[int, int]]:
        """Return the parts in which to go on; the row that the worker was at is settled here."""
        if lost.row is None:
            return _halves(start, stop)
        row = start + lost.row
        again = self._try(rows, row, row + 1)
        if again is not None:
            self._rejected[row] = (again.what, 0)
            return [part for part in ((start, row), (row + 1, stop)) if part[0] < part[1]]
        # That row is innocent: the worker was lost to something that grows, such as time or memory.
        return [*_halves(start, row), *_halves(row + 1, stop)]

    def _try(self, rows: pa.Table, start: int, stop: int) -> WorkerLostError | None:
        try:
            part = rows.slice(start, stop - start)
            result = self._worker.run(part, sources=self._sources, first_only=self._first_only)
        except WorkerLostError as lost:
            self._restarts += 1
            if self._restarts > self._restarts_left:
                raise DataError(
                    f"the function has lost its process {self._restarts} times in one batch: {lost.what}",
                    hint="correct the function, or raise `timeout` or `memory` of the node",
                ) from lost
            self._noticed(f"{lost.what}; the process is started again, and its rows are tried again")
            return lost
        self._parts[start] = result
        self._rejected |= {start + row: why for row, why in result.rejected.items()}
        return None

    def _whole(self) -> Result:
        parts = [self._parts[start] for start in sorted(self._parts)]
        table = pa.concat_tables([p.rows for p in parts]) if parts else None
        sources = None
        if self._sources and parts:
            moved = [pc.add(self._parts[s].sources, pa.scalar(s, pa.int32())) for s in sorted(self._parts)]
            sources = pa.chunked_array([c for m in moved for c in m.chunks], pa.int32())
        return Result(table, sources, dict(sorted(self._rejected.items())))


def _halves(start: int, stop: int) -> list[tuple[int, int]]:
    middle = (start + stop) // 2
    return [part for part in ((start, middle), (middle, stop)) if part[0] < part[1]]
