"""Types of SQLite: the declared type that keeps a type text exactly, and the type text of a declared type.

SQLite gives a column an affinity by the words in its declared type: INT makes integers, CHAR, CLOB and TEXT keep
text, BLOB keeps what comes, REAL, FLOA and DOUB make floats, and anything else makes numbers of text that looks like
one. Text that must stay text is therefore declared with TEXT in its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.sql.dialect import Dialect

if TYPE_CHECKING:
    from dataflare.sql.dialect import Defined, Table

EXACT_DIGITS_MAX = 15
"""Decimals of so many digits survive as floats; longer ones are kept as text."""

_COLUMN = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INTEGER",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float32": "FLOAT32",
    "float64": "DOUBLE",
    "string": "TEXT",
    "binary": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "datetime": "DATETIME",
    "interval": "TEXT",
    "json": "JSON_TEXT",
    "null": "TEXT",
}
_TEXT = {
    **{name: text for text, name in _COLUMN.items() if text not in ("int8", "null", "interval")},
    "BOOL": "bool",
    "JSON": "json",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "": "string",
}
_AFFINITIES = (
    (("INT",), "int64"),
    (("CHAR", "CLOB", "TEXT"), "string"),
    (("BLOB",), "binary"),
    (("REAL", "FLOA", "DOUB"), "float64"),
)


def column_type(text: str) -> str:
    """Return the declared type of a column for values of a type text; nested values become JSON text."""
    if found := re.fullmatch(r"decimal\((\d+),(-?\d+)\)", text):
        kind = "DECIMAL" if int(found[1]) <= EXACT_DIGITS_MAX else "DECIMAL_TEXT"
        return f"{kind}({found[1]},{found[2]})"
    return _COLUMN.get(text, "JSON_TEXT")


def type_text(declared: str) -> str:
    """Return the type text of a declared type: integers of other databases' names are wide, as SQLite keeps them."""
    name = " ".join(declared.upper().split())
    if name in _TEXT:
        return _TEXT[name]
    if found := re.fullmatch(r"(?:DECIMAL|NUMERIC|DECIMAL_TEXT) ?\( ?(\d+) ?, ?(\d+) ?\)", name):
        return f"decimal({found[1]},{found[2]})"
    for words, text in _AFFINITIES:
        if any(word in name for word in words):
            return text
    return "float64"


def is_text(declared: str) -> bool:
    """Tell whether a column of a declared type keeps texts that look like numbers as they are."""
    name = declared.upper()
    return "INT" not in name and any(word in name for word in ("CHAR", "CLOB", "TEXT", "BLOB"))


class SqliteDialect(Dialect):
    """Any column takes any value, and there is no statement that alters one: another one takes its place."""

    __slots__ = ()

    def differs_in_use(self, declared: str, kind: str) -> bool:
        """Only where numbers are made of texts, and digits would be lost, there is something to do."""
        return is_text(kind) and not is_text(declared)

    def retype(self, table: Table, column: Defined, kind: str) -> tuple[str, ...]:
        """Copy the values into a new column."""
        return self._replaced(table, column, f"{kind}{column.rest}{' not null' if column.required else ''}")

    def nullable(self, table: Table, column: Defined) -> tuple[str, ...]:
        """Copy the values into a new column."""
        return self._replaced(table, column, f"{column.declared}{column.rest}")

    def _replaced(self, table: Table, column: Defined, definition: str) -> tuple[str, ...]:
        of, name, new = self.reference(table), self.quote(column.name), self.quote(f"_dataflare_{column.name}")
        return (
            f"alter table {of} add column {new} {definition}",
            f"update {of} set {new} = {name}",  # noqa: S608 - quoted
            f"alter table {of} drop column {name}",
            f"alter table {of} rename column {new} to {name}",
        )


SQLITE = SqliteDialect(
    "sqlite",
    column_type,
    lambda n: f"?{n}",
    repeats=True,
    numbering="integer primary key",
    differs="is not",  # the words of the standard need SQLite 3.39
    bytewise=" collate binary",
    holds=lambda column, text: f"exists (select 1 from json_each({column}) j where j.value = {text})",  # noqa: S608
    each=lambda column: f"json_each({column}) as _dataflare_each",
    kept=lambda text: type_text(column_type(text)),
)
