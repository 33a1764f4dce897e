"""What differs between databases: quoting, parameters, column types, and how some statements are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.sql.quoting import quoted, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dataflare.schema import Schema

    Late = Callable[[str, str], str]
    """Makes of the values of a row that is there and of one that comes the condition that the first one stays."""


@dataclass(frozen=True, slots=True)
class Table:
    """The name of a table; without a schema where the database has none, or the first of its search path is meant."""

    name: str
    schema: str = ""

    def __str__(self) -> str:
        """Render as settings write it: a part with a dot in it is in double quotes."""
        return written(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Defined:
    """A column of a table that is there.

    `declared` is its type as the database writes it, `type` the type text of what it holds. `required`: it takes no
    null. `primary`: of the primary key. `limited`: texts of a limited length. `boundless`: exact numbers of any digits.
    `fixed`: of a type that nobody but its owner understands, or made of other columns. `rest` is what stands behind the
    type in its definition, where altering it states that anew.
    """

    name: str
    declared: str
    type: str
    required: bool = False
    primary: bool = False
    limited: bool = False
    boundless: bool = False
    fixed: bool = False
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database. `column_type` gives the SQL type of a type text, `parameter` the n-th parameter from 1 on.

    `numbering` defines the column `ordinal`, by which rows of a staging table are numbered. `repeats`: one upsert may
    meet a key several times, and takes rows in the order of the table, so that nothing need be numbered for it.
    `partial_indexes`: a unique index may cover a part of the rows. `differs` compares values of which one may be null.
    `bytewise` makes a text compare by its bytes. `holds` tells whether a staged list of texts has a literal; `each`
    yields its texts, for a `from` clause, as the column `value` of `_dataflare_each`. `returns`: a statement that
    changes rows can return them. `definitions_commit`: making or dropping a table ends the transaction. `mark` stands
    around identifiers. `kept` gives the type text as which a column is told that was made for one.
    `dates_are_instants`: every date is one. `savepoints`: a part of a transaction can be undone.
    """

    name: str
    column_type: Callable[[str], str]
    parameter: Callable[[int], str]
    identifier_bytes_max: int = 0
    row_locks: bool = False
    repeats: bool = False
    partial_indexes: bool = True
    numbering: str = "bigint generated always as identity"
    differs: str = "is distinct from"
    bytewise: str = ' collate "C"'
    holds: Callable[[str, str], str] = lambda column, text: f"{text} = any({column})"
    each: Callable[[str], str] = lambda column: f"unnest({column}) as _dataflare_each(value)"
    ordinal: str = "_dataflare_n"
    returns: bool = True
    definitions_commit: bool = False
    mark: str = '"'
    kept: Callable[[str], str] = str
    dates_are_instants: bool = True
    savepoints: bool = True

    def quote(self, name: str) -> str:
        """Return an identifier in quotes."""
        return quoted(name, self.identifier_bytes_max, self.mark)

    def key_type(self, text: str) -> str:
        """Return the type of a column of a key."""
        return self.column_type(text)

    def reference(self, table: Table) -> str:
        """Return a table's name in quotes."""
        return f"{self.quote(table.schema)}.{self.quote(table.name)}" if table.schema else self.quote(table.name)

    def listed(self, columns: list[str] | tuple[str, ...]) -> str:
        """Return column names in quotes, with commas."""
        return ", ".join(self.quote(c) for c in columns)

    def parameters(self, number: int) -> str:
        """Return so many parameters, with commas."""
        return ", ".join(self.parameter(n + 1) for n in range(number))

    # ---- statements ---------------------------------------------------------------------------------------------

    def insertion(self, table: Table, names: Sequence[str], query: str, *, head: str = "", conflict: str = "") -> str:
        """Return the statement that inserts the rows of a query, whose common tables are `head`."""
        into = f"insert into {self.reference(table)} as t0 ({self.listed(tuple(names))})"
        return " ".join(part for part in (head, into, query, conflict) if part)

    def conflict(
        self, table: Table, key: Sequence[str], columns: Sequence[str], place: str = "", late: Late | None = None
    ) -> str:
        """Return what becomes of a row whose key is there: its columns take the new values; nothing without columns.

        `late`, of the old and the new value of the column `place`, is the condition that the row stays as it is.
        """
        del table
        head = f"on conflict ({self.listed(tuple(key))}) do"
        if not columns:
            return f"{head} nothing"
        sets = ", ".join(f"{name} = excluded.{name}" for name in map(self.quote, columns))
        column = self.quote(place) if place else ""
        unless = f" where not {late(f't0.{column}', f'excluded.{column}')}" if late else ""
        return f"{head} update set {sets}{unless}"

    def update(self, table: Table, sets: Mapping[str, str], query: str, condition: str, head: str = "") -> str:
        """Return the statement that sets columns of a table `t` by the rows `u` of a query that meet a condition."""
        told = ", ".join(f"{self.quote(column)} = {value}" for column, value in sets.items())
        return f"{head} update {self.reference(table)} as t set {told} from ({query}) u where {condition}"  # noqa: S608

    def deletion(self, table: Table, key: Sequence[str], query: str, head: str = "") -> str:
        """Return the statement that deletes the rows whose key a query yields."""
        return f"{head} delete from {self.reference(table)} where ({self.listed(tuple(key))}) in ({query})"  # noqa: S608

    def materialized(self, *, once: bool) -> str:
        """Return what makes a common table be computed once, or wherever it is used."""
        return "materialized " if once else "not materialized "

    def differ(self, one: str, other: str) -> str:
        """Return the condition that two values are not the same, null being a value."""
        return f"{one} {self.differs} {other}"

    def drop_temporary(self, name: str) -> str:
        """Return the statement that drops a temporary table of ours."""
        return f"drop table {name}"

    # ---- columns that change --------------------------------------------------------------------------------------

    def rename_column(self, table: Table, old: str, new: str) -> str:
        """Return the statement that gives a column another name."""
        return f"alter table {self.reference(table)} rename column {self.quote(old)} to {self.quote(new)}"

    def drop_column(self, table: Table, name: str) -> str:
        """Return the statement that drops a column."""
        return f"alter table {self.reference(table)} drop column {self.quote(name)}"

    def differs_in_use(self, declared: str, kind: str) -> bool:
        """Tell whether a column takes other values when it is declared otherwise."""
        del declared, kind
        return True

    def retype(self, table: Table, column: Defined, kind: str) -> tuple[str, ...]:
        """Return the statements that give a column another type."""
        name = self.quote(column.name)
        of = f"alter table {self.reference(table)} alter column {name}"
        return (f"{of} set data type {kind} using cast({name} as {kind})",)

    def nullable(self, table: Table, column: Defined) -> tuple[str, ...]:
        """Return the statements that take NOT NULL off."""
        return (f"alter table {self.reference(table)} alter column {self.quote(column.name)} drop not null",)

    def losing(self, table: Table, column: Defined, kind: str) -> str:
        """Return the query for a row whose value is another one as another type; "" where each has a text."""
        if kind.split(maxsplit=1)[0].lower() in ("text", "varchar", "longtext"):
            return ""
        name = self.quote(column.name)
        back = f"cast(cast({name} as {kind}) as {column.declared})"
        return f"select 1 from {self.reference(table)} where {self.differ(name, back)} limit 1"  # noqa: S608 - quoted

    def index_current(self, index: str, table: Table, key: Schema, condition: str) -> str:
        """Return the statement that makes a unique index over the rows for which a column is true."""
        on = f"{self.reference(table)} ({self.listed(key.names)})"
        return f"create unique index {self.quote(index)} on {on} where {self.quote(condition)}"
