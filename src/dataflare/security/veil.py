"""Hides what nobody may see before rows are shown to anybody: in dead letters, previews, logs (invariant 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.security.nested import Leaves, changed, has_field
from dataflare.security.secrets import HIDDEN

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.schema import Column, Schema


def veiled(rows: pa.Table, schema: Schema) -> pa.Table:
    """Return the rows with `***`, a text, in the place of every value that is tagged in `schema`, nulls too.

    Of a nested column whose tags have places only those fields are hidden. Where anything is tagged, a column that the
    schema does not know is hidden, too: nobody can tell what is in it.
    """
    import pyarrow as pa

    if not any(c.tags for c in schema):
        return rows
    columns, by_name = [], {c.name: c for c in schema}
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        known = by_name.get(name)
        if known is None or known.tags:
            columns.append(_hidden(values, known))
        else:
            columns.append(values)
    return pa.table(dict(zip(rows.schema.names, columns, strict=True)))


def _hidden(values: pa.ChunkedArray, column: Column | None) -> pa.Array:
    import pyarrow as pa

    paths = [path for path, _ in column.marks] if column is not None else [()]
    if not all(path and has_field(values.type, path) for path in paths):
        return pa.repeat(HIDDEN, len(values))
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    for path in sorted(paths, key=len, reverse=True):  # what lies deeper first: a hidden field has no fields
        whole = changed(whole, path, _stars)
    return whole


def _stars(leaves: Leaves) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(HIDDEN, len(leaves.values))


__all__ = ["veiled"]
