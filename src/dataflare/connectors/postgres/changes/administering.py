"""What is done with publication and slot beside runs: how they stand, and how they are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.connectors.postgres.changes.slot import PLUGIN, Names, signature, slot_state, taken
from dataflare.connectors.postgres.replication.messages import lsn_text
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.component import Split, StageContext
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements

_TABLES = "select schemaname || '.' || tablename from pg_publication_tables where pubname = $1::text order by 1"
_PUBLICATION = (
    "select coalesce(obj_description(oid, 'pg_publication'), ''), pg_has_role(pubowner, 'usage') "
    "from pg_publication where pubname = $1::text"
)
_DROP_SLOT = "select pg_drop_replication_slot($1::text)::text"


class Administering:
    """Belongs to one source that is not open; `session` is a connection of its own."""

    def __init__(self, session: Statements, config: PostgresSourceConfig, context: StageContext) -> None:
        """Know the names."""
        self._session, self._names = session, Names.of(config.cdc, context)

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


__all__ = ["Administering"]
