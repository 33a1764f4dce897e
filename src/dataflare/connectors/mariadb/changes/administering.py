"""What is asked of a MariaDB source beside runs: how it stands. It keeps nothing on its server to be dropped."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from dataflare.sql.patterns import find_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.component import Split, StageContext
    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig


class Administered:
    """The part of the source that is asked beside runs."""

    config: MariaSourceConfig
    context: StageContext

    def connected(self) -> MariaSession:
        """Return a new connection."""
        raise NotImplementedError

    def tables(self, session: MariaSession, schema: str) -> Sequence[str]:
        """Return the tables of a schema."""
        raise NotImplementedError

    def standing(self, opened: Sequence[tuple[Split, Position | None]]) -> Mapping[str, Any]:
        """Tell how the log stands."""
        from dataflare.connectors.mariadb.changes.standing import standing

        with closing(self.connected()) as session:
            find_tables(self, session)
            return standing(session, self.config, self.context, opened)

    def leftovers(self) -> Sequence[str]:
        """Name nothing: the server forgets a reader."""
        return ()

    def drop(self) -> Sequence[str]:
        """Drop nothing."""
        return ()


__all__ = ["Administered"]
