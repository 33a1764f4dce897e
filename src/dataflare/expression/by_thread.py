"""Statements that a thread keeps prepared, by their text and the schema of their rows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dataflare.expression.session import Statement

if TYPE_CHECKING:
    import pyarrow as pa

_STATEMENTS_MAX = 64


class Statements(threading.local):
    """The statements of each thread; the oldest one gives way."""

    def __init__(self) -> None:
        """Prepare nothing yet."""
        self._kept: dict[tuple[str, pa.Schema], Statement] = {}

    def get(self, query: str, schema: pa.Schema) -> Statement:
        """Return the statement, prepared."""
        found = self._kept.get((query, schema))
        if found is None:
            if len(self._kept) >= _STATEMENTS_MAX:
                self._kept.pop(next(iter(self._kept))).close()
            found = Statement(schema, None)
            found.prepare(query)
            self._kept[query, schema] = found
        return found


__all__ = ["Statements"]
