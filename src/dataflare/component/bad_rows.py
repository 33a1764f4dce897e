"""Rows of a source that are not taken: they follow the good ones of their batch, and a resume between is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch
from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from dataflare.batch import Position

    Read = Callable[[Position | None, Position | None], Iterator[Batch]]

HALF = "half"
"""A position between the good rows of a batch and its bad ones: the positions before and after that batch."""


def with_bad_rows(read: Read, since: Position | None, until: Position | None) -> Iterator[Batch]:
    """Yield what `read` yields after `since` up to `until`; it yields the bad rows of a batch just before that batch.

    Both have the position after the batch. `read` must yield the same bad rows between two positions every time.
    """
    end = until[HALF][1] if until and HALF in until else until
    if since and HALF in since:
        before, since = since[HALF]
        yield _together([b for b in read(before, since) if b.stream == "errors"], since)
        if until is not None and dict(since) == dict(until):
            return
    bad: Batch | None = None
    for batch in read(since, end):
        if batch.stream == "errors":
            bad = batch
            continue
        if bad is not None:
            half = {HALF: [since, batch.position]}
            yield Batch(batch.payload, batch.stream, half)
            if until is not None and half == dict(until):
                return
            yield bad
            bad = None
        else:
            yield batch
        since = batch.position


def _together(found: Sequence[Batch], position: Position) -> Batch:
    import pyarrow as pa

    from dataflare.component.judging import ERRORS

    tables = [b.rows for b in found] or [ERRORS.to_arrow().empty_table()]
    return Batch(pa.concat_tables(tables), "errors", position)


def converted(column: Any, kind: pa.DataType, convert: Callable[[Any], pa.Array], bad: list[int]) -> pa.ChunkedArray:
    """Return what `convert` makes of a column, and null where it raises DataError: those numbers go to `bad`."""
    import pyarrow as pa

    return pa.chunked_array(_pieces(column, kind, convert, bad), kind)


def _pieces(column: Any, kind: pa.DataType, convert: Callable[[Any], pa.Array], bad: list[int]) -> list[pa.Array]:
    import pyarrow as pa

    found: list[pa.Array] = []
    waiting = [(0, len(column))]
    while waiting:
        first, last = waiting.pop()
        try:
            found.append(convert(column[first:last]))
        except DataError:
            if last - first == 1:
                bad.append(first)
                found.append(pa.nulls(1, kind))
                continue
            middle = (first + last) // 2
            waiting += [(middle, last), (first, middle)]
    return found


__all__ = ["HALF", "converted", "with_bad_rows"]
