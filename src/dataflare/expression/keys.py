"""Key groups: a stable hash of key columns, the same in every process, after every restart, for every integer width.

The hash is DuckDB's, over the text of the keys; its values are pinned by a test, because state is stored by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.context import KEY_GROUPS
from dataflare.expression.by_thread import Statements
from dataflare.expression.session import quoted, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_statements = Statements()


def key_groups(rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
    """Return the key group (0..255, int32) of each row; nulls are keys like others. Without keys all are in group 0."""
    import pyarrow as pa

    if not keys:
        return pa.chunked_array([pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows)])
    entering = rows.select(list(keys))
    texts = ", ".join(_text(f) for f in entering.schema)
    query = select([f"cast(hash({texts}) % {KEY_GROUPS} as integer) as g"])
    return _statements.get(query, entering.schema).run(entering).column(0)


def key_hashes(rows: pa.Table, keys: Sequence[str], *, seed: int, bits: int) -> pa.ChunkedArray:
    """Return a number of so many bits (63 at most, as int64) for each row, the same for equal keys and seed.

    Hashed twice: hashes of several values are joined in a way that lets a seed turn the same bits in all of them.
    """
    entering = rows.select(list(keys))
    texts = ", ".join(_text(f) for f in entering.schema)
    query = select([f"cast(hash(hash('{seed:d}', {texts})) >> {64 - bits:d} as bigint) as h"])
    return _statements.get(query, entering.schema).run(entering).column(0)


def _text(field: pa.Field) -> str:
    import pyarrow as pa

    name = quoted(field.name)
    if pa.types.is_floating(field.type):
        name = f"({name} + 0)"  # -0.0 and 0.0 are the same key
    return f"cast({name} as varchar)"


__all__ = ["KEY_GROUPS", "key_groups", "key_hashes"]
