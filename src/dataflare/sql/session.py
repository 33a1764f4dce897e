"""What the shared part of SQL destinations asks of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.sql.dialect import Defined, Table


class Session(Protocol):
    """One connection, used by one thread at a time; every error leaves it as one of ours.

    Statements outside `begin` and `commit` are durable at once.
    """

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        ...

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; return the rows that it yields."""
        ...

    def written(self, sql: str) -> int:
        """Execute an insert; return how many rows it has written."""
        ...

    def begin(self) -> None:
        """Open a transaction that may write."""
        ...

    def commit(self) -> None:
        """Make the open transaction durable."""
        ...

    def rollback(self) -> None:
        """Undo the open transaction, if there is one; never raises, as it follows a failure."""
        ...

    def lock_definitions(self) -> None:
        """Let nobody else of us make or change tables until the transaction ends."""
        ...

    def columns(self, table: Table) -> dict[str, str] | None:
        """Return the database's own column types by name; None where there is no such table."""
        ...

    def definitions(self, table: Table) -> dict[str, Defined]:
        """Return the columns by name, as they are defined; nothing where there is no such table."""
        ...

    def tables(self, prefix: Table) -> list[str]:
        """Return the names of the tables in a schema that begin as `prefix` does, sorted."""
        ...

    def unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether a unique index covers exactly these columns."""
        ...

    def close(self) -> None:
        """Disconnect; an open transaction is undone."""
        ...
