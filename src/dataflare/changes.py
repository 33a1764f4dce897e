"""What a row of an `upsert` edge says besides its values: reserved columns, their types, and the words in them.

A change is one row. The values are those after it; of a deleted row they are those that the source still tells: the
key at least. `_op` says what happened, `_tx` where in the source's log (texts of later transactions are greater),
`_commit_ts` when. `_unchanged` names columns whose values the source did not send because they are as before: what
stands in their place means nothing, and must never be written (invariant 6). `_before` holds the row before the
change, where the source tells it. Changes of one key are in the order of the source's log.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from dataflare.batch import RESERVED
from dataflare.schema import Column, Schema, canonical

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

    from dataflare.schema import Told

OP, COMMIT_TS, TX, UNCHANGED, BEFORE = RESERVED


class Op(StrEnum):
    """What happened to a row. A change of its key comes as a `delete` of the old one and an `insert` of the new."""

    READ = "read"
    """It was there when the table was read as a whole."""
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    """All rows of the table are gone; the values of this row are all null."""


def changing(
    schema: Schema, key: tuple[str, ...], *, unchanged: bool | Collection[str] = False, before: bool = False
) -> Schema:
    """Return the schema of changes of a table: its columns, nullable but for the key, then the reserved ones.

    `unchanged`: the source may leave values out: of all columns but the key, or of those that are named; `before`: it
    tells the whole row before the change.
    """
    named = [c.name for c in schema] if unchanged is True else unchanged or []
    columns = [Column(c.name, c.type, c.name not in key, c.tags, c.places) for c in schema]
    if unchanged:
        columns = [c if c.name in named else replace(c, told="value") for c in columns]
    extra = [Column(OP, "string", nullable=False), Column(COMMIT_TS, "timestamp"), Column(TX, "string")]
    if unchanged:
        extra.append(Column(UNCHANGED, "list<string>"))
    if before:
        fields = ", ".join(f'"{c.name}": {c.type}' for c in columns)
        marks = [((c.name, *path), tag) for c in columns for path, tag in c.marks]
        extra.append(Column(BEFORE, canonical(f"struct<{fields}>")).marked(marks))
    return with_key_told(Schema((*columns, *extra)), key)


def may_be_unchanged(schema: Schema) -> frozenset[str]:
    """Return the columns whose values a change may leave out."""
    if UNCHANGED not in schema:
        return frozenset()
    return frozenset(c.name for c in schema if not c.told)


def steady(schema: Schema) -> frozenset[str]:
    """Return the columns that are the same in all changes of a row, if values may be unchanged: those of its key."""
    return frozenset(c.name for c in schema if c.told == "key")


def with_key_told(schema: Schema, key: Collection[str]) -> Schema:
    """Return the schema of changes where it says that each tells its key, and what happened."""
    if UNCHANGED not in schema:
        return schema
    told = (replace(c, told="value") if c.name in RESERVED else c for c in schema)
    return Schema(tuple(replace(c, told="key") if c.name in key else c for c in told))


def value_in(schema: Schema) -> Told:
    """Return how a new column is told that a node adds to rows of a schema, made of no value that may be unchanged."""
    return "value" if UNCHANGED in schema else ""


def loose(schema: Schema) -> Schema:
    """Return the schema by which written rows are read: the key of a truncate is null, whatever its columns say."""
    return Schema(tuple(replace(c, nullable=True) for c in schema)) if OP in schema else schema


def first_misfit(rows: pa.Table, schema: Schema) -> tuple[int, str, str] | None:
    """Return the number, the column and the fault of the first of some rows that is no change; None: all are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if OP not in schema:
        return None
    op = rows.column(OP)
    found = [(pc.invert(pc.is_in(op, pa.array(list(Op)))), OP, f"{OP} is none of {', '.join(Op)}")]
    for column in (c for c in schema if not c.nullable and c.name != OP):
        missing = pc.and_(rows.column(column.name).is_null(), pc.not_equal(op, Op.TRUNCATE.value))
        found.append((missing, column.name, f"column {column.name!r} is null"))
    firsts = [(pc.index(mask, pa.scalar(value=True)).as_py(), name, what) for mask, name, what in found]
    return min((f for f in firsts if f[0] >= 0), default=None)


WHOLE_ROWS = "let the source tell whole rows (PostgreSQL: replica identity full), or put `materialise` before it"
"""The cure where a value is needed that a change may leave out."""


__all__ = [
    "BEFORE",
    "COMMIT_TS",
    "OP",
    "TX",
    "UNCHANGED",
    "WHOLE_ROWS",
    "Op",
    "changing",
    "first_misfit",
    "loose",
    "may_be_unchanged",
    "steady",
    "value_in",
    "with_key_told",
]
