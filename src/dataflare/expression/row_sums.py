"""Sums of hashes of rows: the same for the same rows, in whatever order, batches and encoding they come.

The hash is DuckDB's, 64 bits of it; a row's takes in the names and types of its columns, in their order. So null is no
empty text, and a value that moves to the column beside it makes another row. -0.0 is 0.0, all NaN are one, a dictionary
counts as its values. DuckDB hashes an empty list as it hashes null, and a month as 30 days: of such values it is the
text that is hashed, in which no two look the same.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from dataflare.expression.by_thread import Statements
from dataflare.expression.session import select
from dataflare.schema import type_text

if TYPE_CHECKING:
    import pyarrow as pa

_statements = Statements()


def row_sum(rows: pa.Table) -> int:
    """Return the sum of the hashes of all rows; 0 where there are none. A row of no columns counts 1."""
    if not rows.num_rows or not rows.num_columns:
        return int(rows.num_rows)
    numbered = rows.rename_columns([f"c{number}" for number in range(rows.num_columns)])
    ((total,),) = _statements.get(_query(rows.schema), numbered.schema).values(numbered)
    return int(total)


@lru_cache(maxsize=256)
def _query(schema: pa.Schema) -> str:
    """Return the statement for columns `c0`, `c1` and so on.

    It is hashed twice: hashes of several values are joined bit by bit, and a sum of such would hardly tell values that
    were exchanged between rows.
    """
    seed = hashlib.blake2b(repr([(f.name, type_text(f.type)) for f in schema]).encode(), digest_size=8).digest()
    columns = (_hashed(f"c{number}", field.type) for number, field in enumerate(schema))
    joined = ", ".join([f"{int.from_bytes(seed)}::ubigint", *columns])
    return select([f"sum(hash(hash({joined})))"])


def _hashed(name: str, kind: pa.DataType) -> str:
    import pyarrow.types as t

    plain = not t.is_nested(kind) and not t.is_interval(kind) and not t.is_duration(kind)
    return name if plain else f"cast({name} as varchar)"


__all__ = ["row_sum"]
