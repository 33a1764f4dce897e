"""What a row of an `upsert` edge says besides its values: reserved columns, their types, and the words in them.

A change is one row. The values are those after it; of a deleted row they are those that the source still tells: the
key at least. `_op` says what happened, `_tx` where in the source's log (texts of later transactions are greater),
`_commit_ts` when. `_unchanged` names columns whose values the source did not send because they are as before: what
stands in their place means nothing, and must never be written (invariant 6). `_before` holds the row before the
change, where the source tells it. Changes of one key are in the order of the source's log.
"""

from __future__ import annotations

from enum import StrEnum

from dataflare.batch import RESERVED
from dataflare.schema import Column, Schema, canonical

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


def changing(schema: Schema, key: tuple[str, ...], *, unchanged: bool = False, before: bool = False) -> Schema:
    """Return the schema of changes of a table: its columns, nullable but for the key, then the reserved ones.

    `unchanged`: the source may leave values out; `before`: it tells the whole row before the change.
    """
    columns = [Column(c.name, c.type, c.name not in key, c.tags, c.places) for c in schema]
    extra = [Column(OP, "string", nullable=False), Column(COMMIT_TS, "timestamp"), Column(TX, "string")]
    if unchanged:
        extra.append(Column(UNCHANGED, "list<string>"))
    if before:
        fields = ", ".join(f'"{c.name}": {c.type}' for c in columns)
        marks = [((c.name, *path), tag) for c in columns for path, tag in c.marks]
        extra.append(Column(BEFORE, canonical(f"struct<{fields}>")).marked(marks))
    return Schema((*columns, *extra))


__all__ = ["BEFORE", "COMMIT_TS", "OP", "TX", "UNCHANGED", "Op", "changing"]
