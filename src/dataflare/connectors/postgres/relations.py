"""What a PostgreSQL source reads: tables, views and queries, each with its columns, their types and its order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.component.deviations import wider_type
from dataflare.errors import WorkflowError
from dataflare.schema import Column, Schema
from dataflare.sql.hashing import form_of
from dataflare.sql.postgres_types import NUMERIC_DEFAULT, POSTGRES, POSTGRES_STAGING, column_type, is_native, type_text
from dataflare.sql.predicate import Wording, worded
from dataflare.sql.quoting import literal, split_name
from dataflare.sql.reading import ReadRelation, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Described, Statements
    from dataflare.sql.hashing import Text
    from dataflare.sql.predicate import Form

WHOLE = {kind: (-(1 << bits - 1), (1 << bits - 1) - 1) for kind, bits in (("int2", 16), ("int4", 32), ("int8", 64))}
"""Types of whole numbers: the least and the greatest of each."""
_TEXTS = ("text", "varchar")
_COMPARED = (*WHOLE, "bool", "date", "timestamp", "timestamptz", "numeric")


def _value(text: str, kind: str) -> str:
    if kind.startswith(("int", "decimal")):
        return f"{text}::{'int8' if kind.startswith('int') else 'numeric'}"
    return f"{text}::{column_type(kind)}"


def _odd(column: str, kind: str) -> str:
    """Infinite times, those that Arrow may lack, and NaN: reading them fails, or makes something else of them."""
    if kind.startswith("decimal"):
        return f"{column} = 'NaN'"
    if kind in ("date", "datetime", "timestamp"):
        return f"{column} < '0001-01-01' or {column} > '9999-12-31'"
    return ""


_WORDING = Wording(
    # By their bytes: in a collation of the server, texts may be equal that are not the same.
    lambda column, kind: f'{column} collate "C"' if kind == "string" else column,
    _value,
    _odd,
    "{} like {} escape ''",
)
_FACTS = (
    "select c.relkind::text, c.reltuples::float8, (case when c.relkind in ('r', 'm') "
    "then pg_relation_size(c.oid) / current_setting('block_size')::int8 else 0 end)::int8 "
    "from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1::text and c.relname = $2::text"
)

_FINITE = "(case when isfinite({0}) then %s else {0}::text end)"
_HASHED = {
    "int": "{}::text",
    "text": "{}::text",
    "bool": "{}::int::text",
    "days": _FINITE % "({0} - date '1970-01-01')::text",
    "timestamp": _FINITE % "(extract(epoch from {0}) * 1000000)::int8::text",
    "datetime": _FINITE % "(extract(epoch from {0}) * 1000000)::int8::text",
    "hex": "encode({}, 'hex')",
}
_FLOATS = {"float4": "encode(float4send({}), 'hex')", "float8": "encode(float8send({}), 'hex')"}
"""As texts they would have the digits that a setting of the server says."""


@dataclass(frozen=True, slots=True)
class PostgresRelation(ReadRelation):
    """What PostgreSQL tells of it besides. `kinds` are the database's types by column, for literals.

    `copied` are the columns' expressions for the codec `pgcopy`; nothing where a column cannot be had so, exactly.
    `blocks` counts the blocks of a table on disk (0: it is none),
    `rows` estimates its rows. `bytewise`: texts lie in the database as UTF-8, so the order of bytes is ours.
    """

    kinds: Mapping[str, str]
    copied: Mapping[str, str]
    blocks: int = 0
    rows: float = 0
    bytewise: bool = False

    def as_copied(self, names: Iterable[str]) -> Relation:
        """Return what reads these columns as bytes."""
        return replace(self.picked(()), columns={n: self.copied[n] for n in names})

    def whole_key(self) -> str | None:
        """Return the key where it is one column of whole numbers, which can be cut into ranges."""
        only = self.unique[0] if len(self.unique) == 1 else ""
        return only if self.kinds.get(only) in WHOLE else None

    def is_whole(self, column: str, schema: Schema) -> bool:
        """Tell whether a column of the order is read anyhow, as a whole number: a position can be taken of it."""
        return column in schema and self.kinds[column] in WHOLE and schema[column].type in ("int16", "int32", "int64")

    def at(self, column: str) -> str:
        """Return the column of the table, whatever a query that reads it calls an output: `order by` means that one."""
        return f"{'q' if self.source.startswith('(') else self.source}.{POSTGRES.quote(column)}"

    def compares(self, column: str, sign: str) -> bool:
        """Compare what has one meaning and one order everywhere: texts by their bytes."""
        text, kind = self.schema[column].type, self.kinds[column]
        if text == "string":
            return kind in _TEXTS and (self.bytewise or sign in ("=", "<>", "in", "like", "null"))
        plain = kind in _COMPARED and (kind != "numeric" or text == self.found[column])
        return plain and sign != "like"

    def condition(self, form: Form) -> str:
        """Return a condition in the words of the server."""
        return worded(form, self.at, _WORDING)

    def hashed(self, column: str, kind: str) -> Text | None:
        """Write what has one meaning everywhere as others do, the rest as only PostgreSQL does."""
        name, natural, own = self.at(column), self.found[column], self.kinds[column]
        form = form_of(kind)
        if own == "numeric" and natural.startswith("decimal") and form.startswith("decimal"):
            if natural != NUMERIC_DEFAULT and form == form_of(natural):
                return form, f"{name}::text", name
            rounded = f"round({name}, {form.partition('.')[2]})"
            return form, f"(case when {name} = {rounded} then {rounded} else {name} end)::text", name
        if form and form == form_of(natural) and (form != "text" or own in (*_TEXTS, "uuid")) and own != "oid":
            return form, _HASHED[form].format(name), name
        if natural != kind or (own.lstrip("_") in ("float4", "float8", "json", "") and own not in _FLOATS):
            return None
        return f"postgres.{own}", _FLOATS.get(own, "{}::text").format(name), name

    def as_json(self, column: str) -> str:
        """Return the expression that yields a column of the order as a number or as text, for a position."""
        name = column.removeprefix("/")
        text = POSTGRES.quote(name)
        return f"{text}::int8" if self.kinds[name] in WHOLE else f"{text}::text"

    def value(self, column: str, value: Any) -> str:
        """Return a value of a position as a literal: COPY takes no parameters."""
        name = column.removeprefix("/")
        kind = self.kinds[name]
        return f"{literal(str(value))}::{POSTGRES.quote(kind)}" if kind else literal(str(value))


def relations(
    session: Statements, config: PostgresSourceConfig, *, gently: bool = False
) -> dict[str, PostgresRelation]:
    """Return what the settings name, by output; raise WorkflowError for what is not there.

    `gently`: values that shall become another type come as texts, for the server would fail at one that cannot.
    """
    if config.query:
        from dataflare.connectors.postgres.session import PostgresSession

        assert isinstance(session, PostgresSession), "the catalogue does not describe a query"
        query = f"({config.query.rstrip().rstrip(';')}) as q"
        found = {"": _relation(query, session.described(query), config, gently=gently)}
    else:
        found = {output: _named(session, name, config, gently=gently) for output, name in config.outputs().items()}
    for column in config.types:
        if not any(column in r.schema for r in found.values()):
            raise WorkflowError(f"types names {column}, which is no column", hint="remove it")
    ((encoding,),) = session.run("select current_setting('server_encoding')")
    return {name: replace(relation, bytewise=encoding == "UTF8") for name, relation in found.items()}


def _named(session: Statements, name: str, config: PostgresSourceConfig, *, gently: bool) -> PostgresRelation:
    table = session.resolved(*split_name(name))
    facts = session.run(_FACTS, (table.schema, table.name))
    if not facts:
        raise WorkflowError(f"there is no table {table}", hint="check its name, its schema and the database")
    ((_, rows, blocks),) = facts
    found = _relation(POSTGRES.reference(table), session.attributes(table), config, gently=gently)
    primary = session.primary_key(table)
    key = tuple(config.key) or primary
    order = {k: found.at(k) for k in key}
    proven = bool(key) and set(key) == set(primary)
    return replace(found, order=order, unique=key, proven=proven, blocks=blocks, rows=max(rows, 0))


def _relation(
    source: str, found: Sequence[Described], config: PostgresSourceConfig, *, gently: bool
) -> PostgresRelation:
    told = config.told_types()
    names = [c.name for c in found]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise WorkflowError(f"the query has two columns {twice[0]}", hint="give each a name of its own, with `as`")
    lost = [k for k in config.key if k not in names]
    if lost:
        raise WorkflowError(f"there is no column {lost[0]} to be the key", hint=f"there are {', '.join(names)}")
    natural = {c.name: type_text(c.type, c.modifier) for c in found}
    schema = Schema(tuple(Column(n, told.get(n) or kind) for n, kind in natural.items()))
    texts = {n for n, kind in natural.items() if gently and wider_type(kind, schema[n].type) != schema[n].type}
    columns = {c.name: _expression(c, "string" if c.name in texts else schema[c.name].type) for c in found}
    kinds = {c.name: "" if c.type.startswith("unnamed") else c.type for c in found}
    copied = {c.name: text for c in found if c.name not in texts and (text := _copied(c, schema[c.name].type))}
    key = tuple(config.key)
    copied = copied if len(copied) == len(found) else {}
    relation = PostgresRelation(source, columns, {}, schema, kinds, copied, unique=key, found=natural)
    return replace(relation, order={k: relation.at(k) for k in key})


def _expression(column: Described, text: str) -> str:
    """Return the SQL by which a column arrives so that Arrow can make its planned type of it."""
    name = POSTGRES.quote(column.name)
    natural = type_text(column.type, column.modifier)
    if column.type == "numeric" and text.startswith("decimal"):
        return name
    if natural.startswith("list<") and natural == text:
        return f"{_flat(column)} as {name}"
    if is_native(column.type) and natural == text:
        return name
    if text == "string" or text.startswith(("decimal", "json")):
        return f"{name}::text as {name}"
    return f"{name}::{column_type(text)} as {name}"


def _copied(column: Described, text: str) -> str:
    """Return the SQL by which a column arrives as a staging table would copy it; "" where it might be rounded."""
    name, natural = POSTGRES.quote(column.name), type_text(column.type, column.modifier)
    if "decimal" in text and (natural != text or column.modifier < 0):
        return ""
    kind = "bpchar" if column.type == "bpchar" and text == "string" else POSTGRES_STAGING.column_type(text)
    return f"{name}::{kind} as {name}"  # always with a cast, which costs nothing: the bytes do not say what they are


def _flat(column: Described) -> str:
    """Return an array, as text where Arrow cannot take its items; one of several dimensions fails: it would be cut."""
    name = POSTGRES.quote(column.name)
    told = literal(f"-dimensional array in column {column.name}")
    items = name if is_native(column.type) else f"{name}::text[]"
    deep = f"cast(array_ndims({name}) || {told} as int4)::text::text[]"
    kind = "text[]" if not is_native(column.type) else f"{column.type[1:]}[]"
    return f"case when array_ndims({name}) > 1 then ({deep})::{kind} else {items} end"


__all__ = ["WHOLE", "PostgresRelation", "relations"]
