"""The settings of the DuckDB connectors."""

from __future__ import annotations

from dataflare.component import Config, Field
from dataflare.sql.lookup import SqlLookupConfig
from dataflare.sql.settings import SqlDestinationConfig, SqlSourceConfig


class DuckdbConfig(Config):
    """Where the database is."""

    path: str = Field(description="The database file; relative to the workflow file.")


class DuckdbSourceConfig(SqlSourceConfig, DuckdbConfig):
    """Settings of the DuckDB source."""

    table: str = Field("", description="The table or view to read, as table or schema.table.")
    batch_rows: int = Field(65_536, ge=1, description="Rows in a batch at most.")


class DuckdbLookupConfig(SqlLookupConfig, DuckdbConfig):
    """Settings of the DuckDB lookup."""

    table: str = Field("", description="The table or view to look in, as table or schema.table.")


class DuckdbDestinationConfig(DuckdbConfig, SqlDestinationConfig):
    """Settings of the DuckDB destination."""

    table: str = Field(description="The table to write, as table or schema.table.")
    create: bool = Field(default=True, description="Make the file and the table if they are not there.")
