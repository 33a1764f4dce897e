"""What a MariaDB source reads: tables, views and queries, each with its columns, their types and its order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataflare.connectors.mariadb.catalogue import FACTS, JSON_CHECKS
from dataflare.errors import WorkflowError
from dataflare.schema import Column, Schema
from dataflare.sql.hashing import form_of
from dataflare.sql.maria_types import MARIADB, type_text
from dataflare.sql.predicate import Wording, worded
from dataflare.sql.reading import ReadRelation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig
    from dataflare.sql.dialect import Table
    from dataflare.sql.hashing import Text
    from dataflare.sql.predicate import Form

WHOLE = ("tinyint", "smallint", "mediumint", "int", "bigint")
_NUMBERED = ("enum", "set", "bit", "year")
"""What is ordered by a number, but compared with texts as texts."""
_SHAPES = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)
_KINDS = {
    1: "tinyint",
    2: "smallint",
    3: "int",
    8: "bigint",
    9: "mediumint",
    13: "year",
    16: "bit",
    4: "float",
    5: "double",
    7: "timestamp",
    10: "date",
    11: "time",
    12: "datetime",
    245: "json",
    255: "geometry",
}
_UNSIGNED, _BINARY_SET, _DECIMALS, _BYTES = 32, 63, (0, 246), (249, 250, 251, 252, 253, 254)
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_BLOBS = ("varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_TIMES = ("date", "datetime", "timestamp")
_REAL = "(case when month({0}) and dayofmonth({0}) then cast(%s as char) else cast({0} as char) end)"
_HASHED = {
    "int": "cast({} as char)",
    "text": "convert({} using utf8mb4)",
    "bool": "(case when {0} then '1' when not {0} then '0' end)",
    "days": _REAL % "datediff({0}, '1970-01-01')",
    "timestamp": _REAL % "timestampdiff(microsecond, '1970-01-01', {0})",
    "datetime": _REAL % "timestampdiff(microsecond, '1970-01-01', {0})",
    "hex": "lower(hex({}))",
}


def _bytes(text: str) -> str:
    """Return a literal as bytes: nothing in it means anything, whatever the mode of the session."""
    return f"x'{text[1:-1].replace(chr(39) * 2, chr(39)).encode().hex()}'"


def _compared(column: str, kind: str) -> str:
    if kind == "string":
        return f"cast(convert({column} using utf8mb4) as binary)"
    return f"({column} <> 0)" if kind == "bool" else column


_WORDING = Wording(
    _compared,
    lambda text, kind: _bytes(text) if kind == "string" else text if kind in _TIMES else text[1:-1],
    # Days that no calendar has: reading them fails, or makes null of them.
    lambda column, kind: f"month({column}) = 0 or dayofmonth({column}) = 0" if kind in _TIMES else "",
)


@dataclass(frozen=True, slots=True)
class MariaRelation(ReadRelation):
    """What MariaDB tells of it besides. `kinds` are the types by column as SQL declares them.

    `rows` estimates the rows of a table.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    rows: float = 0

    def at(self, column: str) -> str:
        """Return the expression by which a column is ordered and compared."""
        name = MARIADB.quote(column)
        return f"({name} + 0)" if base_type(self.kinds[column]) in _NUMBERED else name

    def compares(self, column: str, sign: str) -> bool:
        """Compare numbers, times, and texts by their bytes, which is how the engine orders them."""
        kind = base_type(self.kinds[column])
        if kind in _TEXTS:
            return True
        plain = kind in (*WHOLE, *_TIMES, "decimal")
        return plain and sign != "like"

    def condition(self, form: Form) -> str:
        """Return a condition in the words of the server."""
        return worded(form, MARIADB.quote, _WORDING)

    def hashed(self, column: str, kind: str) -> Text | None:
        """Write what has one meaning everywhere as others do; the rest, floats too, is not hashed."""
        name, own, natural = MARIADB.quote(column), base_type(self.kinds[column]), self.found[column]
        form = form_of(kind)
        if form != form_of(natural) or own not in (*WHOLE, *_TIMES, *_TEXTS, *_BLOBS, "decimal"):
            return None
        text = "cast({} as char)" if form.startswith("decimal") else _HASHED.get(form)
        return (form, text.format(name), name) if text else None

    def whole_key(self) -> str | None:
        """Return the key where it is one column of whole numbers, which can be cut into ranges."""
        only = self.unique[0] if len(self.unique) == 1 else ""
        return only if only and base_type(self.kinds[only]) in WHOLE else None

    def of_position(self, column: str, value: bytes | None) -> Any:
        """Return a value of the order, as the server sent it, as a position keeps it."""
        kind = base_type(self.kinds[column.removeprefix("/")])
        if value is None:
            return None
        if kind in WHOLE or kind in _NUMBERED:
            return int(value)
        return {"hex": value.hex()} if kind.endswith(("binary", "blob")) else value.decode()

    def as_literal(self, column: str, value: Any, literal: Callable[[Any], str]) -> str:
        """Return a value of a position as it stands in a statement."""
        kind = base_type(self.kinds[column.removeprefix("/")])
        if isinstance(value, dict):
            return literal(bytes.fromhex(value["hex"]))
        if kind in ("decimal", "float", "double") and not isinstance(value, int | float):
            from decimal import Decimal

            return literal(Decimal(value))
        return literal(value)


