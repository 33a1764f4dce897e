"""Decodes blocks of whole JSON lines: the fast way, and the slow one for a block with a bad line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.formats.jsonl.drift import suspicion
from dataflare.formats.jsonl.read import JsonlReader
from dataflare.formats.jsonl.salvage import salvage
from dataflare.formats.rejected import Decoded

if TYPE_CHECKING:
    from dataflare.schema import Schema


class JsonlDecoder(JsonlReader):
    """A reader that puts bad lines aside, those too whose values the fast way would bend (a fifth of its time)."""

    def __init__(self, schema: Schema, memory_bytes_max: int = 256 << 20) -> None:
        """Open nothing yet; raise WorkflowError for columns that JSON lines cannot hold."""
        super().__init__(schema, memory_bytes_max)
        self._pattern = suspicion(schema)

    def decode(self, data: bytes) -> Decoded:
        """Return all rows of a block; only a block with a bad line takes the slow way."""
        import duckdb

        if self._suspect(data):
            return salvage(self, data)
        try:
            return Decoded(self.read(data))
        except (duckdb.Error, pa.ArrowInvalid):
            return salvage(self, data)

    def _suspect(self, data: bytes) -> bool:
        if self._pattern is None:
            return False
        block = pa.array([data], pa.binary())
        return bool(pc.match_substring_regex(block, pattern=self._pattern)[0].as_py())


__all__ = ["JsonlDecoder"]
