"""Whether a publication tells all that is followed, and whether a server lets it be followed, each with its cure."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dataflare.connectors.postgres.changes.slot import made_publication, made_slot, refused, signature, slot_state
from dataflare.connectors.postgres.changes.tables import problem
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.sql.dialect import Table
from dataflare.sql.postgres_types import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataflare.connectors.postgres.changes.slot import Names
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.settings import ChangesConfig
    from dataflare.connectors.postgres.statements import Statements
    from dataflare.errors import DataFlareError

_PUBLICATION = (
    "select pubinsert and pubupdate and pubdelete, pubviaroot, current_setting('server_version_num')::int8 "
    "from pg_publication where pubname = $1::text"
)
_TABLES = "select schemaname::text, tablename::text from pg_publication_tables where pubname = $1::text"
_NAMED = (
    "with recursive held as (select r.prrelid as oid from pg_publication p join pg_publication_rel r "
    "on r.prpubid = p.oid where p.pubname = $1::text union select i.inhrelid from held h "
    "join pg_inherits i on i.inhparent = h.oid join pg_class c on c.oid = i.inhrelid where c.relispartition) "
    "select n.nspname::text, c.relname::text from held join pg_class c on c.oid = held.oid "
    "join pg_namespace n on n.oid = c.relnamespace "
    "union all select n.nspname::text, '' from pg_publication p join pg_publication_namespace s on s.pnpubid = p.oid "
    "join pg_namespace n on n.oid = s.pnnspid where p.pubname = $1::text "
    "union all select '', '' from pg_publication p where p.puballtables and p.pubname = $1::text"
)
"""The tables that a publication names, with their partitions; a schema stands for all of it, nothing for all."""
_PART = (
    "select attnames::text[], rowfilter from pg_publication_tables where pubname = $1::text and schemaname = $2::text "
    "and tablename = $3::text"
)
_COMMENT = "select coalesce(obj_description(oid, 'pg_publication'), '') from pg_publication where pubname = $1::text"
_PARTS_VERSION = 150_000
"""Before it, a publication tells whole tables only."""
_SERVER = (
    "select pg_is_in_recovery(), current_setting('wal_level'), current_user::text, "
    "(select rolreplication or rolsuper from pg_roles where rolname = current_user) or exists (select from pg_roles "
    "where rolname = 'rds_replication' and pg_has_role(oid, 'member')), "
    "current_setting('max_replication_slots')::int8 - (select count(*) from pg_replication_slots), "
    "current_setting('max_wal_senders')::int8 - (select count(*) from pg_stat_replication), "
    "current_database()::text, has_database_privilege(current_database(), 'create')"
)
_OWNED = (
    "select pg_has_role(c.relowner, 'usage'), has_table_privilege(c.oid, 'select') from pg_class c "
    "join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1::text and c.relname = $2::text"
)


def server_problems(session: Statements) -> Iterator[DataFlareError]:
    """Yield why the server lets nobody follow changes, or not this user."""
    ((standby, level, user, may, _, senders, _, _),) = session.run(_SERVER)
    if standby:
        yield UnavailableError("the server is a standby, which keeps no slot of ours", hint="follow the primary")
    if level != "logical":
        cure = "alter system set wal_level = 'logical', then restart the server"
        yield UnavailableError(f"the server logs for {level} only, not for logical decoding", hint=cure)
    if not may:
        cure = f"alter role {POSTGRES.quote(user)} replication"
        yield UnavailableError(f"the user {user} may not follow changes", hint=f"run as an administrator: {cure}")
    if senders <= 0:
        yield UnavailableError("all replication connections of the server are taken", hint="raise max_wal_senders")


def slot_problems(session: Statements, config: ChangesConfig, names: Names) -> Iterator[DataFlareError]:
    """Yield why the slot cannot serve, or not be made, and whether the log that is kept for it is too much."""
    state = slot_state(session, names.slot)
    if state is None:
        ((_, _, _, _, free, _, _, _),) = session.run(_SERVER)
        if not config.create:
            yield UnavailableError(f"there is no slot {names.slot}", hint=f"run: {made_slot(names)}")
        elif free <= 0:
            cure = "drop one that nobody reads (select slot_name, active from pg_replication_slots), or raise "
            yield UnavailableError("all slots of the server are taken", hint=f"{cure}max_replication_slots")
        return
    if (wrong := refused(state, names.slot)) is not None:
        yield wrong
    if not session.run(_PUBLICATION, (names.publication,)):
        yield UnavailableError(
            f"there is a slot {names.slot}, but no publication {names.publication}: it could not be read",
            hint=f"run: select pg_drop_replication_slot('{names.slot}'); both are made anew then",
        )
    if config.max_wal is not None and state.kept_bytes > config.max_wal:
        yield UnavailableError(
            f"the server keeps {state.kept_bytes >> 20} MiB of log for the slot {names.slot}, more than max_wal",
            hint="run the workflow more often, or raise max_wal",
        )


def publication_problems(
    session: Statements, names: Names, tables: Iterable[FollowedTable], mode: str
) -> Iterator[DataFlareError]:
    """Yield what a publication that is there leaves out."""
    found = session.run(_PUBLICATION, (names.publication,))
    name = POSTGRES.quote(names.publication)
    there = set(session.run(_TABLES, (names.publication,)))
    for whole, by_root, version in found:
        if not whole:
            yield UnavailableError(
                f"the publication {names.publication} does not tell of all inserts, updates and deletes",
                hint=f"run: alter publication {name} set (publish = 'insert, update, delete, truncate')",
            )
        for table in tables:
            if table.partitioned and not by_root:
                cure = f"alter publication {name} set (publish_via_partition_root = true)"
                what = f"the publication {names.publication} tells changes of {table.table} by its partitions"
                yield UnavailableError(what, hint=f"run: {cure}")
            elif (table.table.schema, table.table.name) not in there:
                what = f"the publication {names.publication} does not hold {table.table}"
                yield UnavailableError(what, hint=f"run: alter publication {name} add table {table.reference}")
            elif version >= _PARTS_VERSION:
                yield from _left_out(session, names, table, mode)


def _left_out(session: Statements, names: Names, table: FollowedTable, mode: str) -> Iterator[DataFlareError]:
    place = (table.table.schema, table.table.name)
    columns, condition = next(iter(session.run(_PART, (names.publication, *place))), (None, None))
    lost = [c for c in table.relation.schema.names if columns is not None and c not in columns]
    if lost:  # or dropped, or renamed, since the table was looked at: that the log tells, and it is followed
        now = session.columns(table.table) or {}
        lost = [c for c in lost if c in now]
    if lost:
        yield UnavailableError(
            f"the publication {names.publication} leaves out column {lost[0]} of {table.table}",
            hint="let it tell all columns of the table",
        )
    if condition is not None and mode == "hybrid":
        yield UnavailableError(
            f"the publication {names.publication} tells only some rows of {table.table}; all would be read first",
            hint="let it tell all rows of the table, with a filter behind the source; or use mode: cdc",
        )


def refuse_publication(session: Statements, names: Names, tables: Iterable[FollowedTable], mode: str) -> None:
    """Raise the first of what a publication leaves out."""
    for error in publication_problems(session, names, tables, mode):
        raise error


def republished(
    session: Statements, config: ChangesConfig, names: Names, tables: Sequence[FollowedTable], left: Sequence[list[str]]
) -> bool:
    """Let a publication tell tables that it does not hold yet, and no more those that were left, where it is ours.

    Where this user may not, what it lacks is for `refuse_publication` to say. Tells whether there is one.
    """
    there = set(session.run(_TABLES, (names.publication,)))
    missing = [t for t in tables if (t.table.schema, t.table.name) not in there]
    comments = session.run(_COMMENT, (names.publication,))
    mine = _is_ours(comments, names)
    gone = [table for table in left if tuple(table) in there] if mine else []
    if not (config.create and comments and (missing or gone)):
        return bool(comments)
    name = POSTGRES.quote(names.publication)
    with suppress(UnavailableError, WorkflowError):
        if mine and any(t.partitioned for t in missing):
            session.run(f"alter publication {name} set (publish_via_partition_root = true)")
        for table in missing:
            session.run(f"alter publication {name} add table {table.reference}")
        for schema, table_name in gone:
            session.run(f"alter publication {name} drop table {POSTGRES.reference(Table(table_name, schema))}")
    return True


def unpublished(session: Statements, names: Names, tables: Iterable[FollowedTable]) -> list[FollowedTable]:
    """Return tables that a publication does not name; takes no lock of theirs, which to ask what it tells would do."""
    held = {tuple(row) for row in session.run(_NAMED, (names.publication,))}
    return [t for t in tables if not {(t.table.schema, t.table.name), (t.table.schema, ""), ("", "")} & held]


def told_by_others(session: Statements, names: Names, table: Table) -> bool:
    """Tell whether a publication holds a table that is not ours, so that it is not for us to take it out."""
    held = (table.schema, table.name) in session.run(_TABLES, (names.publication,))
    return held and not _is_ours(session.run(_COMMENT, (names.publication,)), names)


def _is_ours(comments: Sequence[tuple[str]], names: Names) -> bool:
    return any(text in (signature(names), signature(names, names.slot)) for (text,) in comments)


def table_problems(
    session: Statements, config: ChangesConfig, names: Names, tables: Sequence[FollowedTable], mode: str
) -> Iterator[DataFlareError]:
    """Yield what is wrong with tables, and why a publication of them that is not there cannot be made."""
    for table in tables:
        if (error := problem(table)) is not None:
            yield error
    ((*_, database, creates),) = session.run(_SERVER)
    owned = {t.name: session.run(_OWNED, (t.table.schema, t.table.name))[0] for t in tables}
    if not session.run(_PUBLICATION, (names.publication,)):
        cure = f"run as their owner: {made_publication(names, tables)}"
        if not config.create:
            yield UnavailableError(f"there is no publication {names.publication}", hint=cure)
        else:
            if not creates:
                grant = f"grant create on database {POSTGRES.quote(database)} to ..."
                yield UnavailableError("the user may not make a publication", hint=f"{grant}; or {cure}")
            for table in tables:
                if not owned[table.name][0]:
                    yield UnavailableError(f"the user does not own {table.table}, so cannot publish it", hint=cure)
    for table in tables:
        if mode == "hybrid" and not owned[table.name][1]:
            grant = f"grant select on {table.reference} to ..."
            yield UnavailableError(f"the user may not read {table.table}", hint=f"run: {grant}")


def late_problems(
    session: Statements, config: ChangesConfig, names: Names, tables: Iterable[FollowedTable], mode: str
) -> Iterator[tuple[FollowedTable, DataFlareError]]:
    """Yield why this user may not follow tables that come later, to a publication that is there."""
    comments, name = session.run(_COMMENT, (names.publication,)), POSTGRES.quote(names.publication)
    if not comments:
        return
    there, mine = set(session.run(_TABLES, (names.publication,))), config.create and _is_ours(comments, names)
    for table in tables:
        ((owned, readable),) = session.run(_OWNED, (table.table.schema, table.table.name))
        if (table.table.schema, table.table.name) not in there and not (mine and owned):
            what = f"the publication {names.publication} does not hold {table.table}, and this user may not add it"
            cure = f"run as the owner of both: alter publication {name} add table {table.reference}"
            yield table, UnavailableError(what, hint=cure)
        elif mode == "hybrid" and not readable:
            grant = f"run: grant select on {table.reference} to ..."
            yield table, UnavailableError(f"the user may not read {table.table}", hint=grant)


def refuse_tables(
    session: Statements, config: ChangesConfig, names: Names, tables: Sequence[FollowedTable], mode: str
) -> None:
    """Raise the first of what is wrong with tables."""
    for error in table_problems(session, config, names, tables, mode):
        raise error


__all__ = [
    "late_problems",
    "publication_problems",
    "refuse_publication",
    "refuse_tables",
    "republished",
    "server_problems",
    "slot_problems",
    "table_problems",
    "told_by_others",
    "unpublished",
]
