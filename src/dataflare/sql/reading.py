"""Reads a table in the order of its key, so that a position is the key of the last row and replay is exact.

Statements are put together from conditions; how a value gets into a statement (as a parameter, or as a literal where
the statement takes none) is the connector's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from dataflare.batch import Encoded
from dataflare.sql.hashing import Hashed
from dataflare.sql.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.batch import Batch
    from dataflare.schema import Schema
    from dataflare.sql.hashing import Hashing, Text, Texts
    from dataflare.sql.predicate import Form


class Values(Protocol):
    """Puts values of a column into one statement."""

    def __call__(self, column: str, value: Any) -> str:
        """Return what stands for the value in the statement; `column` is a plain name."""
        ...


class Closes(Protocol):
    """A connection, as far as it matters here."""

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


@dataclass(frozen=True, slots=True)
class Relation:
    """What is read: `source` is a table in quotes or a query in parentheses with a name.

    `columns` are SQL expressions by output column; `order` the quoted expressions by plain name in whose order rows
    come, unique together, or nothing. `descending`: the greatest come first.
    `where` are conditions that every query has.
    """

    source: str
    columns: Mapping[str, str]
    order: Mapping[str, str]
    descending: bool = field(default=False, kw_only=True)
    where: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class ReadRelation(Relation):
    """A relation with the schema of its rows and the key that tells them apart, if there is one.

    `proven`: a primary key tells rows apart. `found` are the types by column that the database tells, before anybody
    said otherwise.
    """

    schema: Schema
    unique: tuple[str, ...] = field(default=(), kw_only=True)
    proven: bool = field(default=False, kw_only=True)
    found: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def picked(self, names: Iterable[str]) -> Relation:
        """Return what reads these columns only."""
        return Relation(
            self.source, {n: self.columns[n] for n in names}, self.order, descending=self.descending, where=self.where
        )

    def at(self, column: str) -> str:
        """Return the quoted column, to compare with and to order by."""
        return quoted(column)

    def compares(self, column: str, sign: str) -> bool:
        """Tell whether the database compares a column exactly as the engine does (`expression.predicate`)."""
        del column, sign
        return False

    def hashed(self, column: str, kind: str) -> Text | None:
        """Return how a column is hashed as a type (`sql.hashing`); None: it is not."""
        del column, kind
        return None

    def texts(self, schema: Schema) -> Texts:
        """Return how columns are hashed as a schema says; those that are not are left out."""
        told = {c.name: self.hashed(c.name, c.type) for c in schema if c.name in self.schema}
        return {name: text for name, text in told.items() if text is not None}

    def meant(self, hashing: Hashing | None, hint: Mapping[str, Any] | None) -> str:
        """Return the condition of a hint that tells keys by their hash; "" where it cannot be said."""
        hashed = Hashed.of_hint(hint) if hint is not None else None
        if hashing is None or hashed is None or any(k not in self.schema for k in hashed.key):
            return ""
        texts = self.texts(self.schema.select(hashed.key))
        return hashed.condition(hashing, texts) if all(k in texts for k in hashed.key) else ""

    def condition(self, form: Form) -> str:
        """Return a condition in the words of the database; only of columns that it compares so."""
        raise NotImplementedError

    def by_cursor(self, cursor: str) -> Self:
        """Return what reads in the order of a column, then of the key."""
        return replace(self, order={f"/{cursor}": self.at(cursor), **self.order})

    def key(self) -> dict[str, str]:
        """Return the order without the cursor that `by_cursor` puts before it."""
        return {name: text for name, text in self.order.items() if not name.startswith("/")}


def select(
    relation: Relation, conditions: Iterable[str], *, extra: Sequence[str] = (), limit: int | None = None
) -> str:
    """Return the query; `extra` are expressions that come after the columns."""
    listed = ", ".join([*relation.columns.values(), *extra])
    wheres = [f"({c})" for c in (*conditions, *relation.where) if c]
    where = f" where {' and '.join(wheres)}" if wheres else ""
    order = f" order by {ordered(relation)}" if relation.order else ""
    end = f" limit {limit}" if limit is not None else ""
    return f"select {listed} from {relation.source}{where}{order}{end}"  # noqa: S608 - identifiers are in quotes


def ordered(relation: Relation, *, backwards: bool = False) -> str:
    """Return what stands behind `order by`; `backwards`: in the opposite of the relation's order."""
    way = " desc" if relation.descending != backwards else ""
    return ", ".join(f"{text}{way}" for text in relation.order.values())


def after(relation: Relation, position: Sequence[Any], values: Values) -> str:
    """Return the condition that a row comes after a position in the order of a relation."""
    return _compared(relation.order, position, values, "<" if relation.descending else ">")


def at_least(relation: Relation, position: Sequence[Any], values: Values) -> str:
    """Return the condition that a row does not come before a position, or before all with these first columns."""
    return _compared(relation.order, position, values, "<=" if relation.descending else ">=")


def up_to(relation: Relation, position: Sequence[Any], values: Values) -> str:
    """Return the condition that a row does not come after a position, or after all with these first columns."""
    return _compared(relation.order, position, values, ">=" if relation.descending else "<=")


def among(order: Mapping[str, str], keys: Sequence[Sequence[Any]], values: Values) -> str:
    """Return the condition that a row has one of some keys."""
    if not keys:
        return "false"
    listed = ", ".join(_row(order, key, values) for key in keys)
    names = ", ".join(order.values())
    left = f"({names})" if len(order) > 1 else names
    right = f"values {listed}" if len(order) > 1 else listed
    return f"{left} in ({right})"


def _compared(order: Mapping[str, str], position: Sequence[Any], values: Values, sign: str) -> str:
    order = dict(list(order.items())[: len(position)])
    names = ", ".join(order.values())
    left = f"({names})" if len(order) > 1 else names
    return f"{left} {sign} {_row(order, position, values)}"


def _row(order: Mapping[str, str], row: Sequence[Any], values: Values) -> str:
    listed = ", ".join(values(name, value) for name, value in zip(order, row, strict=True))
    return f"({listed})" if len(order) > 1 else listed


def completed(batch: Batch, wanted: Schema) -> Batch:
    """Return a batch with null for planned columns that are not there."""
    import pyarrow as pa

    if batch.stream == "errors" or isinstance(batch.payload, Encoded):
        return batch
    rows, target = batch.rows, wanted.to_arrow()
    if rows.num_columns == len(target):
        return batch
    there = set(rows.column_names)
    columns = [rows.column(f.name) if f.name in there else pa.nulls(rows.num_rows, f.type) for f in target]
    return batch.replace(pa.table(columns, names=target.names))


__all__ = [
    "Closes",
    "ReadRelation",
    "Relation",
    "Values",
    "after",
    "among",
    "at_least",
    "completed",
    "ordered",
    "select",
    "up_to",
]
