"""A place in the log that reading is not behind of: whatever it does not see is committed after it.

A transaction writes its commit into the log before others see it, and may stand between the two for a while (the disk,
standbys that confirm). So the end of the log proves nothing about what a statement sees. But once every transaction
that had a number at that moment has ended, each statement sees all that is before the place: what it does not see got
its number later, and commits behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.clock import wait_blocking
from dataflare.connectors.postgres.replication.messages import lsn_number
from dataflare.errors import ExternalError

if TYPE_CHECKING:
    from dataflare.clock import Clock
    from dataflare.connectors.postgres.statements import Statements

WAIT_SECONDS, _LOOK_SECONDS = 60.0, 0.02
_END = "select pg_current_wal_insert_lsn()::text"
_NUMBER = "select pg_current_xact_id()::text"
"""A number of our own: a snapshot alone does not tell all that are given out."""
_OLDEST = "select pg_snapshot_xmin(pg_current_snapshot())::text"
_WHO = "select pid from pg_stat_activity where backend_xid is not null order by xact_start limit 1"


def settled_place(session: Statements, clock: Clock) -> str:
    """Return the place as `_tx` tells it; outside a transaction. Raise ExternalError where others stay open."""
    ((end,),) = session.run(_END)  # first: a commit between the two would be before the place, and not waited for
    ((number,),) = session.run(_NUMBER)
    until = clock.monotonic() + WAIT_SECONDS
    while int(session.run(_OLDEST)[0][0]) <= int(number):
        if clock.monotonic() > until:
            found = session.run(_WHO)
            who = f" (process {found[0][0]})" if found else ""
            raise ExternalError(
                f"a transaction of somebody else is open for more than {WAIT_SECONDS:g} s{who}: what it commits could "
                "not be told from what reading sees",
                hint="wait for it, or end it; see pg_stat_activity and pg_prepared_xacts",
            )
        wait_blocking(_LOOK_SECONDS)
    return f"{lsn_number(end):016x}"


__all__ = ["settled_place"]
