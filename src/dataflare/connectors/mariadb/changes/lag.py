"""How far the log of the server goes, and how many bytes of it are between two places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.replication.places import LogPlace
from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import StageContext
    from dataflare.connectors.mariadb.session import MariaSession

_END = "show session status like 'binlog_snapshot_%'"
_NOW = "select cast(unix_timestamp(now(6)) * 1000000 as unsigned), @@max_binlog_size"
_FILES = "show binary logs"
_READS = "select if(is_used_lock(\x001\x00) <=> connection_id(), 1, get_lock(\x001\x00, 0))"
_READER = "select is_used_lock(\x001\x00)"
_KEPT_MAX = 100


class LogFiles:
    """Counts the bytes of files from the first place that it is asked for."""

    def __init__(self, session: MariaSession) -> None:
        """Know no file."""
        self._session = session
        self._begins: dict[int, int] = {}
        self._most = 0
        self._sizes: Mapping[str, int] | None = {}

    def end(self) -> tuple[LogPlace, int]:
        """Return where the log ends now, outside of a transaction, and the time of the server in microseconds."""
        told = dict(self._session.run(_END))
        ((now, self._most),) = self._session.run(_NOW)
        place = LogPlace(told["Binlog_snapshot_file"], int(told["Binlog_snapshot_position"]), int(now) // 1_000_000)
        if self._begins and place.number > max(self._begins) and self._sizes is not None:
            self._sizes = file_sizes(self._session)
        return place, int(now)

    def byte(self, place: LogPlace) -> int:
        """Return the number of the byte of a place; files whose sizes may not be seen count as if they were full."""
        number, begins = place.number, self._begins
        if not begins:
            begins[number] = 0
        if number < min(begins):
            return 0
        name, _, digits = place.file.rpartition(".")
        for next_one in range(max(begins) + 1, number + 1):
            before = f"{name}.{next_one - 1:0{len(digits)}d}"
            begins[next_one] = begins[next_one - 1] + (self._sizes or {}).get(before, self._most)
            begins.pop(next_one - _KEPT_MAX, None)
        return begins[number] + place.byte


def file_sizes(session: MariaSession) -> dict[str, int] | None:
    """Return the files that the server has, oldest first, with their bytes; None where the user may not see them."""
    try:
        return {str(row[0]): int(row[1]) for row in session.run(_FILES)}
    except UnavailableError:
        return None


def reader_name(context: StageContext) -> str:
    """Return under which name a node reads."""
    return f"dataflare {context.workflow}/{context.node}"[:64]


def reads(session: MariaSession, name: str) -> None:
    """Let others see, as long as this connection stands, that somebody reads under a name."""
    session.run(_READS, (name,))


def reader(session: MariaSession, name: str) -> int | None:
    """Return the connection of whoever reads under a name."""
    ((found,),) = session.run(_READER, (name,))
    return int(found) if found is not None else None


__all__ = ["LogFiles", "file_sizes", "reader", "reader_name", "reads"]
