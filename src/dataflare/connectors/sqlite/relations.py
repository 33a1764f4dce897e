"""What a SQLite source reads: tables with their row ids or keys, views and queries, each with its columns and types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.connectors.sqlite.values import inferred
from dataflare.errors import WorkflowError
from dataflare.schema import Column, Schema
from dataflare.sql.dialect import Table
from dataflare.sql.predicate import Wording, worded
from dataflare.sql.quoting import quoted
from dataflare.sql.reading import ReadRelation
from dataflare.sql.sqlite_types import type_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.connectors.sqlite.session import SqliteSession
    from dataflare.connectors.sqlite.settings import SqliteSourceConfig
    from dataflare.sql.predicate import Form

SAMPLE_ROWS = 1000
_ODD = {"int64": "typeof({}) not in ('integer', 'null')", "string": "typeof({}) not in ('text', 'null')"}
"""Any value may be in any column; what is not of its type is converted, or refused, when it is read."""
_WORDING = Wording(
    # Without the collation of the column, which may take upper for lower case.
    lambda column, kind: f"{column} collate binary" if kind == "string" else column,
    lambda text, kind: text if kind == "string" else text[1:-1],
    lambda column, kind: _ODD[kind].format(column),
)


@dataclass(frozen=True, slots=True)
class SqliteRelation(ReadRelation):
    """`rowid` names its row id ("" where it has none). `bytewise`: texts lie in the file as UTF-8."""

    rowid: str = ""
    bytewise: bool = False

    def compares(self, column: str, sign: str) -> bool:
        """Compare whole numbers, and texts by their bytes; in UTF-16 those have an order of their own."""
        kind = self.schema[column].type
        if kind == "string":
            return sign in ("=", "<>", "in", "null") or (self.bytewise and sign != "like")
        return kind == "int64" and sign != "like"

    def condition(self, form: Form) -> str:
        """Return a condition in the words of SQLite."""
        return worded(form, self.at, _WORDING)


def relations(session: SqliteSession, config: SqliteSourceConfig) -> dict[str, SqliteRelation]:
    """Return what the settings name, by output; raise WorkflowError for what is not there."""
    if config.query:
        found = {"": _query(session, f"({config.query.rstrip().rstrip(';')}) as q", config)}
    else:
        found = {output: _named(session, name, config) for output, name in config.outputs().items()}
    _check_types(found, config)
    ((encoding,),) = session.run("pragma encoding")
    return {name: replace(r, bytewise=encoding == "UTF-8") for name, r in found.items()}


def _named(session: SqliteSession, name: str, config: SqliteSourceConfig) -> SqliteRelation:
    kind = session.definition(Table(name))
    if kind is None:
        known = [n for (n,) in session.run("select name from sqlite_schema where type in ('table', 'view')")]
        raise WorkflowError(f"there is no table {name}", hint=f"there are: {', '.join(known) or 'none'}")
    if kind[0] == "view" or "virtual" in kind[1][:20].lower():
        return _query(session, quoted(name), config)
    declared = session.columns(Table(name)) or {}
    sampled = {c for c, t in declared.items() if not t}
    types = {c: type_text(t) for c, t in declared.items()}
    if sampled:
        types |= {c: t for c, t in _sampled(session, quoted(name)).items() if c in sampled}
    key = tuple(session.primary_key(Table(name)))
    rowid = _rowid(session, name, declared)
    order = {rowid: rowid} if rowid else {k: quoted(k) for k in key}
    return _relation(quoted(name), types, config).with_order(order, rowid, key)


def _query(session: SqliteSession, source: str, config: SqliteSourceConfig) -> SqliteRelation:
    types = _sampled(session, source)
    lost = [k for k in config.key if k not in types]
    if lost:
        raise WorkflowError(f"the query has no column {lost[0]}", hint=f"it has {', '.join(types)}")
    key = tuple(config.key)
    return _relation(source, types, config).with_order({k: quoted(k) for k in key}, "", key)


@dataclass(frozen=True, slots=True)
class _Columns:
    source: str
    schema: Schema
    found: Mapping[str, str]

    def with_order(self, order: dict[str, str], rowid: str, key: tuple[str, ...]) -> SqliteRelation:
        columns = {c.name: quoted(c.name) for c in self.schema}
        return SqliteRelation(self.source, columns, order, self.schema, rowid, unique=key, found=self.found)


def _relation(source: str, types: dict[str, str], config: SqliteSourceConfig) -> _Columns:
    told = config.told_types()
    return _Columns(source, Schema(tuple(Column(c, told.get(c, t)) for c, t in types.items())), types)


def _sampled(session: SqliteSession, source: str) -> dict[str, str]:
    """Return types by column, judged by the first rows."""
    names, rows = session.described(f"select * from {source} limit {SAMPLE_ROWS}")  # noqa: S608 - quoted, or a query
    columns: list[Any] = list(zip(*rows, strict=True)) or [()] * len(names)
    return {name: inferred(values) for name, values in zip(names, columns, strict=True)}


def _rowid(session: SqliteSession, name: str, columns: Iterable[str]) -> str:
    """Return a name of the row id that no column bears; "" for a table without row ids."""
    taken = {c.lower() for c in columns}
    free = [n for n in ("rowid", "_rowid_", "oid") if n not in taken]
    ((without,),) = session.run(
        "select wr from pragma_table_list where schema = 'main' and name = ?1 collate nocase", (name,)
    )
    return free[0] if free and not without else ""


def _check_types(found: dict[str, SqliteRelation], config: SqliteSourceConfig) -> None:
    for column in config.types:
        if not any(column in r.schema for r in found.values()):
            raise WorkflowError(f"types names {column}, which is no column", hint="remove it")


__all__ = ["SqliteRelation", "relations"]
