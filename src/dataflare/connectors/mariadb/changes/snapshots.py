"""What reading a table of MariaDB sees: all transactions up to one number, and none behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dataflare.connectors.mariadb.replication.places import Gtids
from dataflare.errors import DataFlareError, ExternalError

if TYPE_CHECKING:
    from dataflare.connectors.mariadb.session import MariaSession

_TRIES = 5
_REDEFINED = "Table definition has changed"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions of one domain that reading saw: those up to `number`."""

    number: int

    @classmethod
    def taken(cls, session: MariaSession, source: str, domain: int) -> Self:
        """Begin a transaction that sees one snapshot of a table until it ends.

        The first row that is asked for locks the table: TRUNCATE and changes of the table wait from then on. One that
        came between makes the server refuse the row, and another snapshot is taken.
        """
        for _ in range(_TRIES):
            session.run("rollback")  # of a part that was left in its middle
            session.run("set transaction isolation level repeatable read")
            session.run("start transaction with consistent snapshot, read only")
            told = dict(session.run("show session status like 'binlog_snapshot_%'"))
            file, position = told.get("Binlog_snapshot_file", ""), int(told.get("Binlog_snapshot_position", 0))
            ((gtids,),) = session.run("select binlog_gtid_pos(\x001\x00, \x002\x00)", (file, position))
            try:
                session.run(f"select 1 from {source} limit 1")  # noqa: S608 - quoted
            except DataFlareError as error:
                if _REDEFINED not in error.what:
                    raise
            else:
                return cls(Gtids.read(gtids or "").number(domain))
        raise ExternalError(f"{source} is defined anew again and again, so it cannot be read", hint="try it later")

    @property
    def until(self) -> int:
        """The first number that it did not see."""
        return self.number + 1

    def saw(self, transaction: int) -> bool:
        """Tell whether a transaction was committed for the snapshot."""
        return transaction <= self.number

    def to_json(self) -> int:
        """Return the number."""
        return self.number

    @classmethod
    def from_json(cls, value: int) -> Self:
        """Read what `to_json` wrote."""
        return cls(value)


__all__ = ["Snapshot"]
