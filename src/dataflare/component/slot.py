"""Rows that change under one name, for an engine that plans a statement once and runs it over many tables."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


class Slot:
    """An Arrow stream of whatever it holds: DuckDB opens it anew at every EXECUTE (pinned by a contract test)."""

    def __init__(self, schema: pa.Schema) -> None:
        """Hold no rows; all that it is given have this schema."""
        self.schema = schema
        self._rows = self._empty = schema.empty_table()

    @contextmanager
    def holding(self, rows: pa.Table) -> Iterator[None]:
        """Hold rows inside the block, and let go of them behind it."""
        self._rows = rows
        try:
            yield
        finally:
            self._rows = self._empty

    def __arrow_c_schema__(self) -> object:
        """Return the schema to whoever plans a statement."""
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows to whoever runs one."""
        return self._rows.__arrow_c_stream__(requested_schema)


__all__ = ["Slot"]
