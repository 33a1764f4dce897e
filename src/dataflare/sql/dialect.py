"""What differs between databases: quoting, parameters, column types, and whether rows can be locked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.sql.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Table:
    """The name of a table; without a schema where the database has none, or the first of its search path is meant."""

    name: str
    schema: str = ""

    def __str__(self) -> str:
        """Render as people write it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database. `column_type` gives the SQL type of a type text, `parameter` the n-th parameter from 1 on.

    `numbering` defines the column `ordinal`, by which rows of a staging table are numbered. `repeats`: one upsert may
    meet a key several times, and takes rows in the order of the table, so that nothing need be numbered for it.
    `partial_indexes`: a unique index may cover a part of the rows. `differs` compares values of which one may be null.
    `bytewise` makes a text compare by its bytes. `holds` tells whether a staged list of texts has a literal; `each`
    yields its texts, for a `from` clause, as the column `value` of `_dataflare_each`.
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

    def quote(self, name: str) -> str:
        """Return an identifier in quotes."""
        return quoted(name, self.identifier_bytes_max)

    def reference(self, table: Table) -> str:
        """Return a table's name in quotes."""
        return f"{self.quote(table.schema)}.{self.quote(table.name)}" if table.schema else self.quote(table.name)

    def listed(self, columns: list[str] | tuple[str, ...]) -> str:
        """Return column names in quotes, with commas."""
        return ", ".join(self.quote(c) for c in columns)

    def parameters(self, number: int) -> str:
        """Return so many parameters, with commas."""
        return ", ".join(self.parameter(n + 1) for n in range(number))
