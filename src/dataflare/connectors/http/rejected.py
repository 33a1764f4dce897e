"""Keeps rows that a server refused, with the reason, in a file of JSON lines; tagged values are veiled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import UnavailableError
from dataflare.formats.encoder import text_bytes
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.schema import Schema
from dataflare.security.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.component import StageContext


class RejectedRows:
    """A file that is appended to. `keep` writes, `flush` makes durable."""

    def __init__(self, context: StageContext, path: str) -> None:
        """Open nothing yet."""
        self._context, self._path = context, context.path(path)
        self._texts = JsonTexts(context.budget.memory_bytes_max)
        self._file: Any = None

    def keep(self, rows: pa.Table, status: int, reason: str) -> None:
        """Append rows; raise UnavailableError where they cannot be kept."""
        shown = self._texts.lines(veiled(rows, _schema_of(rows, self._context.schemas)))
        texts = [t.rstrip("\n") for t in shown.to_pylist()]
        count = len(texts)
        columns: Mapping[str, Sequence[Any]] = {
            "node": [self._context.node] * count,
            "epoch": [self._context.epoch()] * count,
            "status": [status] * count,
            "error": [reason] * count,
            "row": texts,
        }
        lines = self._texts.lines(pa.table(dict(columns)), ["row"])
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
            for part in text_bytes(lines):
                self._file.write(part)
        except OSError as error:
            raise self._failure(error) from error

    def flush(self) -> None:
        """Make durable what was kept."""
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file; nothing becomes durable by it."""
        self._texts.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _failure(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"rejected rows cannot be kept in {self._path.name}: {error.strerror}", hint="check rejects"
        )


def _schema_of(rows: pa.Table, schemas: Mapping[str, Schema]) -> Schema:
    """Return the planned schema whose columns these rows have; else all that is known of their columns."""
    for schema in schemas.values():
        if schema.names == rows.column_names:
            return schema
    known = {c.name: c for schema in schemas.values() for c in schema}
    return Schema(tuple(known[n] for n in rows.column_names if n in known))


__all__ = ["RejectedRows"]
