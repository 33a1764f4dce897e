"""Asks MariaDB what the user of a connection may not do to a table, before anybody tries; tells the GRANT for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import UnavailableError
from dataflare.sql.dialect import Table
from dataflare.sql.maria_types import MARIADB
from dataflare.sql.naming import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig
    from dataflare.errors import DataFlareError

_NEEDED = {
    "append": ("insert",),
    "merge": ("select", "insert", "update"),
    "insert_only": ("select", "insert", "update"),
    "update": ("select", "update"),
    "delete_insert": ("select", "insert", "delete"),
    "scd2": ("select", "insert", "update"),
    "deletes": ("select", "insert", "update", "delete"),
    "overwrite": ("select", "insert", "delete"),
}
_EPOCHS = ("select", "insert", "update")
TEMPORARY, BESIDE, STAGED = (
    ("create temporary tables",),
    ("select", "insert", "create", "drop"),
    ("select", "insert", "create", "drop", "alter"),
)
"""What tables need that are made beside the target under names of ours: on the whole database."""
_NAME = r"`(?:[^`]|``)*`|\*"
_GRANT = re.compile(rf"GRANT (.+?) ON (?:TABLE )?({_NAME})\.({_NAME}) TO ", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r"([a-z][a-z ]*[a-z])\s*(\((?:`(?:[^`]|``)*`|[^)`])*\))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges on tables: `database` is a pattern of SQL, or a name where a `table` is named ("": all of them).

    `columns`: on some columns alone.
    """

    privilege: str
    database: str
    table: str
    columns: bool = False

    def holds(self, privilege: str, table: Table) -> bool:
        """Tell whether it lets somebody do this to a table, or to all tables of a database (one without a name)."""
        if self.privilege not in (privilege, "all privileges") or (self.table and self.table != table.name):
            return False
        return table.schema == self.database if self.table else _like(self.database, table.schema)


@dataclass(frozen=True, slots=True)
class Privileges:
    """What a user may do."""

    user: str
    grants: tuple[Grant, ...]

    @classmethod
    def of(cls, session: MariaSession) -> Self:
        """Ask the server, for the user of the connection with the roles that are on."""
        ((user,),) = session.run("select current_user()")
        return cls(user, tuple(grant for (text,) in session.run("show grants") for grant in _grants(text)))

    def lacking(self, wanted: Sequence[str], table: Table, *, columns: bool = False) -> list[str]:
        """Return the privileges on a table that the user has not; with `columns` those on some columns are enough."""
        may = [g for g in self.grants if columns or not g.columns]
        return [p for p in wanted if not any(g.holds(p, table) for g in may)]

    def cure(self, wanted: Sequence[str], table: Table) -> str:
        """Return the statement that gives privileges on a table, or on all tables of a database."""
        name, _, host = self.user.rpartition("@")
        quote = MARIADB.quote
        place = f"{quote(table.schema)}.{quote(table.name) if table.name else '*'}"
        return f"as an administrator: grant {', '.join(wanted)} on {place} to {quote(name)}@{quote(host)}"


def entered(connect: Callable[[bool], MariaSession]) -> MariaSession:
    """Connect, outside of the database where the user may not enter it: there one can be told what is lacking.

    `connect` is given whether to stay outside. Raises UnavailableError for anything else.
    """
    try:
        return connect(False)  # noqa: FBT003 - of one argument
    except UnavailableError as error:
        if "to database" not in error.what:
            raise
    return connect(True)  # noqa: FBT003 - of one argument


def unread(session: MariaSession, config: MariaSourceConfig) -> list[DataFlareError]:
    """Return the tables of a source that the user may not read, not even some columns; they may also not be there."""
    may = Privileges.of(session)
    tables = [session.resolved(name) for name in config.outputs().values()] if not config.query else []
    return [
        UnavailableError(
            f"the user {may.user} lacks select on {table}, or there is no such table", hint=may.cure(["select"], table)
        )
        for table in tables
        if may.lacking(["select"], table, columns=True)
    ]


def refused(session: MariaSession, table: Table, needs: Needs) -> Iterator[DataFlareError]:
    """Yield what would stop a destination from writing the table, its own tables beside it, and that of epochs."""
    may = Privileges.of(session)
    wanted = {
        Table("", table.schema): needs.beside,
        table: (*_NEEDED.get(needs.action, ("insert",)), *(("alter",) if needs.alters else ())),
        Table(EPOCHS, table.schema): _EPOCHS,
    }
    told: list[str] = []
    for name, listed in wanted.items():
        lacking = [p for p in may.lacking(listed, name) if p not in told]
        seen = not name.name or session.columns(name) is not None
        if not seen and (name != table or needs.makes):
            made = ("create", "index") if name == table and needs.action == "scd2" else ("create",)
            lacking += [p for p in may.lacking(made, name) if p not in told]
            if lacking and "create" not in lacking:
                lacking.append("create")  # else nothing can be granted on a table that is not there
        if not name.name:
            told = lacking  # on all tables of the database
        if lacking:
            hidden = "" if seen else ", or there is no such table"
            what = f"the user {may.user} lacks {', '.join(lacking)} on {_shown(name)}{hidden}"
            yield UnavailableError(what, hint=may.cure(lacking, name))


@dataclass(frozen=True, slots=True)
class Needs:
    """What a destination does to tables: `action` is its write mode, or `deletes`, a merge that removes rows as well.

    `makes`: it makes a table that is not there; `alters`: it alters one that is; `beside`: see above.
    """

    action: str
    beside: Sequence[str]
    makes: bool
    alters: bool


def _shown(table: Table) -> str:
    return str(table) if table.name else f"database {table.schema}"


def _grants(text: str) -> Iterator[Grant]:
    found = _GRANT.match(text)
    if found is None:  # of a role, or of a procedure
        return
    words, database, table = found.groups()
    for word, columns in _WORD.findall(words):
        yield Grant(word.lower(), _plain(database) or "%", _plain(table), columns=bool(columns))


def _plain(name: str) -> str:
    return "" if name == "*" else name[1:-1].replace("``", "`")


def _like(pattern: str, name: str) -> bool:
    """Match a pattern of SQL, in which a backslash takes the meaning from `%` and `_`."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return re.fullmatch("".join(wild.get(p) or re.escape(p[-1]) for p in parts), name, re.DOTALL) is not None


__all__ = ["BESIDE", "STAGED", "TEMPORARY", "Needs", "Privileges", "entered", "refused", "unread"]
