"""Asks the database of an open source for sums of hashes of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.sql.hashing import Sums, summing_query

if TYPE_CHECKING:
    from dataflare.schema import Schema
    from dataflare.sql.hashing import Summing
    from dataflare.sql.reading import ReadRelation
    from dataflare.sql.source import SqlSource


def forms(relation: ReadRelation, schema: Schema) -> dict[str, str]:
    """Return by column the form in which the database writes it as planned; columns without one are left out."""
    return {name: form for name, (form, *_) in relation.texts(schema).items()}


def sums(source: SqlSource[Any, Any, Any], stream: str, schema: Schema, summing: Summing) -> Sums | None:
    """Let the database of an open source sum up; None where it cannot, exactly as the engine would.

    `schema` is that of the rows as planned. Raises what the database says.
    """
    relation, hashing = source.relation(stream), source.hashing
    if hashing is None:
        return None
    texts = relation.texts(schema.select([*summing.columns, *summing.hashed.key]))
    if any(c not in texts for c in (*summing.columns, *summing.hashed.key)):
        return None
    conditions = [summing.hashed.condition(hashing, texts)]
    if summing.predicate is not None:
        conditions.append(source.condition(stream, summing.predicate))
        if not conditions[-1]:
            return None
    found = source.session.run(summing_query(hashing, texts, summing, relation.source, conditions))
    if any(int(rows) != int(hashes) for _, rows, hashes, _ in found):
        return None  # a row that is too long to be hashed
    return Sums({str(bucket): (int(rows), int(total)) for bucket, rows, _, total in found})


__all__ = ["forms", "sums"]
