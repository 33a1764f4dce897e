"""Sums of the hashes of rows, at the end of an edge where they leave and at that where they come.

Where both ends are in one task they hold one and the same table, which nobody can change: it is hashed once. Bytes that
pass through are hashed block by block, as nobody gathers or cuts those.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING

from dataflare.batch import Encoded
from dataflare.state.ledger import RowSum

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.state.ledger import Ends

_KNOWN_MAX = 8
NOTHING = RowSum()


class EdgeSums:
    """The sums of one task since they were last taken. Not for several threads at once."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._ends: Ends = {}
        self._known: dict[int, tuple[weakref.ref[pa.Table], RowSum]] = {}

    def left(self, edge: str, batch: Batch, copies: int = 1) -> None:
        """Add rows that leave by an edge, as many times as they are sent."""
        if batch.num_rows:
            left, came = self._ends.get(edge, (NOTHING, NOTHING))
            self._ends[edge] = left + self._sum(batch).times(copies), came

    def came(self, edge: str, batch: Batch) -> None:
        """Add rows that come by an edge."""
        if batch.num_rows:
            left, came = self._ends.get(edge, (NOTHING, NOTHING))
            self._ends[edge] = left, came + self._sum(batch)

    def take(self) -> Ends:
        """Return the sums and start again at nothing."""
        taken, self._ends = self._ends, {}
        return taken

    def _sum(self, batch: Batch) -> RowSum:
        payload = batch.payload
        if isinstance(payload, Encoded):
            digest = hashlib.blake2b(payload.data, digest_size=16, usedforsecurity=False).digest()
            return RowSum(payload.count, int.from_bytes(digest))
        known = self._known.get(id(payload))
        if known is not None and known[0]() is payload:
            return known[1]
        from dataflare.expression.row_sums import row_sum

        found = RowSum(payload.num_rows, row_sum(payload))
        if len(self._known) >= _KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[id(payload)] = weakref.ref(payload), found
        return found


__all__ = ["EdgeSums"]
