"""Lets a chain read the JSON lines of a source itself: one statement reads, filters and computes.

Rows that nothing keeps are never made, and those that are kept are made once. Where a row is bad, or an expression
fails for one, nothing has happened: the source decodes the block, and the chain runs over its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.batch import Encoded
from dataflare.expression.session import FAITHFUL, INPUT
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.read import Query

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.schema import Schema

CODEC = "jsonl"
TRIALS = 3
"""After so many blocks in a row that had to be decoded no further one is tried: each costs what it would have saved."""


class Lines:
    """The reader of one chain. Not for several threads at once; close it."""

    def __init__(self, schema: Schema, memory_bytes_max: int) -> None:
        """Open nothing yet; rows are of `schema`."""
        self._decoder = JsonlDecoder(schema, memory_bytes_max, FAITHFUL)
        self._trials = TRIALS

    def reading(self, batch: Batch) -> Callable[[str], tuple[int, pa.Table] | None] | None:
        """Return what answers a statement over the rows of a batch; None where it is of no use to try."""
        payload = batch.payload
        if not isinstance(payload, Encoded) or payload.codec != CODEC or not self._trials:
            return None
        if self._decoder.is_small(payload.data):
            return None
        data = bytes(payload.data)

        def answer(sql: str) -> tuple[int, pa.Table] | None:
            answered = self._decoder.try_answer(data, Query(INPUT, sql))
            self._trials = TRIALS if answered is not None else self._trials - 1
            return answered

        return answer

    def close(self) -> None:
        """Free the reader."""
        self._decoder.close()


__all__ = ["CODEC", "Lines"]
