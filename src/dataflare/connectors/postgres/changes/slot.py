"""The publication and the slot of a source: their names, their making, and how the slot stands. No run drops them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.clock import wait_blocking
from dataflare.connectors.postgres.replication.messages import lsn_number, lsn_text
from dataflare.errors import ExternalError, StateError, UnavailableError
from dataflare.sql.postgres_types import IDENTIFIER_BYTES_MAX, POSTGRES
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataflare.component import StageContext
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.settings import ChangesConfig
    from dataflare.connectors.postgres.statements import Statements
    from dataflare.errors import DataFlareError

PLUGIN = "pgoutput"
_SLOT = (
    "select coalesce(plugin::text, ''), coalesce(database::text, ''), database = current_database(), active_pid, "
    "coalesce(confirmed_flush_lsn::text, '0/0'), coalesce(wal_status, ''), "
    "pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8, safe_wal_size, coalesce(restart_lsn::text, '0/0'), "
    "pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8 "
    "from pg_replication_slots where slot_name = $1::text"
)
_ROLLED_BACK = """
with now as (select pg_snapshot_xmax(pg_current_snapshot())::text::int8 as next),
whole as (select n, next - next % 4294967296 + n as guess, next from now, unnest($1::text::int8[]) n)
select n from whole where guess - case when guess >= next then 4294967296 else 0 end > 0 and
pg_xact_status((guess - case when guess >= next then 4294967296 else 0 end)::text::xid8) = 'aborted'"""
_LOG_END = "select pg_current_wal_lsn()::text, (extract(epoch from clock_timestamp()) * 1000000)::int8"
_PUBLICATION = "select pubviaroot from pg_publication where pubname = $1::text"
_MAKE_SLOT = "select lsn::text from pg_create_logical_replication_slot($1::text, 'pgoutput')"
DROP_TRIES, DROP_SECONDS = 100, 0.05
ANEW = "give the workflow another id and cdc.slot_name, so that it begins anew, by mode: hybrid from what is there"


@dataclass(frozen=True, slots=True)
class Names:
    """What slot and publication are called.

    `owner` are the workflow and the node, `natural` the name that is made of them.
    """

    slot: str
    publication: str
    owner: str = field(default="", compare=False)
    natural: str = field(default="", compare=False)

    @classmethod
    def of(cls, config: ChangesConfig, context: StageContext) -> Names:
        """Return those of the settings, else names made of the workflow and the node, which only they have."""
        told = f"dataflare_{context.workflow}_{context.node}"
        plain = re.sub("[^a-z0-9_]", "_", told.lower())
        if plain != told or len(plain) > IDENTIFIER_BYTES_MAX:
            plain = f"{plain[:54]}_{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        slot = config.slot_name or plain
        return cls(slot, config.publication_name or slot, f"{context.workflow}/{context.node}", plain)


@dataclass(frozen=True, slots=True)
class SlotState:
    """How a slot stands.

    `kept_bytes` is the log that the server keeps for it, from `restart_lsn` on; `safe_bytes` what may still come;
    `behind_bytes` what nobody has said to have read.
    """

    plugin: str
    database: str
    is_here: bool
    active_pid: int | None
    confirmed_lsn: int
    wal_status: str
    kept_bytes: int
    safe_bytes: int | None
    restart_lsn: int
    behind_bytes: int


def slot_state(session: Statements, name: str) -> SlotState | None:
    """Ask the server; None where there is no such slot."""
    for plugin, database, here, pid, confirmed, status, kept, safe, restart, behind in session.run(_SLOT, (name,)):
        marks = (lsn_number(restart), behind or 0)
        return SlotState(plugin, database, bool(here), pid, lsn_number(confirmed), status, kept or 0, safe, *marks)
    return None


def log_end(session: Statements) -> tuple[int, int]:
    """Return where the log ends now, and the time of the server in microseconds since 1970."""
    ((lsn, now),) = session.run(_LOG_END)
    return lsn_number(lsn), now


def refused(state: SlotState, name: str) -> UnavailableError | StateError | None:
    """Return why a slot cannot serve; None where it can."""
    if state.plugin != PLUGIN or not state.is_here:
        wrong_plugin = f"speaks {state.plugin}" if state.plugin else "is none for logical decoding"
        what = wrong_plugin if state.plugin != PLUGIN else f"is of the database {state.database}"
        return UnavailableError(f"the slot {name} {what}", hint="name another one in cdc.slot_name")
    if state.wal_status == "lost":
        return StateError(
            f"the slot {name} is lost: the server has removed the log that it needed, by max_slot_wal_keep_size",
            hint=f"select pg_drop_replication_slot('{name}'); then {ANEW}",
        )
    return None


def refuse_slot(state: SlotState | None, name: str, lsn: int) -> SlotState:
    """Return the state of a slot that can tell all that came after an LSN; raise where it cannot any more."""
    if state is None:
        raise StateError(f"the slot {name} is gone, and with it the changes since the last run", hint=ANEW)
    if (wrong := refused(state, name)) is not None:
        raise wrong
    if state.confirmed_lsn > lsn and state.active_pid is not None:
        raise StateError(
            f"the slot {name} is read by somebody else, process {state.active_pid} of the server, who was told what "
            f"came behind {lsn_text(lsn)}",
            hint=f"let each workflow have a slot of its own, cdc.slot_name; if this one was the first, {ANEW}",
        )
    if state.confirmed_lsn > lsn:
        raise StateError(
            f"the slot {name} stands at {lsn_text(state.confirmed_lsn)}, and the state of the workflow before that, at "
            f"{lsn_text(lsn)}: what is between was told to somebody else, or the slot was made anew",
            hint=ANEW,
        )
    return state


def taken(name: str, process: int, kind: type[DataFlareError]) -> DataFlareError:
    """Return the error of a slot that somebody reads."""
    return kind(
        f"the slot {name} is read by somebody else, process {process} of the server",
        hint="stop the other run, or name another slot in cdc.slot_name",
    )


def prepared(session: Statements, config: ChangesConfig, names: Names, tables: Iterable[FollowedTable]) -> int:
    """Make publication and slot where they are not there; return the LSN behind which all changes come.

    The publication comes first: the log before it cannot be read by it.
    """
    publication, state = session.run(_PUBLICATION, (names.publication,)), slot_state(session, names.slot)
    if state is not None and (wrong := refused(state, names.slot)) is not None:
        raise wrong
    if not publication and state is not None:
        raise UnavailableError(
            f"there is a slot {names.slot}, but no publication {names.publication}: it could not be read",
            hint=f"select pg_drop_replication_slot('{names.slot}'); both are made anew then",
        )
    if not config.create and (not publication or state is None):
        cure = made_publication(names, tables) if not publication else made_slot(names)
        kind = "publication" if not publication else "slot"
        raise UnavailableError(f"there is no {kind} {getattr(names, kind)}", hint=f"run: {cure}")
    if not publication:
        session.run(made_publication(names, tables))
        session.run(signed(names))
    if state is not None:
        return state.confirmed_lsn
    try:
        ((lsn,),) = session.run(_MAKE_SLOT, (names.slot,))
    except ExternalError as error:
        if "lock timeout" not in error.what:
            raise
        raise ExternalError(
            f"the slot {names.slot} waits for transactions to end that were open before it",
            hint="end them (select pid, datname, xact_start, query from pg_stat_activity order by xact_start), "
            "or let lock_timeout be longer",
        ) from None
    if not publication:
        session.run(signed(names, names.slot))
    return lsn_number(lsn)


def rolled_back(session: Statements, numbers: Sequence[int]) -> set[int]:
    """Return those of some transactions, by the lower 32 bits of their numbers, that the server rolled back."""
    return {number for (number,) in session.run(_ROLLED_BACK, ("{" + ",".join(map(str, numbers)) + "}",))}


def dropped(session: Statements, name: str) -> None:
    """Drop a slot of which this reader has just let go; raise ExternalError where somebody still reads it."""
    for _ in range(DROP_TRIES):
        state = slot_state(session, name)
        if state is None or state.active_pid is None:
            break
        session.run("select pg_terminate_backend($1::int4)", (state.active_pid,))
        wait_blocking(DROP_SECONDS)
    if state is not None and state.active_pid is not None:
        raise taken(name, state.active_pid, ExternalError)
    if state is not None:
        session.run("select pg_drop_replication_slot($1::text)::text", (name,))


def signed(names: Names, slot: str = "") -> str:
    """Return the statement that writes down who made the publication, and the slot: slots take no comment."""
    return f"comment on publication {POSTGRES.quote(names.publication)} is {literal(signature(names, slot))}"


def signature(names: Names, slot: str = "") -> str:
    """Return what stands beside a publication that a workflow made, with a slot or without."""
    return f"made by DataFlare for {names.owner}" + (f", with the slot {slot}" if slot else "")


def made_publication(names: Names, tables: Iterable[FollowedTable]) -> str:
    """Return the statement that makes the publication."""
    found = list(tables)
    options = " with (publish_via_partition_root = true)" if any(t.partitioned for t in found) else ""
    listed = ", ".join(t.reference for t in found)
    return f"create publication {POSTGRES.quote(names.publication)} for table {listed}{options}"


def made_slot(names: Names) -> str:
    """Return the statement that makes the slot."""
    return f"select pg_create_logical_replication_slot('{names.slot}', '{PLUGIN}')"


__all__ = [
    "ANEW",
    "PLUGIN",
    "Names",
    "SlotState",
    "dropped",
    "log_end",
    "made_publication",
    "made_slot",
    "prepared",
    "refuse_slot",
    "refused",
    "rolled_back",
    "signature",
    "signed",
    "slot_state",
    "taken",
]
