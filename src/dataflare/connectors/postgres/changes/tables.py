"""The tables whose changes are followed: by which key rows are told apart, and what their changes tell."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from dataflare.batch import RESERVED
from dataflare.changes import changing
from dataflare.component import Stream
from dataflare.connectors.postgres.relations import relations
from dataflare.connectors.postgres.replication.messages import TablePlan
from dataflare.errors import StateError, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.schema import Schema
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.quoting import split_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataflare.batch import Batch, Position
    from dataflare.component import Split, StageContext
    from dataflare.connectors.postgres.relations import PostgresRelation
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements
    from dataflare.sql.dialect import Table

_FACTS = (
    "select c.relkind::text, c.relreplident::text, c.relpersistence::text, "
    "coalesce((select array_agg(a.attname::text order by k.n) from pg_index i, "
    "unnest(i.indkey::int2[]) with ordinality k(number, n), pg_attribute a where i.indrelid = c.oid "
    "and i.indisreplident and a.attrelid = c.oid and a.attnum = k.number and k.n <= i.indnkeyatts), '{}'), "
    "coalesce((select array_agg(a.attname::text) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 "
    "and not a.attisdropped and a.attgenerated != ''), '{}'), "
    "exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
    "and a.attlen = -1 and a.attstorage in ('x', 'e')), "
    "(select min(p.relid::regclass::text) from pg_partition_tree(c.oid) p join pg_class l on l.oid = p.relid "
    "where p.isleaf and l.relreplident not in (c.relreplident, 'f')), "
    "coalesce((select json_object_agg(a.attname, c.oid || '/' || a.attnum)::text from pg_attribute a "
    "where a.attrelid = c.oid and a.attnum > 0 and a.attgenerated = ''), '{}') "
    "from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1::text and c.relname = $2::text"
)
_SIZE = (
    "select greatest(pg_table_size($1::text::regclass), sum(pg_table_size(relid)))::int8 "
    "from pg_partition_tree($1::text::regclass)"
)
WHOLE_BYTES = 64 << 20
"""So much of a table without a key is one batch, which an epoch has as a whole or not at all."""
_DEFAULT, _INDEX, _FULL, _NOTHING = "d", "i", "f", "n"


class Rows(Protocol):
    """The source, as far as it reads tables."""

    config: PostgresSourceConfig
    context: StageContext
    bytes_read: int

    @property
    def session(self) -> Statements:
        """The connection that is open now; reading may take another one instead."""
        ...

    def tables(self, session: Statements, schema: str) -> Sequence[str]:
        """Return the names of the tables of a schema."""
        ...

    def ranges(self, name: str, number: int, since: Position | None) -> Iterator[Split]:
        """Yield the parts of a table."""
        ...

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part."""
        ...


@dataclass(frozen=True, slots=True)
class FollowedTable:
    """A table and what its changes are.

    `key` tells rows apart; `whole`: by all columns, for want of a key. `identity` is the replica identity, `d`, `i`,
    `f` or `n`; `told` are the columns whose values a delete tells. `toasts`: an update may leave values out.
    `unlike` is a partition that has another identity. `marks` are the numbers of columns in the catalogue, which stay
    whatever they are called; those of dropped ones too, but of no generated
    ones, which the log leaves out.
    """

    name: str
    table: Table
    relation: PostgresRelation
    key: tuple[str, ...]
    identity: str
    told: tuple[str, ...]
    toasts: bool
    partitioned: bool
    whole: bool
    has_before: bool
    unlike: str | None
    marks: Mapping[str, str]

    @property
    def reference(self) -> str:
        """The table's name in quotes."""
        return POSTGRES.reference(self.table)

    def stream(self, schema: Schema) -> Stream:
        """Return the output, for the columns that are wanted."""
        marks = {c.name: self.marks.get(c.name, "") for c in schema}
        schema = changing(schema, self.key, unchanged=self.toasts, before=self.has_before)
        return Stream(schema, EdgeKind.UPSERT, self.key, marks=marks)

    def plan(self, schema: Schema) -> TablePlan:
        """Return what the decoder makes of changes, for the planned columns."""
        kinds = {n: k for n, k in self.relation.kinds.items() if k and n in schema}
        return TablePlan(self.name, self.key, schema, kinds, unchanged=self.toasts, before=self.has_before)


