"""Small batches that wait are run as one: a kernel costs the same for ten rows as for a thousand.

What to run takes no longer than to hand to a thread and back is told here too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.batch import Batch, Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROWS_MAX = 1 << 16
BYTES_MAX = 1 << 20
FEW_ROWS, FEW_BYTES = 16, 4096


class Room:
    """What may still be gathered with a first batch: bounded in rows and in bytes."""

    def __init__(self, first: Batch) -> None:
        """Begin with the first."""
        self._rows, self._bytes = ROWS_MAX - first.num_rows, BYTES_MAX - first.num_bytes
        self._open = not isinstance(first.payload, Encoded)

    @property
    def is_open(self) -> bool:
        """Whether anything may be gathered with the first batch; nothing is with rows that are encoded."""
        return self._open and self._rows > 0 and self._bytes > 0

    def take(self, batch: Batch) -> bool:
        """Take a further batch in; False where it does not fit."""
        rows, size = self._rows - batch.num_rows, self._bytes - batch.num_bytes
        if rows < 0 or size < 0:
            return False
        self._rows, self._bytes = rows, size
        return True


def merged(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Yield batches in their order, neighbours of one stream and one schema as one, with the position of the last."""
    run: list[Batch] = []
    for batch in batches:
        if run and not _alike(run[-1], batch):
            yield _whole(run)
            run = []
        run.append(batch)
    if run:
        yield _whole(run)


def is_few(batch: Batch) -> bool:
    """Tell whether to run a batch takes no longer than to hand it to a thread and back."""
    payload = batch.payload
    return len(payload.data) <= FEW_BYTES if isinstance(payload, Encoded) else payload.num_rows <= FEW_ROWS


def _alike(one: Batch, other: Batch) -> bool:
    if isinstance(one.payload, Encoded) or isinstance(other.payload, Encoded):
        return False
    return one.stream == other.stream and bool(one.rows.schema.equals(other.rows.schema))


def _whole(run: list[Batch]) -> Batch:
    if len(run) == 1:
        return run[0]
    import pyarrow as pa

    rows = pa.concat_tables([b.rows for b in run]).combine_chunks()
    position = next((b.position for b in reversed(run) if b.position is not None), None)
    watermark = next((b.watermark for b in reversed(run) if b.watermark is not None), None)
    return replace(run[-1], payload=rows, position=position, watermark=watermark)
