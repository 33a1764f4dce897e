"""The settings of the SQLite connectors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from dataflare.component import Config, Duration, Field
from dataflare.sql.source import SqlSourceConfig


class SqliteConfig(Config):
    """Where the database is."""

    path: str = Field(description="The database file; relative to the workflow file.")
    wait: Duration = Field(30.0, ge=0, description="How long to wait for others who write to the file.")


class SqliteSourceConfig(SqliteConfig, SqlSourceConfig):
    """Settings of the SQLite source."""

    table: str = Field("", description="The table or view to read.")
    tables: list[str] = Field([], description="Several of them; each is an output of its name.")
    query: str = Field("", description="A SELECT to read instead of tables.")
    key: list[str] = Field(
        [], description="Columns that tell the rows of a query or view apart; its rows are then read in their order."
    )
    types: dict[str, str] = Field({}, description="Types by column, where the declared ones are not what is in there.")
    split_rows: int = Field(500_000, ge=1, description="About how many rows one task reads at a time.")
    batch_rows: int = Field(16_384, ge=1, description="Rows in a batch at most.")

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, value: Any) -> Any:
        if isinstance(value, dict) and sum(bool(value.get(k)) for k in ("table", "tables", "query")) != 1:
            raise ValueError("name a table, tables or a query, and only one of the three")
        return value

    def outputs(self) -> dict[str, str]:
        """Return the tables to read by output: one has the default output, several have outputs of their names."""
        return {"": self.table} if self.table else {name: name for name in self.tables}


class SqliteLookupConfig(SqliteConfig):
    """Settings of the SQLite lookup."""

    table: str = Field("", description="The table or view to look in.")
    query: str = Field("", description="A SELECT to look in instead.")
    columns: dict[str, str] | None = Field(
        None, description="The columns to read, keys included, and their types; default: all, as they are declared."
    )

    @model_validator(mode="after")
    def _one_way(self) -> SqliteLookupConfig:
        if bool(self.table) == bool(self.query):
            raise ValueError("name a table or a query, and only one of the two")
        return self


class SqliteDestinationConfig(SqliteConfig):
    """Settings of the SQLite destination."""

    table: str = Field(description="The table to write.")
    create: bool = Field(default=True, description="Make the file and the table if they are not there.")
    new_columns: Literal["add", "error"] = Field("add", description="What becomes of columns that the table lacks.")
