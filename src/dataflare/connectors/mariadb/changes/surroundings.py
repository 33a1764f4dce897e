"""Whether a server lets its changes be followed, and what it must be set to; each finding with its cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.changes.tables import followed
from dataflare.connectors.mariadb.privileges import unread
from dataflare.connectors.mariadb.replication.places import Gtids
from dataflare.errors import DataFlareError, UnavailableError
from dataflare.sql.maria_types import MARIADB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig

_SETTINGS = "select @@log_bin, @@global.binlog_format, @@global.binlog_row_image, @@global.binlog_row_metadata"
_PLACE = "select @@global.gtid_binlog_pos, @@global.gtid_domain_id"
_WANTED = (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_metadata", "FULL"))
_PRIVILEGES = ("REPLICATION SLAVE", "REPLICATION REPLICA", "ALL PRIVILEGES ON *.*")


def server_problems(session: MariaSession) -> Iterator[DataFlareError]:
    """Yield why the server lets nobody follow changes, or not this user."""
    if session.dialect is not MARIADB:
        yield UnavailableError(
            "changes of MySQL are not followed, only those of MariaDB", hint="read it with mode: incremental"
        )
        return
    ((logs, *told),) = session.run(_SETTINGS)
    if not logs:
        yield UnavailableError(
            "the server keeps no log of changes", hint="start it with log_bin, server_id and binlog_format = ROW"
        )
        return
    for (name, wanted), found in zip(_WANTED, told, strict=True):
        if found != wanted:
            yield UnavailableError(
                f"the server has {name} = {found}, which does not tell all of a change",
                hint=f"as an administrator: set global {name} = '{wanted}'; and in its settings, so that it stays; "
                "sessions that are open keep theirs",
            )
    grants = [text.upper() for (text,) in session.run("show grants")]
    if not any(privilege in text for text in grants for privilege in _PRIVILEGES):
        ((user,),) = session.run("select current_user()")
        name, _, host = user.rpartition("@")
        yield UnavailableError(
            f"the user {user} may not read the log of changes",
            hint=f"as an administrator: grant replication slave on *.* to {MARIADB.quote(name)}@{MARIADB.quote(host)}",
        )


def refuse_server(session: MariaSession) -> None:
    """Raise the first problem."""
    for error in server_problems(session):
        raise error


def stands(session: MariaSession) -> tuple[Gtids, int]:
    """Return where the log ends now, and the domain of what the server writes."""
    ((text, domain),) = session.run(_PLACE)
    return Gtids.read(text), int(domain)


def wrong(session: MariaSession, config: MariaSourceConfig) -> list[DataFlareError]:
    """Return all that would keep changes from being followed, each with its cure; change nothing."""
    found: list[DataFlareError] = list(server_problems(session))
    for name in config.outputs().values() if not config.query else [""]:
        one = config.model_copy(update={"table": name, "tables": [], "types": {}})
        if denied := unread(session, one):
            found += denied
            continue
        try:
            for table in followed(session, one).values():
                names = ", ".join(table.relation.columns.values())
                session.run(f"select {names} from {table.relation.source} limit 0")  # noqa: S608 - quoted by relations
        except DataFlareError as error:
            found.append(error)
    return found


__all__ = ["refuse_server", "server_problems", "stands", "wrong"]
