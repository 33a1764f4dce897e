"""What SQL lookups share: one table or query, declared columns, and a connection that opens when keys come."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from pydantic import model_validator

from dataflare.component import Config, Field
from dataflare.component.lookup import SourceLookup
from dataflare.schema import Schema
from dataflare.sql.reading import Closes, ReadRelation

if TYPE_CHECKING:
    from collections.abc import Mapping


class SqlLookupConfig(Config):
    """Settings that every SQL lookup has."""

    table: str = Field("", description="The table or view to look in.")
    query: str = Field("", description="A SELECT to look in instead.")
    columns: dict[str, str] | None = Field(
        None, description="The columns to read, keys included, and their types; default: all, as they are declared."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.table) == bool(self.query):
            raise ValueError("name a table or a query, and only one of the two")
        return self

    def of_source(self) -> dict[str, Any]:
        """Return the settings of the source that reads the same rows."""
        given = self.model_dump(exclude={"columns"}, exclude_defaults=True)
        return {**given, "types": self.columns or {}}


C = TypeVar("C", bound=SqlLookupConfig)
S = TypeVar("S", bound=Closes)
R = TypeVar("R", bound=ReadRelation)


class SqlLookup(SourceLookup[C], Generic[C, S, R]):
    """What SQL lookups share; a connector says how to connect, what its settings name, and how keys are asked for."""

    by_key = True
    _session: S | None = None
    _relation: R

    @abstractmethod
    def connected(self) -> S:
        """Return a new connection."""

    @abstractmethod
    def relations(self, session: S) -> Mapping[str, R]:
        """Return what the settings name, as the default output; raise WorkflowError for what is not there."""

    def declared(self) -> Schema | None:
        """Return the declared columns."""
        return None if self.config.columns is None else Schema.of(self.config.columns)

    def schema(self) -> Schema:
        """Return the declared columns, else ask the database."""
        found = super().schema()
        return found if self.config.columns is None else found.select(self.config.columns)

    def asked(self) -> tuple[S, R, list[str]]:
        """Return the connection, what is looked in, and the columns that are wanted; connect if nobody has."""
        if self._session is None:
            self._session = self.connected()
            self._relation = self.relations(self._session)[""]
        return self._session, self._relation, list(self.config.columns or self._relation.schema.names)

    def close(self) -> None:
        """Disconnect."""
        session, self._session = self._session, None
        if session is not None:
            session.close()


__all__ = ["SqlLookup", "SqlLookupConfig"]
