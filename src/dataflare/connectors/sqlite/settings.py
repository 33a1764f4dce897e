"""The settings of the SQLite connectors."""

from __future__ import annotations

from typing import ClassVar

from dataflare.component import Config, Duration, Field
from dataflare.sql.lookup import SqlLookupConfig
from dataflare.sql.settings import SqlDestinationConfig, SqlSourceConfig


class SqliteConfig(Config):
    """Where the database is."""

    path: str = Field(description="The database file; relative to the workflow file.")
    wait: Duration = Field(30.0, ge=0, description="How long to wait for others who write to the file.")


class SqliteSourceConfig(SqlSourceConfig, SqliteConfig):
    """Settings of the SQLite source."""

    key: list[str] = Field(
        [], description="Columns that tell the rows of a query or view apart; its rows are then read in their order."
    )
    types: dict[str, str] = Field({}, description="Types by column, where the declared ones are not what is in there.")
    batch_rows: int = Field(16_384, ge=1, description="Rows in a batch at most.")
    dotted: ClassVar[bool] = False


class SqliteLookupConfig(SqlLookupConfig, SqliteConfig):
    """Settings of the SQLite lookup."""


class SqliteDestinationConfig(SqliteConfig, SqlDestinationConfig):
    """Settings of the SQLite destination."""

    table: str = Field(description="The table to write.")
    create: bool = Field(default=True, description="Make the file and the table if they are not there.")
