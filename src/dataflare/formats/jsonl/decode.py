"""Decodes blocks of whole JSON lines: the fast way, and the slow one for a block with a bad line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.formats.jsonl.drift import suspicion
from dataflare.formats.jsonl.few import FewLines
from dataflare.formats.jsonl.read import JsonlReader
from dataflare.formats.jsonl.salvage import salvage
from dataflare.formats.rejected import Decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.formats.jsonl.read import Query
    from dataflare.schema import Schema


TRIALS = 3
"""After so many blocks that could not be read narrowly, no further one is tried so."""


class JsonlDecoder(JsonlReader):
    """A reader that puts bad lines aside, those too whose values the fast way would bend."""

    def __init__(self, schema: Schema, memory_bytes_max: int = 256 << 20, settings: Sequence[str] = ()) -> None:
        """Open nothing yet; raise WorkflowError for columns that JSON lines cannot hold."""
        super().__init__(schema, memory_bytes_max, settings)
        self._few = FewLines(schema)
        self._pattern, self._narrow_pattern = suspicion(schema), suspicion(schema, narrow=True)
        self._trials = TRIALS if self._pattern != self._narrow_pattern else 0

    def is_small(self, data: bytes | memoryview) -> bool:
        """Tell whether a block is so small that no engine is asked, unless a line is not plain."""
        return self._few.takes(data)

    def decode(self, data: bytes) -> Decoded:
        """Return all rows of a block; only a block with a bad line takes the slow way."""
        if self._few.takes(data) and (rows := self._few.read(data)) is not None:
            return Decoded(rows)
        import duckdb

        if self._trials and not self._found(self._narrow_pattern, data):
            try:
                return Decoded(self.read(data, narrow=True))
            except (duckdb.Error, pa.ArrowInvalid):
                self._trials -= 1
        if self._found(self._pattern, data):
            return salvage(self, data)
        try:
            return Decoded(self.read(data))
        except (duckdb.Error, pa.ArrowInvalid):
            return salvage(self, data)

    def try_answer(self, data: bytes, query: Query) -> tuple[int, pa.Table] | None:
        """Return how many rows a block has, and the answer of a query over them; None where anything fails for a row.

        The rows are those that `decode` returns.
        """
        import duckdb

        if any(not field.nullable or pa.types.is_null(field.type) for field in self.target):
            return None
        if self._trials and not self._found(self._narrow_pattern, data):
            try:
                return self.answer(data, query, narrow=True)
            except (duckdb.Error, pa.ArrowInvalid):
                self._trials -= 1
        if self._found(self._pattern, data):
            return None
        try:
            return self.answer(data, query)
        except (duckdb.Error, pa.ArrowInvalid):
            return None

    @staticmethod
    def _found(pattern: str | None, data: bytes) -> bool:
        import pyarrow.compute as pc

        if pattern is None:
            return False
        block = pa.array([data], pa.binary())
        return bool(pc.match_substring_regex(block, pattern=pattern)[0].as_py())


def numbered_lines(data: bytes) -> list[tuple[int, bytes]]:
    """Return every line of a block that is not blank, with the number of line ends before it."""
    return [(number, line) for number, line in enumerate(data.split(b"\n")) if line.strip()]


__all__ = ["JsonlDecoder", "numbered_lines"]
