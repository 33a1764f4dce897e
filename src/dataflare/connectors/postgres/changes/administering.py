"""What is done with publication and slot beside runs: how they stand, and how they are dropped."""

from __future__ import annotations

import csv
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dataflare.component import Reread
from dataflare.connectors.postgres.changes.admitting import Admitting
from dataflare.connectors.postgres.changes.slot import PLUGIN, Names, signature, slot_state, taken
from dataflare.connectors.postgres.changes.tables import followed, refuse_problems
from dataflare.connectors.postgres.changes.unfit import fit_tables, late_tables
from dataflare.connectors.postgres.relations import WHOLE
from dataflare.connectors.postgres.replication.messages import lsn_text
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.sql.patterns import find_tables
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.quoting import literal, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.component import Split, StageContext, TableStanding
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements
    from dataflare.errors import DataFlareError

_TABLES = "select schemaname || '.' || tablename from pg_publication_tables where pubname = $1::text order by 1"
_PUBLICATION = (
    "select coalesce(obj_description(oid, 'pg_publication'), ''), pg_has_role(pubowner, 'usage') "
    "from pg_publication where pubname = $1::text"
)
_ORDERED = ("date", "float4", "float8", "numeric", "timestamp", "timestamptz", "uuid")
"""Types of which literals have the order of a column; texts have the one that their column says."""
_DROP_SLOT = "select pg_drop_replication_slot($1::text)::text"


class Administering:
    """Belongs to one source that is not open; `session` is a connection of its own."""

    def __init__(self, session: Statements, config: PostgresSourceConfig, context: StageContext) -> None:
        """Know the names."""
        self._session, self._config, self._names = session, config, Names.of(config.cdc, context)

    def standing(self, opened: Sequence[tuple[Split, Position | None]]) -> Mapping[str, Any]:
        """Return how slot, publication and the state of the workflow stand to each other."""
        names, state = self._names, slot_state(self._session, self._names.slot)
        published = self._session.run(_PUBLICATION, (names.publication,))
        streams = [(s, p or {}) for s, p in opened if "begin" in s.data]
        return {
            "slot": names.slot,
            "slot_status": "missing" if state is None else state.wal_status,
            "publication": names.publication if published else None,
            "tables": [name for (name,) in self._session.run(_TABLES, (names.publication,))],
            "reader": None if state is None else state.active_pid,
            "confirmed_lsn": None if state is None else lsn_text(state.confirmed_lsn),
            "restart_lsn": None if state is None else lsn_text(state.restart_lsn),
            "behind_bytes": None if state is None else state.behind_bytes,
            "kept_bytes": None if state is None else state.kept_bytes,
            "state_lsn": next((p.get("lsn", s.data["begin"]) for s, p in streams), None),
            "parts_open": len(opened) - len(streams),
            "read_beside": [a["stream"] for _, p in streams for a in p.get("again", ())],
        }

    def leftovers(self) -> Sequence[str]:
        """Return what there is to drop; raise where a name is not that of something that the workflow made."""
        names, state = self._names, slot_state(self._session, self._names.slot)
        found = []
        comment, mine = "", False
        for comment, owned in self._session.run(_PUBLICATION, (names.publication,)):
            mine = comment in (signature(names), signature(names, names.slot))
            mine = mine or (not comment and bool(owned) and names.publication == names.natural)
        if state is not None:
            if names.slot != names.natural and comment != signature(names, names.slot):
                raise WorkflowError(
                    f"the slot {names.slot} was not made by this workflow",
                    hint=f"if nobody needs it, run: select pg_drop_replication_slot({literal(names.slot)})",
                )
            if state.plugin != PLUGIN or not state.is_here:
                raise WorkflowError(
                    f"the slot {names.slot} is not of this database, or speaks another language",
                    hint="see: select * from pg_replication_slots",
                )
            if state.active_pid is not None:
                raise taken(names.slot, state.active_pid, UnavailableError)
            found.append(f"slot {names.slot}")
        return [*found, f"publication {names.publication}"] if mine else found

    def drop(self) -> Sequence[str]:
        """Drop them, the slot first: a publication alone holds nothing up."""
        found, names = self.leftovers(), self._names
        if f"slot {names.slot}" in found:
            self._session.run(_DROP_SLOT, (names.slot,))
        if f"publication {names.publication}" in found:
            self._session.run(f"drop publication {POSTGRES.quote(names.publication)}")
        return found

    def reread(self, table: str, bounds: tuple[str | None, str | None], where: str = "") -> Reread:
        """Return the request to read a table again, whole or from one key to another, or what meets a condition."""
        stream, one = self._meant(table)
        if one.whole:
            raise WorkflowError(
                f"{one.table} has no key, so it cannot be read beside its changes",
                hint="add a key to the table, and let its replica identity be the default",
            )
        low, high = (None if bound is None else self._keys(one, bound) for bound in bounds)
        if low and high and self._is_behind(one, low, high):
            told = "..".join(map(str, bounds))
            raise WorkflowError(f"--keys {told} holds no key", hint="write the smaller one first")
        return Reread("", stream, low, high, _form(one, where) if where else None)

    def _meant(self, table: str) -> tuple[str, FollowedTable]:
        """Return the table that a name means, and its output."""
        told = self._config.outputs()
        found = {output: self._session.resolved(*split_name(name)) for output, name in told.items()}
        if table in found:
            known = [table]
        else:
            schema, name = split_name(table)
            known = [o for o, t in found.items() if t.name == name and schema in ("", t.schema)]
        if len(known) != 1:
            names = ", ".join(str(found[o]) for o in known or found)
            raise WorkflowError(
                f"the workflow follows {'several tables' if known else 'no table'} {table}", hint=f"one of {names}"
            )
        types = {} if len(told) > 1 else self._config.types
        one = self._config.model_copy(update={"table": told[known[0]], "tables": [], "types": types})
        return known[0], next(iter(followed(self._session, one).values()))

    def _keys(self, table: FollowedTable, text: str) -> list[Any]:
        """Return a key, or its first columns: values of several are separated by commas."""
        texts = next(csv.reader([text], skipinitialspace=True)) if len(table.key) > 1 else [text]
        if len(texts) > len(table.key):
            what = f"{text} has more values than the key of {table.table}: {', '.join(table.key)}"
            raise WorkflowError(what, hint="write texts with commas in quotes: --keys '1,\"a, b\"..2'")
        return [self._key(table, name, value) for name, value in zip(table.key, texts, strict=False)]

    def _is_behind(self, table: FollowedTable, low: Sequence[Any], high: Sequence[Any]) -> bool:
        """Tell whether a key comes behind another; False where nothing but their column tells their order."""
        relation = table.relation
        for name, first, last in zip(table.key, low, high, strict=False):
            if first == last:
                continue
            if relation.kinds[name] in WHOLE:
                return bool(first > last)
            if relation.kinds[name] not in _ORDERED:
                return False
            ((behind,),) = self._session.run(f"select {relation.value(name, first)} > {relation.value(name, last)}")
            return bool(behind)
        return False

    def _key(self, table: FollowedTable, name: str, text: str) -> Any:
        """Return a value of a key as the positions of its table have it; the server says whether it is one."""
        relation = table.relation
        if relation.kinds[name] not in WHOLE:
            try:
                ((plain,),) = self._session.run(f"select ({relation.value(name, text)})::text")
            except DataError as error:
                what = f"{text} is no key of {table.table}: {name} is of type {relation.kinds[name]}"
                raise WorkflowError(what, hint="write values as PostgreSQL does") from error
            return plain
        least, greatest = WHOLE[relation.kinds[name]]
        if re.fullmatch(r"\s*-?\d{1,19}\s*", text, re.ASCII) is None or not least <= int(text) <= greatest:
            what = f"{text} is no key of {table.table}: {name} is a whole number from {least} to {greatest}"
            raise WorkflowError(what, hint="write --keys 1..99")
        return int(text)


