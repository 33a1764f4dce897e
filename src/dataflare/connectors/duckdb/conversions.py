"""How values get into columns of other types: exactly, or not at all."""

from __future__ import annotations

from dataflare.sql.duckdb_types import column_type
from dataflare.sql.quoting import literal, quoted

MARK = "dataflare: "
"""How the words of our own errors begin inside of DuckDB's."""

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_ROUNDS = (*_WHOLE, "UHUGEINT", "DATE", "TIMESTAMP_S", "TIMESTAMP_MS")


def converted(name: str, text: str, target: str) -> str:
    """Return the expression that makes of a column of a type text what a column of DuckDB's type `target` takes.

    Where DuckDB would round or cut a value, the expression fails.
    """
    column, kind = quoted(name), column_type(text)
    if kind == target or not (target in _ROUNDS or target.startswith("DECIMAL")) or kind in _WHOLE:
        return column
    made = f"cast({column} as {target})"
    one, other = (f"cast({column} as double)", f"cast({made} as double)") if kind == "VARCHAR" else (column, made)
    told = literal(f"{MARK}a value of {name} does not fit {target}")
    return f"case when {column} is null or {one} = {other} then {made} else error({told}) end"


__all__ = ["MARK", "converted"]
