"""How the log of a server and the state of a workflow stand to each other, for `cdc status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.connectors.mariadb.changes.lag import LogFiles, file_sizes, reader, reader_name
from dataflare.connectors.mariadb.changes.place import gtids_of
from dataflare.connectors.mariadb.changes.surroundings import stands
from dataflare.connectors.mariadb.changes.tables import followed
from dataflare.connectors.mariadb.replication.places import Gtids, LogPlace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.component import Split, StageContext
    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig

_EXPIRES = "select @@binlog_expire_logs_seconds"
_BEGINS = "select binlog_gtid_pos(\x001\x00, 4)"


def standing(
    session: MariaSession,
    config: MariaSourceConfig,
    context: StageContext,
    opened: Sequence[tuple[Split, Position | None]],
) -> Mapping[str, Any]:
    """Return how the log of the server and the state of the workflow stand to each other."""
    end, domain = stands(session)
    streams = [(s.data, p or {}) for s, p in opened if "begin" in s.data]
    data, position = streams[0] if streams else ({}, {})
    domain = data.get("domain", domain)
    state = gtids_of(position) if "gtid" in position else Gtids.read(data.get("begin", ""))
    place = position.get("log", data.get("log"))
    log = LogPlace(*place) if place is not None else None
    sizes = file_sizes(session)
    ((expires,),) = session.run(_EXPIRES)
    return {
        "tables": [str(t.table) for t in followed(session, config).values()],
        "reader": reader(session, reader_name(context)),
        "domain": domain,
        "log_gtid": str(end),
        "state_gtid": str(state) if streams else None,
        "state_place": f"{log.file}:{log.byte}" if log else None,
        "behind_transactions": max(0, end.number(domain) - state.number(domain)) if streams else None,
        **_behind(session, log, caught_up=bool(streams) and state.reaches(end)),
        "log_status": _status(session, sizes, state) if streams else None,
        "oldest_log": next(iter(sizes), None) if sizes is not None else None,
        "kept_bytes": sum(sizes.values()) if sizes is not None else None,
        "expires_seconds": int(expires),
        "parts_open": len(opened) - len(streams),
    }


def _behind(session: MariaSession, log: LogPlace | None, *, caught_up: bool) -> dict[str, Any]:
    """Return how many bytes, and how many seconds, are between what is committed and the end of the log."""
    if log is None:
        return {"behind_bytes": None, "behind_seconds": None}
    files = LogFiles(session)
    begin = files.byte(log)
    end, now = files.end()
    seconds = max(0.0, round(now / 1e6 - log.second, 1)) if log.second else None
    behind = max(0, files.byte(end) - begin)
    return {"behind_bytes": 0 if caught_up else behind, "behind_seconds": 0.0 if caught_up else seconds}


def _status(session: MariaSession, sizes: Mapping[str, int] | None, state: Gtids) -> str:
    """Return whether the server still has what comes behind the state: `kept` or `purged`; `unknown`."""
    if not sizes:
        return "unknown"
    ((first,),) = session.run(_BEGINS, (next(iter(sizes)),))
    return "kept" if state.reaches(Gtids.read(first or "")) else "purged"


__all__ = ["standing"]
