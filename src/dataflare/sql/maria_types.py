"""MariaDB and MySQL: column types of type texts, the type texts of columns, and their way to write statements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dataflare.sql.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.schema import Schema
    from dataflare.sql.dialect import Defined, Late, Table

PRECISION_MAX, SCALE_MAX = 38, 38
KEY_CHARACTERS = 255
"""A key of three texts of so many characters is as long as an index may be."""

_COLUMN = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint8": "tinyint unsigned",
    "uint16": "smallint unsigned",
    "uint32": "int unsigned",
    "uint64": "bigint unsigned",
    "float32": "float",
    "float64": "double",
    "binary": "longblob",
    "date": "date",
    "time": "time(6)",
    "timestamp": "timestamp(6)",
    "datetime": "datetime(6)",
}
_TEXTS = ("tinytext", "text", "mediumtext", "longtext")
_CASTS = {"tinyint": "signed", "smallint": "signed", "mediumint": "signed", "int": "signed", "bigint": "signed"}
_TEXT = {
    "tinyint": "int8",
    "smallint": "int16",
    "mediumint": "int32",
    "int": "int32",
    "bigint": "int64",
    "year": "int16",
    "float": "float32",
    "double": "float64",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "datetime": "datetime",
    "json": "json",
    "bit": "uint64",
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "binary"),
}


def type_text(declared: str) -> str:
    """Return the type text of a column type as `information_schema` tells it; unknown types are read as text."""
    kind, _, inside = declared.lower().partition("(")
    name = kind.split()[0]
    if declared.lower() in ("tinyint(1)", "bit(1)"):
        return "bool"
    if name == "decimal":
        precision, scale = (int(n) for n in inside.partition(")")[0].split(","))
        return f"decimal({precision},{scale})" if precision <= PRECISION_MAX else "string"
    text = _TEXT.get(name, "string")
    return f"u{text}" if text.startswith("int") and "unsigned" in declared.lower() else text


def holding(declared: str) -> str:
    """Return the type text of what a column holds whole: a mediumint, read as int32, holds less."""
    return type_text(declared.lower().replace("mediumint", "smallint"))


def is_plain(declared: str) -> bool:
    """Tell whether a column type is one that holds all that its type text says."""
    name = declared.lower().partition("(")[0].split()[0]
    plain = {*_TEXT, "decimal"} - {"year", "bit", "binary", "varbinary", "tinyblob", "blob", "mediumblob"}
    return name in ("varchar", *_TEXTS) or (name in plain and type_text(declared) != "string")


def is_limited(declared: str) -> bool:
    """Tell whether a column type holds texts of a limited length only."""
    name = declared.lower().partition("(")[0].split()[0]
    return name == "varchar" or (name in _TEXTS and name != "longtext")


class MariaDialect(Dialect):
    """What these two share; `bytewise` names a collation that compares texts by their bytes, blanks at the end too."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """How texts are kept: of any length, and told apart by their bytes."""
        return f"character set utf8mb4{self.bytewise}"

    def key_type(self, text: str) -> str:
        """Texts and bytes in a key have a length."""
        kind = self.column_type(text)
        if kind == "longblob":
            return f"varbinary({KEY_CHARACTERS})"
        return f"varchar({KEY_CHARACTERS}) {self.text}" if kind.startswith("longtext") else kind

    def insertion(self, table: Table, names: Sequence[str], query: str, *, head: str = "", conflict: str = "") -> str:
        """Common tables come behind the table, which has no other name."""
        into = f"insert into {self.reference(table)} ({self.listed(tuple(names))})"
        return " ".join(part for part in (into, head, query, conflict) if part)

    def conflict(
        self, table: Table, key: Sequence[str], columns: Sequence[str], place: str = "", late: Late | None = None
    ) -> str:
        """Whatever unique index is hit. Columns are set one after another, so that the one that is judged is last."""
        of = self.reference(table)
        sets = []
        for column in sorted(columns, key=lambda name: name == place) or key[:1]:
            name = self.quote(column)
            new = f"values({name})" if columns else f"{of}.{name}"
            if late is not None:
                judged = self.quote(place)
                new = f"if({late(f'{of}.{judged}', f'values({judged})')}, {of}.{name}, {new})"
            sets.append(f"{of}.{name} = {new}")
        return f"on duplicate key update {', '.join(sets)}"

    def update(self, table: Table, sets: Mapping[str, str], query: str, condition: str, head: str = "") -> str:
        """Rows are joined, and common tables stand inside."""
        told = ", ".join(f"t.{self.quote(column)} = {value}" for column, value in sets.items())
        return f"update {self.reference(table)} t join ({head} {query}) u on {condition} set {told}"  # noqa: S608

    def deletion(self, table: Table, key: Sequence[str], query: str, head: str = "") -> str:
        """Rows are joined, as `in` would look through all keys for each row.

        The table keeps its name: by another one nobody could delete where the connection has no database of its own.
        """
        names, of = [self.quote(k) for k in key], self.reference(table)
        same = " and ".join(f"{of}.{name} = u.{name}" for name in names)
        keys = f"select distinct {', '.join(names)} from ({query}) k"  # noqa: S608
        return f"delete {of} from {of} join ({head} {keys}) u on {same}"

    def materialized(self, *, once: bool) -> str:
        """The server decides."""
        del once
        return ""

    def differ(self, one: str, other: str) -> str:
        """Return the condition that two values are not the same, null being a value."""
        return f"not ({one} <=> {other})"

    def drop_temporary(self, name: str) -> str:
        """Without the word, dropping would end the transaction."""
        return f"drop temporary table {name}"

    def retype(self, table: Table, column: Defined, kind: str) -> tuple[str, ...]:
        """State the column anew, with all that hangs on it; texts keep their collation."""
        told = "longtext" if column.rest.startswith((" CHARACTER", " COLLATE")) and kind.startswith("long") else kind
        return (self._modified(table, column, told, column.rest),)

    def nullable(self, table: Table, column: Defined) -> tuple[str, ...]:
        """State the column anew; a time without the word NULL may take none."""
        rest = re.sub(r"^((?: CHARACTER SET \w+)?(?: COLLATE \w+)?) NOT NULL", r"\1 NULL", column.rest)
        return (self._modified(table, column, column.declared, rest),)

    def losing(self, table: Table, column: Defined, kind: str) -> str:
        """Casts have names of their own here."""
        to, back = _cast(kind), _cast(column.declared)
        if not to or not back:
            return ""
        name = self.quote(column.name)
        differs = self.differ(name, f"cast(cast({name} as {to}) as {back})")
        return f"select 1 from {self.reference(table)} where {differs} limit 1"  # noqa: S608 - quoted

    def _modified(self, table: Table, column: Defined, kind: str, rest: str) -> str:
        return f"alter table {self.reference(table)} modify column {self.quote(column.name)} {kind}{rest}"

    def index_current(self, index: str, table: Table, key: Schema, condition: str) -> str:
        """An index cannot be over some rows only; one of texts is over their beginnings."""
        columns = [self.quote(c.name) + ("(255)" if "long" in self.column_type(c.type) else "") for c in key]
        on = f"{self.reference(table)} ({', '.join([*columns, self.quote(condition)])})"
        return f"create index {self.quote(index)} on {on}"


def _cast(declared: str) -> str:
    """Return what a column type is called in a cast; "" for texts, and for what has no name there."""
    name = declared.lower().partition("(")[0].split()[0]
    if name in _CASTS:
        return "unsigned" if "unsigned" in declared.lower() else "signed"
    if name in ("double", "decimal", "date", "time", "datetime"):
        return declared
    return {"float": "double", "timestamp": "datetime(6)"}.get(name, "")


def dialect_for(collation: str) -> MariaDialect:
    """Return the dialect of a server that knows this collation, which compares texts by their bytes.

    MariaDB tells a column of JSON as what it is there: text.
    """
    text = f"longtext character set utf8mb4 collate {collation}"

    def column_type(kind: str) -> str:
        if found := re.fullmatch(r"decimal\((\d+),(-?\d+)\)", kind):
            precision, scale = int(found[1]), int(found[2])
            return f"decimal({precision},{scale})" if scale >= 0 else f"decimal({precision - scale},0)"
        if kind in ("string", "interval", "null"):
            return text
        return _COLUMN.get(kind, "json")

    def kept(kind: str) -> str:
        made = column_type(kind)
        return "bool" if made == "boolean" else "string" if made == "json" else type_text(made)

    return MariaDialect(
        "mariadb",
        column_type,
        lambda n: f"\0{n}\0",  # nothing else in a statement can have a NUL in it
        row_locks=True,
        numbering="bigint not null auto_increment primary key",
        bytewise=f" collate {collation}",
        holds=lambda column, told: f"json_contains({column}, json_quote({told}))",
        each=lambda column: f"json_table({column}, '$[*]' columns (value longtext path '$')) as _dataflare_each",
        returns=False,
        definitions_commit=True,
        mark="`",
        kept=kept,
        dates_are_instants=False,
        savepoints=False,
    )


MARIADB = dialect_for("utf8mb4_nopad_bin")
MYSQL = dialect_for("utf8mb4_0900_bin")