def relations(session: MariaSession, config: MariaSourceConfig) -> dict[str, MariaRelation]:
    """Return what the settings name, by output; raise WorkflowError for what is not there."""
    if config.query:
        query = f"({config.query.rstrip().rstrip(';')}) as q"
        kinds = _described(session.described(f"select * from {query} limit 0"))  # noqa: S608 - the user's own
        found = {"": _relation(query, kinds, config)}
    else:
        found = {output: _named(session, name, config) for output, name in config.outputs().items()}
    for column in config.types:
        if not any(column in r.schema for r in found.values()):
            raise WorkflowError(f"types names {column}, which is no column", hint="remove it")
    return found


def _named(session: MariaSession, name: str, config: MariaSourceConfig) -> MariaRelation:
    table = session.resolved(name)
    kinds = session.columns(table)
    if kinds is None:
        raise WorkflowError(f"there is no table {table}", hint="check its name, its database and what the user may see")
    found = _relation(MARIADB.reference(table), {**kinds, **_json(session, table)}, config)
    primary = session.primary_key(table)
    key = tuple(config.key) or primary
    facts = session.run(FACTS, (table.schema, table.name))
    rows = float(facts[0][1] or 0) if facts else 0
    order = {k: found.at(k) for k in key}
    proven = bool(key) and {k.lower() for k in key} == {k.lower() for k in primary}
    return replace(found, order=order, unique=key, proven=proven, rows=rows)


def _json(session: MariaSession, table: Table) -> dict[str, str]:
    """Return the columns that are checked to be JSON: MariaDB declares them as texts."""
    if session.dialect is not MARIADB:
        return {}
    clauses = (clause for (clause,) in session.run(JSON_CHECKS, (table.schema, table.name)))
    return {c[len("json_valid(`") : -len("`)")].replace("``", "`"): "json" for c in clauses if c.endswith("`)")}


def _relation(source: str, kinds: Mapping[str, str], config: MariaSourceConfig) -> MariaRelation:
    lost = [k for k in config.key if k not in kinds]
    if lost:
        raise WorkflowError(f"there is no column {lost[0]} to be the key", hint=f"there are {', '.join(kinds)}")
    told = config.told_types()
    natural = {name: type_text(kind) for name, kind in kinds.items()}
    schema = Schema(tuple(Column(name, told.get(name) or text) for name, text in natural.items()))
    columns = {c.name: _expression(c, kinds[c.name], config.zero_dates == "null") for c in schema}
    key = tuple(config.key)
    found = MariaRelation(source, columns, {}, schema, unique=key, found=natural, kinds=kinds)
    return replace(found, order={k: found.at(k) for k in key})


def _expression(column: Column, kind: str, nulls: bool) -> str:  # noqa: FBT001 - of this file
    """Return the SQL by which a column arrives as a text that Arrow can read."""
    name, declared = MARIADB.quote(column.name), base_type(kind)
    if declared == "bit":
        return f"{name} + 0"
    if declared == "float":
        return f"cast({name} as double)"  # its own text has six digits
    if declared in _SHAPES:
        return f"st_astext({name})"
    if declared == "vector":
        return f"vec_totext({name})"
    if nulls and declared in ("date", "datetime", "timestamp"):
        return f"if(month({name}) and dayofmonth({name}), {name}, null)"
    return name


def _described(fields: list[Any]) -> dict[str, str]:
    """Return the types of a query's columns as SQL would declare them."""
    names = [f.name for f in fields]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise WorkflowError(f"the query has two columns {twice[0]}", hint="give each a name of its own, with `as`")
    return {f.name: _declared(f) for f in fields}


def _declared(told: Any) -> str:
    unsigned = bool(told.flags & _UNSIGNED)
    if told.type_code in _DECIMALS:
        precision = told.length - (told.scale > 0) - (not unsigned)
        return f"decimal({precision},{told.scale})"
    if told.type_code in _BYTES:
        return "blob" if told.charsetnr == _BINARY_SET else "text"
    kind = _KINDS.get(told.type_code, "text")
    length = f"({told.length})" if kind in ("tinyint", "bit") else ""
    return f"{kind}{length}{' unsigned' if unsigned and kind in WHOLE else ''}"


def base_type(declared: str) -> str:
    """Return the first word of a type as SQL declares it."""
    return declared.lower().partition("(")[0].split()[0]


__all__ = ["WHOLE", "MariaRelation", "base_type", "relations"]