def followed(session: Statements, config: PostgresSourceConfig, *, gently: bool = False) -> dict[str, FollowedTable]:
    """Return the tables by output; raise WorkflowError for one that is not there or is none whose changes are logged.

    Whether its replica identity tells enough is for `problems` to say. `gently`: values come so that the server fails
    for none of them, arrays as texts, too.
    """
    if config.query:
        raise WorkflowError(
            "changes of a query cannot be followed", hint="name table or tables, or read it with mode: full"
        )
    found = relations(session, config, gently=gently)
    tables = {output: session.resolved(*split_name(name)) for output, name in config.outputs().items()}
    if gently:
        found = {output: _with_arrays_as_texts(relation) for output, relation in found.items()}
    return {output: _followed(session, output, tables[output], found[output], config) for output in tables}


def exists(session: Statements, table: Table) -> bool:
    """Tell whether there is such a table."""
    return bool(session.run(_FACTS, (table.schema, table.name)))


def _with_arrays_as_texts(relation: PostgresRelation) -> PostgresRelation:
    arrays = {c.name: POSTGRES.quote(c.name) for c in relation.schema if c.type.startswith("list<")}
    columns = {name: f"{quoted}::text as {quoted}" for name, quoted in arrays.items()}
    return replace(relation, columns={**relation.columns, **columns})


def _followed(
    session: Statements, output: str, table: Table, relation: PostgresRelation, config: PostgresSourceConfig
) -> FollowedTable:
    ((kind, identity, persistence, index, generated, toasts, other, marks),) = session.run(
        _FACTS, (table.schema, table.name)
    )
    if kind not in ("r", "p"):
        raise WorkflowError(f"{table} is no table, so it has no changes", hint="name the tables that it is made of")
    if persistence != "p":
        raise WorkflowError(
            f"changes of {table} are not logged",
            hint=f"alter table {POSTGRES.reference(table)} set logged; temporary tables are never followed",
        )
    schema = Schema(tuple(c for c in relation.schema if c.name not in generated))
    primary = session.primary_key(table)
    told = {_DEFAULT: primary, _INDEX: tuple(index), _FULL: tuple(schema.names), _NOTHING: ()}[identity]
    key = tuple(config.key) or (tuple(index) if identity == _INDEX else primary)
    whole = not key and identity == _FULL
    if whole:
        key = tuple(schema.names)
    order = {} if whole else {k: relation.at(k) for k in key}
    proven = bool(key) and set(key) in (set(primary), set(index))
    columns = {n: e for n, e in relation.columns.items() if n in schema}
    cut = replace(relation, columns=columns, schema=schema, order=order, unique=key, proven=proven, blocks=0, copied={})
    full = identity == _FULL
    return FollowedTable(
        output,
        table,
        cut,
        key,
        identity,
        told,
        toasts=toasts and not full,
        partitioned=kind == "p",
        whole=whole,
        has_before=full and config.cdc.before,
        unlike=other,
        marks=json.loads(marks),
    )


def problem(found: FollowedTable) -> WorkflowError | None:
    """Return why changes of a table cannot be told apart, with the statement that cures it; None where they can."""
    full = f"alter table {found.reference} replica identity full"
    if found.identity == _NOTHING or not found.told:
        return WorkflowError(
            f"{found.table} has no key, so changed and deleted rows cannot be told apart",
            hint=f"add a primary key, or run: {full}",
        )
    if found.unlike:
        return WorkflowError(
            f"the partition {found.unlike} of {found.table} has another replica identity than the table",
            hint=f"run: alter table {found.unlike} replica identity full",
        )
    lost = [k for k in found.key if k not in found.told]
    if lost:
        return WorkflowError(
            f"deleted rows of {found.table} do not tell {lost[0]}, which is of the key",
            hint=f"let the key be {', '.join(found.told)}, or run: {full}",
        )
    return None


def refuse_problems(tables: Mapping[str, FollowedTable]) -> None:
    """Raise the first problem."""
    for found in tables.values():
        if (error := problem(found)) is not None:
            raise error


def refuse_large(session: Statements, new: Iterable[FollowedTable], bytes_max: int) -> None:
    """Raise where one of the tables that come later has no key, and more on disk than is read at once."""
    for table in new:
        if table.whole and (size := session.run(_SIZE, (table.reference,))[0][0]) > bytes_max:
            raise StateError(
                f"{table.table} is new in the workflow, has no key and takes {size >> 20} MiB: without a key at most "
                f"{bytes_max >> 20} MiB are read beside the others",
                hint="add a key to the table, or read it by a workflow of its own",
            )


def planned_schema(schema: Schema) -> Schema:
    """Return the columns of a table, without those in which changes travel."""
    return schema.select(n for n in schema.names if n not in RESERVED)


__all__ = [
    "WHOLE_BYTES",
    "FollowedTable",
    "Rows",
    "exists",
    "followed",
    "planned_schema",
    "problem",
    "refuse_large",
    "refuse_problems",
]