def _form(table: FollowedTable, where: str) -> list[Any]:
    """Return a condition on columns of a table in the form in which the server is asked for it."""
    from dataflare.expression.check import Checker
    from dataflare.expression.predicate import predicate_of

    relation = table.relation
    checker = Checker()
    checker.types([checker.read(where, relation.schema.names)], relation.schema.to_arrow())
    tree = checker.tree(where, relation.schema.names)
    form = predicate_of(tree, relation.schema, lambda column, sign: relation.compares(column.name, sign))
    if form is None:
        raise WorkflowError(
            f"the server cannot be asked for {where}",
            hint="compare columns with values, by =, <, <=, between, in, like or is null; join that by and, or, not",
        )
    return form


class Administered:
    """The part of the source that is asked beside runs."""

    config: PostgresSourceConfig
    context: StageContext
    _unfit: Mapping[str, DataFlareError] = {}

    def fit(self, session: Statements, *, gently: bool) -> Mapping[str, FollowedTable]:
        """Return the tables that are followed; while planning without those that a pattern finds and that cannot be."""
        if not self.config.by_pattern or self.context.schemas:
            tables = followed(session, self.config, gently=gently)
            refuse_problems(tables)
            return tables
        told = self.config.outputs()
        tables, unfit = fit_tables(session, self.config, gently=gently)
        self.config = self.config.found([told[name] for name in tables])
        self._unfit = {**unfit, **late_tables(session, self.config, self.context, tables)}
        return tables

    def unfit_streams(self) -> Mapping[str, DataFlareError]:
        """Return why tables that a pattern finds cannot be followed."""
        return self._unfit

    def connected(self) -> Statements:
        """Return a new connection."""
        raise NotImplementedError

    def tables(self, session: Statements, schema: str) -> Sequence[str]:
        """Return the tables of a schema."""
        raise NotImplementedError

    def standing(self, opened: Sequence[tuple[Split, Position | None]]) -> Mapping[str, Any]:
        """Tell how slot and publication stand."""
        with self._administering() as found:
            return found.standing(opened)

    def leftovers(self) -> Sequence[str]:
        """Name slot and publication, where this workflow made them."""
        with self._administering() as found:
            return found.leftovers()

    def drop(self) -> Sequence[str]:
        """Drop slot and publication, where this workflow made them."""
        with self._administering() as found:
            return found.drop()

    def reread(self, table: str, bounds: tuple[str | None, str | None], where: str = "") -> Reread:
        """Return the request to read a table, or some rows of it, again."""
        with self._administering() as found:
            return found.reread(table, bounds, where)

    def table_standing(self, table: str, opened: Sequence[tuple[Split, Position | None]]) -> TableStanding:
        """Tell whether the settings name a table, and whether the state follows it."""
        with closing(self.connected()) as session:
            find_tables(self, session)
            return Admitting(session, self.config, self.context).standing(table, opened)

    def admit(self, table: str) -> None:
        """Look at a table, and put it into the publication."""
        with closing(self.connected()) as session:
            find_tables(self, session)
            Admitting(session, self.config, self.context).admit(table)

    @contextmanager
    def _administering(self) -> Iterator[Administering]:
        session = self.connected()
        try:
            find_tables(self, session)
            yield Administering(session, self.config, self.context)
        finally:
            session.close()


__all__ = ["Administered", "Administering"]
