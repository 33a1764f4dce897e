"""Rows of many small files become batches of a good size, each with the position after the last of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.batch import Batch, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

ROWS_MAX, BYTES_MAX = 1 << 16, 4 << 20
AHEAD = 32


class Gathered:
    """Rows that wait for more: bounded in rows and in bytes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rows: list[pa.Table] = []
        self._count = self._bytes = 0

    def add(self, rows: pa.Table) -> bool:
        """Take rows in; tell whether it is time to pass them on."""
        self._rows.append(rows)
        self._count += rows.num_rows
        self._bytes += rows.nbytes
        return self._count >= ROWS_MAX or self._bytes >= BYTES_MAX

    def take(self, position: Position) -> Iterator[Batch]:
        """Yield what waits as one batch, if anything does."""
        import pyarrow as pa

        if not self._rows:
            return
        rows = self._rows[0] if len(self._rows) == 1 else pa.concat_tables(self._rows).combine_chunks()
        self._rows, self._count, self._bytes = [], 0, 0
        yield Batch(rows, position=position)


def read_many(
    files: Sequence[Any],
    since: Position | None,
    ahead: Callable[[Sequence[Any]], None],
    read: Callable[[Any, Position | None], Iterator[Batch]],
) -> Iterator[Batch]:
    """Yield the rows of files in order; `read` yields those of one, with its own positions, from one of them on.

    `ahead` gets ready for the next few, which are then read one by one.

    A position is that of `read`, with the number of the file; bad rows stand behind the good ones of their file.
    """
    gathered = Gathered()
    first = since["file"] if since else 0
    inner: dict[str, Any] | None = {k: v for k, v in (since or {}).items() if k != "file"} or None
    after: dict[str, Any] = {"file": first}
    for number in range(first, len(files)):
        if (number - first) % AHEAD == 0:
            ahead(files[number : number + AHEAD])
        for batch in read(files[number], inner):
            position = {"file": number, **(batch.position or {})}
            if batch.stream or position.get("rows_done"):
                yield from gathered.take(after)
                yield Batch(batch.rows, batch.stream, position)
            elif gathered.add(batch.rows):
                yield from gathered.take(position)
            after = position
        after, inner = {"file": number + 1}, None
    yield from gathered.take(after)


__all__ = ["AHEAD", "Gathered", "read_many"]
