"""What every connection to PostgreSQL answers, whichever driver it has: transactions and the catalogue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.errors import ExternalError
from dataflare.sql.dialect import Defined, Table
from dataflare.sql.postgres_types import POSTGRES, is_plain, type_text

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTINGS = (
    "select set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false), "
    "set_config('extra_float_digits', '1', false), set_config('intervalstyle', 'postgres', false), "
    "set_config('bytea_output', 'hex', false), "
    "set_config('standard_conforming_strings', 'on', false), "
    "set_config('idle_in_transaction_session_timeout', '0', false), set_config('lock_timeout', $1, false), "
    # A committed epoch must outlive a crash of the server: sources are acknowledged for it (invariant 1).
    "set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on' "
    "else current_setting('synchronous_commit') end, false)"
)
_COLUMNS = (
    "select a.attname::text, format_type(a.atttypid, a.atttypmod) from pg_attribute a "
    "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and c.relname = $2::text and a.attnum > 0 and not a.attisdropped order by a.attnum"
)
_ATTRIBUTES = (
    "with recursive own (number, name, type, modifier) as ("
    "select a.attnum, a.attname::text, a.atttypid, a.atttypmod from pg_attribute a "
    "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and c.relname = $2::text and a.attnum > 0 and not a.attisdropped), "
    "based as (select * from own union all select b.number, b.name, t.typbasetype, "
    "case when b.modifier < 0 then t.typtypmod else b.modifier end "
    "from based b join pg_type t on t.oid = b.type where t.typtype = 'd') "
    "select b.name, t.typname::text, b.modifier from based b join pg_type t on t.oid = b.type "
    "where t.typtype != 'd' order by b.number"
)
_DEFINITIONS = (
    "select a.attname::text, format_type(a.atttypid, a.atttypmod), t.typname::text, a.atttypmod, a.attnotnull, "
    "t.typtype <> 'b' or a.attgenerated <> '', exists (select 1 from pg_index i where i.indrelid = c.oid "
    "and i.indisprimary and a.attnum = any(i.indkey::int2[])) "
    "from pg_attribute a join pg_type t on t.oid = a.atttypid "
    "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and c.relname = $2::text and a.attnum > 0 and not a.attisdropped order by a.attnum"
)
_UNIQUE = (
    "select i.indisprimary, (select array_agg(a.attname::text order by k.n) from unnest(i.indkey::int2[]) "
    "with ordinality k(number, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number "
    "where k.n <= i.indnkeyatts) from pg_index i join pg_class c on c.oid = i.indrelid "
    "join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1::text and c.relname = $2::text "
    "and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null order by i.indisprimary desc"
)
_TABLES = (
    "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = $1::text and starts_with(c.relname::text, $2::text) and c.relkind = 'r' order by 1"
)
_WHOLE_TABLES = (
    "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = coalesce(nullif($1::text, ''), current_schema()::text, 'public') and c.relkind in ('r', 'p') "
    "and not c.relispartition order by 1"
)
_SCHEMA = (
    "select coalesce((select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where c.oid = to_regclass($1::text)), current_schema()::text, 'public')"
)


@dataclass(frozen=True, slots=True)
class Described:
    """A column of an answer: its name, its type in pg_type, and the type's modifier (-1: none)."""

    name: str
    type: str
    modifier: int = -1


class Statements(ABC):
    """One connection, for one thread at a time. Outside `begin` and `commit` every statement is durable at once."""

    _open_transaction = False

    @property
    def in_transaction(self) -> bool:
        """Tell whether `begin` was called and neither `commit` nor `rollback` since."""
        return self._open_transaction

    @abstractmethod
    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return its rows."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""

    def written(self, sql: str) -> int:
        """Let the server count what the statement returns."""
        return int(self.run(f"with w as ({sql} returning 1) select count(*) from w")[0][0])  # noqa: S608 - ours

    def begin(self) -> None:
        """Open a transaction."""
        self.run("begin")
        self._open_transaction = True

    def commit(self) -> None:
        """Commit. Where the connection breaks meanwhile, nobody knows; the epoch row tells after a reconnect."""
        self._open_transaction = False
        self.run("commit")

    def rollback(self) -> None:
        """Undo; a connection that is gone has undone it already."""
        if self._open_transaction:
            self._open_transaction = False
            with suppress(ExternalError):  # the server undoes what a broken connection left open
                self.run("rollback")

    def lock_definitions(self) -> None:
        """Let nobody else of us make or change tables until the transaction ends."""
        self.run("select 1 from pg_advisory_xact_lock(hashtextextended($1, 0))", ("dataflare/definitions",))

    def columns(self, table: Table) -> dict[str, str] | None:
        """Return types as SQL writes them by column."""
        return dict(self.run(_COLUMNS, (table.schema, table.name))) or None

    def definitions(self, table: Table) -> dict[str, Defined]:
        """Return the columns of a table with what they hold."""
        found = {}
        for name, declared, kind, modifier, required, special, primary in self.run(
            _DEFINITIONS, (table.schema, table.name)
        ):
            boundless = kind == "numeric" and modifier < 0
            found[name] = Defined(
                name,
                declared,
                type_text(kind, modifier),
                required=bool(required),
                primary=bool(primary),
                limited=kind == "varchar" and modifier >= 0,
                boundless=boundless,
                fixed=bool(special) or not (boundless or is_plain(kind, modifier)),
            )
        return found

    def attributes(self, table: Table) -> list[Described]:
        """Return the columns of a table or view; a domain is described as the type that it is made of."""
        return [Described(*row) for row in self.run(_ATTRIBUTES, (table.schema, table.name))]

    def tables(self, prefix: Table) -> list[str]:
        """Return tables by the beginning of their name."""
        return [name for (name,) in self.run(_TABLES, (prefix.schema, prefix.name))]

    def whole_tables(self, schema: str) -> list[str]:
        """Return the tables of a schema ("": the usual one) that are no partitions of others."""
        return [name for (name,) in self.run(_WHOLE_TABLES, (schema,))]

    def primary_key(self, table: Table) -> tuple[str, ...]:
        """Return the columns of the primary key in its order; other unique indexes may hold nulls."""
        found = self.run(_UNIQUE, (table.schema, table.name))
        return next((tuple(names) for primary, names in found if primary), ())

    def unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether a unique index covers exactly these columns."""
        found = self.run(_UNIQUE, (table.schema, table.name))
        return any(set(names) == set(columns) for _, names in found)

    def resolved(self, schema: str, name: str) -> Table:
        """Return a table with its schema: where none is told, the one in which it is found or would be made."""
        if not schema:
            ((schema,),) = self.run(_SCHEMA, (POSTGRES.quote(name),))
        return Table(name, schema)


__all__ = ["SETTINGS", "Described", "Statements"]
