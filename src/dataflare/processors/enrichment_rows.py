"""Rows of a lookup that stand in the settings, as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError, WorkflowError
from dataflare.formats.jsonl.decode import JsonlDecoder
from dataflare.formats.jsonl.infer import infer
from dataflare.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.processors.enrichment_settings import EnrichmentConfig


def schema_of_rows(config: EnrichmentConfig) -> Schema:
    """Return the columns as declared, or as the rows show them."""
    if config.columns is not None:
        return Schema.of(config.columns)
    if not config.rows:
        raise WorkflowError("rows is empty: its columns are not known", hint="declare columns: {id: int64, ...}")
    return Schema.of({name: kind or "json" for name, kind in infer(_lines(config)).items()})


def table_of_rows(config: EnrichmentConfig) -> pa.Table:
    """Return the rows; raise DataError for one that does not fit its columns."""
    decoder = JsonlDecoder(schema_of_rows(config))
    try:
        decoded = decoder.decode(_lines(config))
    finally:
        decoder.close()
    if decoded.rejected:
        first = decoded.rejected[0]
        raise DataError(f"row {first.line + 1}: {first.reason}", hint="correct the row, or declare other `columns`")
    return decoded.rows


def _lines(config: EnrichmentConfig) -> bytes:
    rows: list[dict[str, Any]] = config.rows or []
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in rows)


__all__ = ["schema_of_rows", "table_of_rows"]
