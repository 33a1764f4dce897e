"""The settings of the DuckDB connectors."""

from __future__ import annotations

from dataflare.component import Config, Field
from dataflare.sql.lookup import SqlLookupConfig
from dataflare.sql.quoting import split_name
from dataflare.sql.settings import SqlDestinationConfig, SqlSourceConfig


class DuckdbConfig(Config):
    """Where the database is."""

    path: str = Field(description="The database file; relative to the workflow file.")


class DuckdbSourceConfig(SqlSourceConfig, DuckdbConfig):
    """Settings of the DuckDB source."""

    table: str = Field("", description="The table or view to read, as table or schema.table.")
    batch_rows: int = Field(65_536, ge=1, description="Rows in a batch at most.")

    def outputs(self) -> dict[str, str]:
        """Return the tables to read by output: several have outputs of their names, without schemas where clear."""
        if self.table:
            return {"": self.table}
        short = [split_name(t)[1] for t in self.tables]
        return {s if short.count(s) == 1 else t: t for s, t in zip(short, self.tables, strict=True)}


class DuckdbLookupConfig(SqlLookupConfig, DuckdbConfig):
    """Settings of the DuckDB lookup."""

    table: str = Field("", description="The table or view to look in, as table or schema.table.")


class DuckdbDestinationConfig(DuckdbConfig, SqlDestinationConfig):
    """Settings of the DuckDB destination."""

    table: str = Field(description="The table to write, as table or schema.table.")
    create: bool = Field(default=True, description="Make the file and the table if they are not there.")
