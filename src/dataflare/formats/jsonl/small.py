"""A few plain rows as JSON lines without an engine: starting one costs more than the rows (50 MB, 0.2 s of CPU).

The text is what DuckDB would write: only values whose text both write alike come here.
"""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

ROWS_MAX = 200
_PLAIN_FLOATS = (1e-4, 1e15)
_CONTROLS = "[\\x00-\\x07\\x0b\\x0e-\\x1f]"
_TYPES = pa.types


def is_small(rows: pa.Table) -> bool:
    """Tell whether rows are few and hold only integers, booleans, texts and floats of everyday size."""
    return rows.num_rows <= ROWS_MAX and all(_is_plain(c) for c in rows.columns)


def small_lines(rows: pa.Table) -> pa.ChunkedArray:
    """Return each row as a JSON object with a line end."""
    texts = [json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in rows.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _is_plain(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if _TYPES.is_integer(kind) or _TYPES.is_boolean(kind):
        return True
    if _TYPES.is_string(kind):  # the escapes of these are written in another case
        return not pc.any(pc.match_substring_regex(column, _CONTROLS)).as_py()
    if not _TYPES.is_float64(kind):
        return False
    size = pc.abs(column)
    everyday = pc.and_(pc.greater_equal(size, _PLAIN_FLOATS[0]), pc.less(size, _PLAIN_FLOATS[1]))
    return bool(pc.all(pc.or_(everyday, pc.equal(column, 0.0)), skip_nulls=True).as_py() is not False)
