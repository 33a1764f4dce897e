"""A few plain rows as JSON lines without an engine: starting one costs more than the rows (50 MB, 0.2 s of CPU).

The text is what DuckDB would write: only values whose text both write alike come here.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

ROWS_MAX = 200
_FLOATS = (1e-4, 1e15)
"""Floats between these, and zero, are written alike."""
_CONTROLS = re.compile("[\\x00-\\x07\\x0b\\x0e-\\x1f]")
"""The escapes of these are written in another case."""
_TYPES = pa.types


def small_lines(rows: pa.Table) -> pa.ChunkedArray | None:
    """Return each row as a JSON object with a line end; None where they are many, or not plain."""
    if rows.num_rows > ROWS_MAX:
        return None
    names, columns = rows.column_names, []
    for column in rows.columns:
        values = column.to_pylist() if _is_plain(column.type) else None
        if values is None or not _are_plain(values, column.type):
            return None
        columns.append(values)
    records = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    texts = [json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in records]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _is_plain(kind: pa.DataType) -> bool:
    return _TYPES.is_integer(kind) or _TYPES.is_boolean(kind) or _TYPES.is_string(kind) or bool(_TYPES.is_float64(kind))


def _are_plain(values: list[Any], kind: pa.DataType) -> bool:
    if _TYPES.is_string(kind):
        return not any(v is not None and _CONTROLS.search(v) for v in values)
    if _TYPES.is_float64(kind):
        low, high = _FLOATS
        return all(v is None or v == 0.0 or low <= abs(v) < high for v in values)
    return True
